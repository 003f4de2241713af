import FoundationEssentials
import Platform
import Synchronization

/// Adds one element after the other to a set and takes old ones out again: the set is the list of virtual addresses, which each
/// client reads, and writes back with `If-Match`.
public final class SetWriter: Workload {
    private let history = Mutex(SetHistory())
    private let loop = WriteLoop()
    /// Of each client: the list has room for 64.
    private static let mostElements = 6

    private struct Document: Codable {
        var addresses: [String]
    }

    public init() {}

    public func run(_ lab: LabCluster, writer: Int, every interval: Duration) async {
        await loop.run(lab, every: interval) { number, node in
            let read = try? await node.request("GET", "/v1/vip", within: .seconds(3))
            guard let read, read.status == 200, let tag = read.headers["etag"],
                let found = try? JSONDecoder().decode(Document.self, from: Data(read.body))
            else { return .refused }
            let own = found.addresses.filter { $0.hasPrefix("10.\(writer).") }
            let dropped = own.count < Self.mostElements ? nil : own.first
            let added = WriteLoop.address(number, of: writer)
            let wanted = Document(addresses: found.addresses.filter { $0 != dropped } + [added])
            let outcome = await loop.outcome {
                let body = String(decoding: try JSONEncoder().encode(wanted), as: UTF8.self)
                return try await node.request(
                    "PUT", "/v1/vip", headers: ["If-Match": tag], body: body, within: .seconds(5))
            }
            history.withLock { $0.changes.append(.init(add: added, drop: dropped, outcome)) }
            return outcome
        }
    }

    public func stop() { loop.stop() }

    public func count(_ outcome: WriteOutcome) -> Int { history.withLock { $0.count(outcome) } }

    public var trouble: [String] { loop.trouble }

    public func findings(_ lab: LabCluster, within limit: Duration) async throws -> [String] {
        var sets: Set<[String]> = []
        for node in lab.nodes {
            let read = try await eventually("answer to GET /v1/vip of node \(node.number)", within: limit) {
                let read = try await node.request("GET", "/v1/vip")
                return read.status == 200 ? read : nil
            }
            sets.insert(try JSONDecoder().decode(Document.self, from: Data(read.body)).addresses)
        }
        let history = history.withLock { $0 }
        return (sets.count > 1 ? ["the nodes disagree on the set: \(sets)"] : [])
            + sets.flatMap { history.objections(to: $0, initial: [lab.vipText]) }
    }
}
