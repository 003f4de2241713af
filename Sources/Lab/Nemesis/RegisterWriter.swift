import Glibc
import Platform
import Synchronization

/// Writes one value after the other through the API until it is told to stop: PUT /vip is the register.
///
/// It asks one node, and the next one when that does not answer or cannot.
public final class RegisterWriter: Sendable {
    private let history = Mutex(RegisterHistory())
    private let answers = Mutex<[String]>([])
    private let isStopping = Mutex(false)

    public enum Values: Sendable {
        /// Each write sets another address, which no interface has a route for: 10.x.y.z/32, x for the writer, 43...250.
        case different(Int)
        /// The same address again and again: the database writes, and the VIP stays where it is.
        case same(String)

        func value(_ number: Int) -> String {
            switch self {
            case .different(let writer): "10.\(writer).\(number / 250).\(number % 250 + 1)/32"
            case .same(let text): text
            }
        }
    }

    public init() {}

    /// Writes until `stop`. `interval` is the pause between the begin of two writes.
    public func run(_ lab: LabCluster, _ values: Values, every interval: Duration) async {
        var node = 0
        var number = 0
        while !isStopping.withLock({ $0 }) {
            let began = BootClock.now
            let value = values.value(number)
            number += 1
            let outcome = await write(value, lab.nodes[node])
            let end = BootClock.now
            history.withLock { $0.writes.append(RegisterHistory.Write(value, outcome, from: began, to: end)) }
            if outcome != .acknowledged { node = (node + 1) % lab.nodes.count }
            let rest = BootClock.now.duration(to: began.advanced(by: interval))
            // Cancelled or not, the loop ends with `stop`.
            if rest > .zero { try? await Task.sleep(for: rest) }
        }
    }

    /// After this and the end of `run` the history is complete.
    public func stop() { isStopping.withLock { $0 = true } }

    /// What was written so far.
    public var written: RegisterHistory { history.withLock { $0 } }

    /// What nodes answered that could not do a write.
    public var trouble: [String] { answers.withLock { $0 } }

    private func write(_ value: String, _ node: LabNode) async -> RegisterHistory.Outcome {
        do {
            let answer = try await node.setVIP(value, within: .seconds(3))
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
}
