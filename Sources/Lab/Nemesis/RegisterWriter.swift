import Platform
import Synchronization

/// Writes one value after the other: PUT /vip is the register.
public final class RegisterWriter: Workload {
    private let history = Mutex(RegisterHistory())
    private let loop = WriteLoop()

    public init() {}

    public func run(_ lab: LabCluster, writer: Int, every interval: Duration) async {
        await run(lab, every: interval) { WriteLoop.address($0, of: writer) }
    }

    /// Writes the same value again and again: the database writes, and the VIP stays where it is.
    public func run(_ lab: LabCluster, same value: String, every interval: Duration) async {
        await run(lab, every: interval) { _ in value }
    }

    private func run(_ lab: LabCluster, every interval: Duration, _ value: (Int) -> String) async {
        await loop.run(lab, every: interval) { number, node in
            let (began, value) = (BootClock.now, value(number))
            let outcome = await loop.outcome { try await node.setVIP(value, within: .seconds(3)) }
            let end = BootClock.now
            history.withLock { $0.writes.append(RegisterHistory.Write(value, outcome, from: began, to: end)) }
            return outcome
        }
    }

    /// After this and the end of `run` the history is complete.
    public func stop() { loop.stop() }

    public func count(_ outcome: WriteOutcome) -> Int { history.withLock { $0.count(outcome) } }

    public var trouble: [String] { loop.trouble }

    public func findings(_ lab: LabCluster, within limit: Duration) async throws -> [String] {
        var values: Set<String> = []
        for node in lab.nodes {
            values.insert(
                try await eventually("answer to GET /vip of node \(node.number)", within: limit) {
                    try await node.vip()
                })
        }
        let history = history.withLock { $0 }
        return (values.count > 1 ? ["the nodes disagree on the register: \(values.sorted())"] : [])
            + values.compactMap { history.objection(to: $0, initial: lab.vipText) }
    }
}
