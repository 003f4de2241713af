public import Platform

/// The follower's side of the lease: what this node's relay has promised to leaders, and which of its node's votes leave.
///
/// The rules, each of which the simulation shows to be needed:
///
/// 1. *Gate.* Once a leader's AppendEntries is acknowledged, no vote of this node for another leaves the host before
///    `hold` is over: neither a granted vote nor a request for votes, which carries the candidate's own.
/// 2. *Closed at start.* What an earlier process promised is not known. No vote leaves before that is over.
/// 3. *No promise to the past.* What comes from a term below the one that this node has voted in is not acknowledged: a
///    vote that has left already elects somebody, whatever is promised afterwards. The term on disk counts at the start.
/// 16. *One vote in one term.* After a vote for one candidate none for another leaves in that term or a lower one. Raft has this
///    rule, and libraft breaks it: while it hands the lead over it votes for the successor although it has voted for another
///    (DOC/LIBRAFT.md). At the start it is not known for whom a vote has left: where the disk has one of its term, no other follows.
/// 17. *One leader in one term.* A second one is a fault of raft: it gets no promise, and the local node does not hear it.
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
    /// The newest vote that has left; nobody is named when it is not known who got it.
    private var voted: (term: UInt64, candidate: VoterID?)?
    /// Who leads the newest term in which a leader was heard.
    private var leader: (term: UInt64, voter: VoterID)?

    /// A leader as one process: one that was started again is another.
    public struct LeaderProcess: Hashable, Sendable, BitwiseCopyable {
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
        /// The leader hands the lead over to this node, which may be elected all the same.
        var successor: VoterID?
    }

    private var promises: [Promise] = []
    /// Until when no vote leaves, because of what an earlier process may have promised.
    public private(set) var closedUntil: BootInstant
    let rules: Rules

    /// Rules that a test switches off to show that they are needed.
    struct Rules: Sendable {
        var gate = true
        var closedAtStart = true
        var refusesPast = true
        var oneVote = true
        var oneLeader = true
    }

    /// - Parameters:
    ///   - term: libraft's term on disk.
    ///   - hasVoted: whether the disk has a vote of that term; then none leaves in it any more.
    ///   - closedUntil: when all is over that an earlier process of this node can have promised; nil when there was none.
    public init(now: BootInstant, term: UInt64, hasVoted: Bool, hold: Duration, closedUntil: BootInstant?) {
        self.init(now: now, term: term, hasVoted: hasVoted, hold: hold, closedUntil: closedUntil, rules: Rules())
    }

    init(
        now: BootInstant, term: UInt64, hasVoted: Bool, hold: Duration, closedUntil: BootInstant?, rules: Rules
    ) {
        self.hold = hold
        self.term = term
        self.rules = rules
        self.closedUntil = rules.closedAtStart ? closedUntil ?? now : now
        if hasVoted { voted = (term, nil) }
    }

    /// Votes may have left unseen until now; the disk says in which term.
    mutating func learnt(term: UInt64, hasVoted: Bool) {
        guard term >= self.term else { return }
        self.term = term
        if hasVoted { voted = (term, nil) }
    }

    /// AppendEntries or a snapshot has come in from a leader.
    ///
    /// - Returns: who led that term before, when it was another: then raft is broken, and this one is not to be heard.
    mutating func hears(_ voter: VoterID, in term: UInt64) -> VoterID? {
        guard let known = leader, known.term >= term else {
            leader = (term, voter)
            return nil
        }
        return rules.oneLeader && known.term == term && known.voter != voter ? known.voter : nil
    }

    /// An AppendEntries or InstallSnapshot that asks for a promise has come in and is about to be handed to the node.
    ///
    /// - Parameter sentAt: when the leader's relay sent it, on the leader's clock: compared with what `released` names.
    /// - Returns: whether to acknowledge it; the promise that goes with it is given by this call.
    public mutating func promise(
        to leader: LeaderProcess, in term: UInt64, sentAt: BootInstant, now: BootInstant
    ) -> Bool {
        if rules.refusesPast, term < self.term { return false }
        if hears(leader.voter, in: term) != nil { return false }
        self.term = max(self.term, term)
        let until = now.advanced(by: hold)
        promises.removeAll { $0.until <= now }
        for index in promises.indices where promises[index].leader == leader {
            promises[index].sentAt = max(promises[index].sentAt, sentAt)
            promises[index].until = max(promises[index].until, until)
            promises[index].successor = nil
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
        /// It never leaves: another got the vote of its term, or a higher term has begun.
        case drop
    }

    /// A vote of this node is about to leave: a granted vote for `candidate`, or its own request for votes, whose
    /// candidate it is itself.
    public mutating func vote(for candidate: VoterID, in term: UInt64, now: BootInstant) -> Verdict {
        if rules.oneVote, isGiven(term, otherwiseThanTo: candidate) { return .drop }
        // A promise to X keeps nobody from electing X once more.
        let until = closed(but: candidate)
        guard now >= until else { return .hold(until: until) }
        self.term = max(self.term, term)
        if voted.map({ $0.term < term }) ?? true { voted = (term, candidate) }
        return .pass
    }

    private func isGiven(_ term: UInt64, otherwiseThanTo candidate: VoterID) -> Bool {
        if term < self.term { return true }
        if let voted, voted.term == term, voted.candidate != candidate { return true }
        if let leader, leader.term == term, leader.voter != candidate { return true }
        return false
    }

    /// Whether another is known to have got the vote of that term: then the local node has voted twice.
    func isSecond(_ term: UInt64, for candidate: VoterID) -> Bool {
        guard let voted, let other = voted.candidate else { return false }
        return voted.term == term && other != candidate
    }

    /// Whether a request for votes of this node could leave in that term, and if not, until when it is kept back.
    func wouldHold(_ candidate: VoterID, in term: UInt64, now: BootInstant) -> Bool {
        rules.oneVote && isGiven(term, otherwiseThanTo: candidate) || closed(but: candidate) > now
    }

    private func closed(but candidate: VoterID) -> BootInstant {
        var until = closedUntil
        if rules.gate {
            for promise in promises where promise.leader.voter != candidate && promise.successor != candidate {
                until = max(until, promise.until)
            }
        }
        return until
    }

    /// The leaders whose promises keep that candidate from being elected, and until when.
    public func bound(but candidate: VoterID) -> [VoterID: BootInstant] {
        var bound: [VoterID: BootInstant] = [:]
        for promise in promises where promise.leader.voter != candidate && promise.successor != candidate {
            bound[promise.leader.voter] = max(bound[promise.leader.voter] ?? promise.until, promise.until)
        }
        return bound
    }

    /// The leader has said that the promises which were given for what it sent until then do not bind against the node to which it
    /// hands the lead over, or not at all.
    public mutating func released(by leader: LeaderProcess, upTo sentAt: BootInstant, successor: VoterID? = nil) {
        guard let successor else { return promises.removeAll { $0.leader == leader && $0.sentAt <= sentAt } }
        for index in promises.indices where promises[index].leader == leader && promises[index].sentAt <= sentAt {
            promises[index].successor = successor
        }
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
