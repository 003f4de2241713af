public import Platform

/// How this node came to lead, for who asks where the time of a fail-over went. All instants are those of this host.
public struct ElectionRecord: Sendable, Hashable {
    public enum Cause: String, Sendable, Hashable, CaseIterable {
        /// The process of the leader before was found dead.
        case dead
        /// The leader before was silent, and others said so, too.
        case silent
        /// The leader before asked this node to lead.
        case transferred
        /// Raft's own timer: nothing came from a leader for that long.
        case timeout
    }

    public var term: UInt64
    public var cause: Cause
    /// The last sign of the leader before: its last heartbeat, or the end of its connection; nil when there was none.
    public var lastSign: BootInstant?
    /// When this node decided to stand.
    public var decidedAt: BootInstant
    /// When it led.
    public var leadsAt: BootInstant
    /// When it had its first lease; nil while it has had none.
    public var leasedAt: BootInstant?
}

/// Takes note of how an election of this node comes about. It decides nothing.
///
/// A value type without clock.
struct ElectionBook: Sendable {
    private struct Attempt {
        var cause: ElectionRecord.Cause
        var lastSign: BootInstant?
        var decidedAt: BootInstant
    }

    /// Elections that this node began before raft's own timer would have.
    private(set) var started: [ElectionRecord.Cause: UInt64] = [:]
    /// The newest election that this node has won.
    private(set) var won: ElectionRecord?
    private var attempt: Attempt?

    /// This node stands, or is about to. Until a leader is heard again, whatever it does belongs to that.
    ///
    /// - Parameters:
    ///   - lastSign: of the leader that is replaced.
    ///   - heardAt: when AppendEntries last came in from any leader.
    mutating func stands(
        for cause: ElectionRecord.Cause, lastSign: BootInstant?, heardAt: BootInstant?, now: BootInstant
    ) {
        if cause == .dead || cause == .silent { started[cause, default: 0] += 1 }
        if let attempt, !isOver(attempt, heardAt) { return }
        attempt = Attempt(cause: cause, lastSign: sign(lastSign), decidedAt: now)
    }

    /// This node leads.
    mutating func leads(in term: UInt64, heardAt: BootInstant?, now: BootInstant) {
        let attempt = attempt.flatMap { isOver($0, heardAt) ? nil : $0 }
        self.attempt = nil
        won = ElectionRecord(
            term: term, cause: attempt?.cause ?? .timeout, lastSign: attempt.map(\.lastSign) ?? sign(heardAt),
            decidedAt: attempt?.decidedAt ?? now, leadsAt: now)
    }

    /// A lease has begun.
    mutating func leased(in term: UInt64, now: BootInstant) {
        guard won?.term == term, won?.leasedAt == nil else { return }
        won?.leasedAt = now
    }

    /// A sign of the leader that is replaced, unless this node has led itself since.
    private func sign(_ lastSign: BootInstant?) -> BootInstant? {
        guard let lastSign, let won, lastSign <= won.leadsAt else { return lastSign }
        return nil
    }

    /// A leader was heard after it: who stands then stands for another reason.
    private func isOver(_ attempt: Attempt, _ heardAt: BootInstant?) -> Bool {
        heardAt.map { $0 > attempt.decidedAt } ?? false
    }
}
