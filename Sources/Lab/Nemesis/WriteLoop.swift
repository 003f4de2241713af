import Glibc
import Platform
import Synchronization

/// What a client knows of a write.
public enum WriteOutcome: Equatable, Sendable {
    case acknowledged
    /// No answer, or one that says that the write may still take effect.
    case unknown
    /// Surely without effect.
    case refused
}

/// Clients that write through the API while something is broken, and know afterwards what must be there.
public protocol Workload: Sendable {
    /// Writes until `stop`; `writer` tells clients apart that do so side by side, 43 to 250. `interval` is the pause between the
    /// begin of two writes.
    func run(_ lab: LabCluster, writer: Int, every interval: Duration) async
    func stop()
    func count(_ outcome: WriteOutcome) -> Int
    /// What nodes answered that could not do a write.
    var trouble: [String] { get }
    /// Reads by each node, after the end of all writes, and says what cannot be.
    ///
    /// - Throws: when a node does not answer within `limit`.
    func findings(_ lab: LabCluster, within limit: Duration) async throws -> [String]
}

/// One write after the other, by one node, and by the next one when that does not answer or cannot.
final class WriteLoop: Sendable {
    private let answers = Mutex<[String]>([])
    private let isStopping = Mutex(false)

    var trouble: [String] { answers.withLock { $0 } }

    func stop() { isStopping.withLock { $0 = true } }

    func run(
        _ lab: LabCluster, every interval: Duration, _ write: (_ number: Int, _ node: LabNode) async -> WriteOutcome
    ) async {
        var node = 0
        var number = 0
        while !isStopping.withLock({ $0 }) {
            let began = BootClock.now
            let outcome = await write(number, lab.nodes[node])
            number += 1
            if outcome != .acknowledged { node = (node + 1) % lab.nodes.count }
            let rest = BootClock.now.duration(to: began.advanced(by: interval))
            // Cancelled or not, the loop ends with `stop`.
            if rest > .zero { try? await Task.sleep(for: rest) }
        }
    }

    /// What the answer to a write says of it.
    func outcome(_ ask: () async throws -> HTTPResponse) async -> WriteOutcome {
        do {
            let answer = try await ask()
            switch answer.status {
            case 202: return .acknowledged
            case 400..<500: return .refused
            default:
                answers.withLock { $0.append("\(answer.status) \(answer.text)") }
                return .unknown
            }
        } catch let error as SystemError where error.errno == ECONNREFUSED {
            return .refused
        } catch {
            return .unknown
        }
    }

    /// An address for each number that no interface has a route for: 10.x.y.z/32, x for the writer.
    static func address(_ number: Int, of writer: Int) -> String {
        "10.\(writer).\(number / 250).\(number % 250 + 1)/32"
    }
}
