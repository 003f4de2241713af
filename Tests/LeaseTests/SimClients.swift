import Lease
import Platform

/// What clients are told: of writes that are done, and what stands written.
extension LeaseSimulation {
    mutating func writeSomething() throws {
        guard let mean = schedule.writes else { return }
        queue.add(now + 1 + random.below(2 * mean), .write)
        guard let node = someLeader(), node.transfer == nil else { return }
        append(node, voters: nil)
        try advanceCommit(node)
        for other in nodes.indices where other != node.id { replicate(node, other) }
    }

    /// A leader has committed something, or somebody was told that it stands written.
    mutating func acknowledge(_ entry: SimLog.Entry, by node: SimVoter) throws {
        if log.contains(entry, acknowledged) {
            acknowledged = entry
        } else if !log.contains(acknowledged, entry) {
            throw violation(
                .lostWrite,
                "n\(node.id) acknowledges the entry \(log.index(entry)) of term \(log.term(entry)), and the entry "
                    + "\(log.index(acknowledged)) of term \(log.term(acknowledged)) was acknowledged, too")
        }
    }

    /// A client asks any node that says it leads.
    mutating func ask() {
        guard let mean = schedule.reads else { return }
        queue.add(now + 1 + random.below(2 * mean), .ask)
        let leaders = nodes.filter { $0.isUp && $0.role == .leader }
        guard !leaders.isEmpty else { return }
        let node = leaders[Int(random.below(Int64(leaders.count)))]
        guard !rules.opensTerm || hasOpened(node) else { return }
        outcome.reads += 1
        queue.add(
            now + random.below(calm ? Self.ms : 5 * Self.ms),
            .told(
                Int8(node.id), log.entry(node.log, at: node.commit), since: acknowledged, term: node.term,
                incarnation: node.incarnation))
    }

    /// It is answered what was committed there when it was asked, as far as that node knew.
    mutating func told(_ id: Int, _ found: SimLog.Entry, since before: SimLog.Entry, _ term: UInt64) throws {
        let node = nodes[id]
        if rules.readsUnderLease {
            guard node.core.lease.term == term, node.hasLease(now) else { return }
        } else {
            guard node.role == .leader, node.term == term else { return }
        }
        guard log.contains(found, before) else {
            throw violation(
                .staleRead,
                "n\(id) answers with the entry \(log.index(found)), and \(log.index(before)) was acknowledged before")
        }
        try acknowledge(found, by: node)
    }

    /// Whether it has committed an entry of the term that it leads.
    func hasOpened(_ node: SimVoter) -> Bool { node.termStart > 0 && node.commit >= node.termStart }
}
