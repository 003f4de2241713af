public import Platform

/// The follower's side of the lease: what this node's relay has promised to leaders, and which of its node's votes it
/// keeps back so long.
///
/// The rules, each of which the simulation shows to be needed:
///
/// 1. *Gate.* Once a leader's AppendEntries is acknowledged, no vote of this node for another leaves the host before
///    `hold` is over: neither a granted vote nor a request for votes, which carries the candidate's own.
/// 2. *Closed at start.* What an earlier process promised is not known. No vote leaves for the time `closedAtStart` after
///    the start.
/// 3. *No promise to the past.* What comes from a term below the one that this node has voted in is not acknowledged: a
///    vote that has left already elects somebody, whatever is promised afterwards. The term on disk counts at the start.
///
/// (The leader's part is `LeaseCore.surrender`.) Pre-votes pass: they elect nobody.
///
/// A promise ends early when the leader has given the lead away, and when this node has itself seen that the leader's
/// process is dead: with it died whatever held the address.
public struct VoteGate: Sendable {
    /// How long a promise binds, from the acknowledgement on.
    public let hold: Duration
    /// The highest term in which this node is known to have voted or to follow.
    public private(set) var term: UInt64

    /// A leader as one process: one that was started again is another.
    public struct LeaderProcess: Hashable, Sendable {
        public var voter: VoterID
        public var incarnation: UInt64

        public init(voter: VoterID, incarnation: UInt64) {
            self.voter = voter
            self.incarnation = incarnation
        }
    }

    private struct Promise: Sendable {
        var leader: LeaderProcess
        /// The newest frame that it was given for, on the leader's clock.
        var sentAt: BootInstant
        var until: BootInstant
    }

    private var promises: [Promise] = []
    private var closedUntil: BootInstant
    let rules: Rules

    /// Rules that a test switches off to show that they are needed.
    struct Rules: Sendable {
        var gate = true
        var closedAtStart = true
        var refusesPast = true
    }

    /// - Parameters:
    ///   - term: libraft's term on disk.
    ///   - closedAtStart: at least `hold`.
    public init(now: BootInstant, term: UInt64, hold: Duration, closedAtStart: Duration) {
        self.init(now: now, term: term, hold: hold, closedAtStart: closedAtStart, rules: Rules())
    }

    /// - Parameter closedUntil: when the last promise of an earlier process is over; nil: there was none.
    public init(term: UInt64, hold: Duration, closedUntil: BootInstant?) {
        self.hold = hold
        self.term = term
        rules = Rules()
        self.closedUntil = closedUntil ?? BootInstant(nanoseconds: 0)
    }

    init(now: BootInstant, term: UInt64, hold: Duration, closedAtStart: Duration, rules: Rules) {
        self.hold = hold
        self.term = term
        self.rules = rules
        closedUntil = rules.closedAtStart ? now.advanced(by: max(hold, closedAtStart)) : now
    }

    /// An AppendEntries or InstallSnapshot that asks for a promise has come in and is about to be handed to the node.
    ///
    /// - Parameter sentAt: when the leader's relay sent it, on the leader's clock: compared with what `released` names.
    /// - Returns: whether to acknowledge it; the promise that goes with it is given by this call.
    public mutating func promise(
        to leader: LeaderProcess, in term: UInt64, sentAt: BootInstant, now: BootInstant
    ) -> Bool {
        if rules.refusesPast, term < self.term { return false }
        self.term = max(self.term, term)
        let until = now.advanced(by: hold)
        promises.removeAll { $0.until <= now }
        for index in promises.indices where promises[index].leader == leader {
            promises[index].sentAt = max(promises[index].sentAt, sentAt)
            promises[index].until = max(promises[index].until, until)
            return true
        }
        promises.append(Promise(leader: leader, sentAt: sentAt, until: until))
        return true
    }

    /// What becomes of a vote.
    public enum Verdict: Equatable, Sendable {
        case pass
        /// Kept back; asked again at that time, or when a promise ends early.
        case hold(until: BootInstant)
    }

    /// A vote of this node is about to leave: a granted vote for `candidate`, or its own request for votes, whose
    /// candidate it is itself.
    public mutating func vote(for candidate: VoterID, in term: UInt64, now: BootInstant) -> Verdict {
        // A promise to X keeps nobody from electing X once more.
        var until = closedUntil
        if rules.gate {
            for promise in promises where promise.leader.voter != candidate { until = max(until, promise.until) }
        }
        guard now >= until else { return .hold(until: until) }
        self.term = max(self.term, term)
        return .pass
    }

    /// The leader has said that nothing depends on the promises that were given for what it sent until then.
    public mutating func released(by leader: LeaderProcess, upTo sentAt: BootInstant) {
        promises.removeAll { $0.leader == leader && $0.sentAt <= sentAt }
    }

    /// This node has proof that the process of the leader is dead.
    public mutating func died(_ leader: LeaderProcess) {
        promises.removeAll { $0.leader == leader }
    }

    /// Until when something is kept back at the longest, for whatever candidate.
    public var closedNow: BootInstant {
        promises.map(\.until).reduce(closedUntil, max)
    }
}
