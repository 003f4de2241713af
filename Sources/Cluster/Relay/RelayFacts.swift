import Dqlite
import Lease
import Platform
import Synchronization

/// What the relay has to tell to other threads, at once and without waiting.
final class RelayFacts: Sendable {
    struct Values: Sendable {
        /// The lease of this node, when it leads: the term, and the core that computes its end.
        var lease: LeaseCore
        /// Streams that cannot be read as raft; while there is one, leases prove nothing here.
        var unreadable = 0
        /// How many times something came that makes a reading of the members an old one.
        var changes: UInt64 = 0
        fileprivate var readings: UInt64 = 0
        var leases = LeaseBook()
        var elections = ElectionBook()
        /// What is known of leaders whose process ended; nil when there are none.
        var predecessors: Predecessors.Account?
        /// Who they are.
        var ended: Set<VoterID> = []
        /// Leaders to whom this node has promised not to stand, and until when.
        var promises: [VoterID: BootInstant] = [:]
        /// The highest term in which this node has voted or followed, as far as the relay knows.
        var term: UInt64 = 0
        /// Whom this node has heard as the leader of `term`; nil: nobody yet, or it has voted since.
        var leader: VoterID?
        /// Who asked this node to stand in its place: its TimeoutNow came on its own connection and went to the local node.
        var askedToStand: Request?
        /// The node that this one asked to stand, and that said it cannot now.
        var declined: Request?
        /// Until when votes are kept back since what an earlier process promised is not known.
        var closedUntil = BootInstant(nanoseconds: 0)
        /// Voters that this node, as the leader, cannot bring up to date, since when: they answer and take nothing.
        var stuck: [VoterID: BootInstant] = [:]
        /// A term in which two nodes were heard as leaders; nil while raft has kept its word.
        var twoLeaders: UInt64?
        /// The local node could not write to its disk: the process has to end.
        var hasFailedDisk = false

        /// Takes note of the end that the lease has now.
        mutating func note(end: BootInstant?, _ now: BootInstant) {
            guard unreadable == 0 else { return }
            if leases.sees(end: end, now: now) { elections.leased(in: lease.term, now: now) }
        }
    }

    /// A request to take the lead: who is meant, in which term of the leader, and when it was noted.
    struct Request: Sendable, Equatable {
        var node: VoterID
        var term: UInt64
        var at: BootInstant
    }

    /// To be called before the members are read: what is read afterwards is as new as this, or newer.
    func beginReading() -> RelayCore.Reading {
        update { values in
            values.readings += 1
            return RelayCore.Reading(term: values.lease.term, changes: values.changes, number: values.readings)
        }
    }

    private let values: Mutex<Values>

    init(own: VoterID, hold: Duration) {
        values = Mutex(Values(lease: LeaseCore(own: own, hold: hold)))
    }

    var current: Values { values.withLock { $0 } }

    func update<Result>(_ change: (inout Values) -> Result) -> Result {
        values.withLock { change(&$0) }
    }

    /// The lease of this node; nil while it has none.
    func lease(now: BootInstant) -> (term: UInt64, end: BootInstant)? {
        values.withLock { values in
            guard values.unreadable == 0, let end = values.lease.end(now: now), end > now else { return nil }
            return (values.lease.term, end)
        }
    }
}
