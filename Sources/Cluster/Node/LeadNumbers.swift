public import Lease
import Platform

/// Counts since the start of the process.
public struct LeadCounters: Sendable, Hashable {
    /// Leases that began.
    public var leases: UInt64 = 0
    public var leasesLost: [LeaseLoss: UInt64] = [:]
    /// Elections that this node began because the leader was dead or silent, before raft's own timer would have.
    public var elections: [ElectionRecord.Cause: UInt64] = [:]

    public init() {}

    init(_ values: RelayFacts.Values) {
        leases = values.leases.begun
        leasesLost = values.leases.lost
        elections = values.elections.started
    }

    static func + (left: Self, right: Self) -> Self {
        var sum = left
        sum.leases += right.leases
        sum.leasesLost.merge(right.leasesLost) { $0 + $1 }
        sum.elections.merge(right.elections) { $0 + $1 }
        return sum
    }
}

/// What an operator may want to know of this node's lead.
public struct LeadNumbers: Sendable, Hashable {
    public var counters: LeadCounters
    /// How long this node's lease lasts from now on; nil without one, also for the only voter, which needs none.
    public var leaseRemaining: Duration?
    /// Raft streams that pass without being understood; while there is one there are no leases.
    public var unreadableStreams: Int
    /// The newest election that this node has won; nil before the first.
    public var election: ElectionRecord?
}

extension ClusterNode {
    /// Callable from any thread, without waiting.
    public nonisolated var leadNumbers: LeadNumbers {
        let facts = facts.current
        let now = BootClock.now
        guard let local = facts.local else {
            return LeadNumbers(counters: facts.past, leaseRemaining: nil, unreadableStreams: 0, election: nil)
        }
        let values = local.relayFacts.update { values in
            values.note(end: values.lease.end(now: now), now)
            return values
        }
        // That of an only voter has no end.
        let end = local.relayFacts.lease(now: now).flatMap { $0.end.nanoseconds == .max ? nil : $0.end }
        return LeadNumbers(
            counters: facts.past + LeadCounters(values), leaseRemaining: end.map { now.duration(to: $0) },
            unreadableStreams: values.unreadable, election: values.elections.won)
    }

    /// The timers of this node and of its cluster.
    public nonisolated var timing: Timing { settings.timing }
}
