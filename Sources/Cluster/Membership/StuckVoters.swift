import Dqlite
import Platform

/// Voters that answer this leader and take nothing from it: their log differs from its own, and it believes that it does not, which
/// libraft can bring about and does not mend within a term. A value type without clock.
///
/// Such a voter counts for elections and leases, but not as a copy: were one more lost, no change could be committed. A
/// new leader begins its bookkeeping anew, so the remedy is to hand over; once, as it may not help: a node whose disk is full or slow
/// takes no more from another leader.
struct StuckVoters: Sendable, Equatable {
    /// Less is a busy disk, or a node that catches up.
    static let patience: Duration = .seconds(1)
    /// Between two hand-overs because of it. A disk that is full stays so for long, and each node that leads would move the lead.
    static let interval: Duration = .seconds(600)

    struct Verdict: Sendable, Equatable {
        /// Not stuck at the last look; to be told to the operator.
        var new: [DqliteNodeID] = []
        /// Stuck at the last look, and not any more.
        var freed: [DqliteNodeID] = []
        /// The lead is to be handed over to a voter that is not stuck.
        var handsOver = false
    }

    /// Stuck at the last look.
    private(set) var reported: Set<DqliteNodeID> = []
    private var handedOverAt: BootInstant?

    /// Those that have been stuck for longer than a moment.
    func lasting(_ stuck: [DqliteNodeID: BootInstant], now: BootInstant) -> Set<DqliteNodeID> {
        Set(stuck.filter { $0.value.duration(to: now) > Self.patience }.keys)
    }

    /// Looks at what the relay says; nobody is stuck where another leads.
    mutating func look(_ stuck: [DqliteNodeID: BootInstant], now: BootInstant) -> Verdict {
        let lasting = lasting(stuck, now: now)
        var verdict = Verdict(
            new: lasting.subtracting(reported).sorted(), freed: reported.subtracting(lasting).sorted())
        reported = lasting
        guard !lasting.isEmpty, handedOverAt.map({ $0.duration(to: now) >= Self.interval }) ?? true else {
            return verdict
        }
        handedOverAt = now
        verdict.handsOver = true
        return verdict
    }
}
