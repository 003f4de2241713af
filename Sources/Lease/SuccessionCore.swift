public import Platform

/// What a follower does when its leader is lost: it makes sure, waits for its turn, and has its own node stand, long before
/// raft's timer would (DOC/FAILOVER.md).
///
/// There are two ways to be sure. *Dead*: the leader's connection has ended and its port refuses another; then the promises
/// to it are void, too. *Silent*: nothing has come from it for `Settings.silence`, and so many other voters say the same that
/// together they can elect; then everybody's promises run out first, so standing before that would be of no use. And a leader
/// may say itself that it hears no majority, though it is heard.
///
/// Nothing here bears on safety: raft's own rules and `VoteGate` do. What is wrong here costs an election.
///
/// A value type without I/O or clock: it takes events with the present time and returns directives.
public struct SuccessionCore: Sendable {
    public struct Settings: Sendable, Equatable {
        /// How long nothing must have come from the leader, AppendEntries every `heartbeat`.
        public var silence: Duration
        /// A look that comes later than this shows that this node itself stood still (its virtual machine was paused, say), and
        /// perhaps the leader with it, which then has to be listened to once more before it counts as silent.
        public var lateness: Duration { silence / 8 }
        /// Between the turns of two survivors: long enough for the first to be elected.
        public var stagger: Duration = .milliseconds(15)
        /// How long a survivor leaves the election to another that has said that it stands. Until its term and its vote are on
        /// its disk a candidate asks nobody; who stands meanwhile votes for himself, and nobody is elected before raft's timers.
        public var courtesy: Duration { stagger * 16 }
        /// A node with writes in flight does not obey, so it is told again and again.
        public var repetition: Duration = .milliseconds(4)
        public var mostRepetitions = 100
        /// For how long a port may go on accepting after its process has died.
        public var probePatience: Duration = .milliseconds(80)
        /// Between two questions to the others.
        public var askInterval: Duration
        /// Who gets no answer is cut off itself.
        public var mostQuestions = 40

        public init(silence: Duration) {
            self.silence = silence
            askInterval = silence / 4
        }

        /// How long another must not have heard the leader to confirm its silence: less than who asks, since the last
        /// heartbeat reached it a little later.
        var confirmation: Duration { silence * 2 / 3 }
    }

    public enum Directive: Equatable, Sendable {
        /// Connect to the leader's port and say by `probed` what came of it.
        case probe
        /// The leader's process is dead: promises to it bind no longer.
        case dead(VoteGate.LeaderProcess)
        /// Ask the other voters whether they hear the leader of this term.
        case ask(term: UInt64)
        /// Tell the other voters that this node is about to stand in place of the leader of this term.
        case tell(term: UInt64)
        /// Tell the local node to stand.
        case stand
    }

    /// Why the node was told to stand.
    public enum Reason: String, Sendable {
        case dead, silent
        /// It says that no majority answers it any more.
        case unanswered
    }

    private enum State: Sendable {
        case following
        /// It seems silent, but this node has stood still meanwhile.
        case listening(until: BootInstant)
        /// Its connection has ended.
        case probing(since: BootInstant)
        case asking(Set<VoterID>, nextAt: BootInstant, count: Int)
        case standing(Reason, from: BootInstant, count: Int)
        /// Raft's own timer is left to do it.
        case givenUp
    }

    public let own: VoterID
    public let settings: Settings
    /// The leader that this node follows, in which term, and when something came from it last.
    public private(set) var leader: VoteGate.LeaderProcess?
    public private(set) var term: UInt64 = 0
    public private(set) var heardAt = BootInstant(nanoseconds: 0)
    private var state = State.following
    /// Until when a leader that has given up is not followed, whatever it sends.
    private var abandonedUntil = BootInstant(nanoseconds: 0)
    private var voters: [VoterID] = []
    /// The local node does not answer the leader that it hears, so it will not stand either: it is told to after all others, and
    /// these do not wait for it.
    public var isUnresponsive = false
    /// Another survivor stands; until then the election is left to it.
    private var yieldsUntil = BootInstant(nanoseconds: 0)

    public init(own: VoterID, settings: Settings) {
        self.own = own
        self.settings = settings
    }

    /// Who is told to stand at present, and why.
    public var reason: Reason? {
        if case .standing(let reason, _, _) = state { reason } else { nil }
    }

    /// The voters as last known.
    public mutating func configure(voters: [VoterID]) {
        self.voters = voters.sorted()
    }

    // MARK: - Events

    /// AppendEntries or a snapshot came in.
    ///
    /// - Returns: whether a wait begins, so that `nextWake` has to be asked for.
    @discardableResult
    public mutating func heard(of leader: VoteGate.LeaderProcess, in term: UInt64, now: BootInstant) -> Bool {
        guard term >= self.term else { return false }
        if leader == self.leader, term == self.term, now < abandonedUntil { return false }
        // A leader that is heard is neither dead nor silent; what was under way is over.
        let begins = if case .following = state { self.leader == nil } else { true }
        self.leader = leader
        self.term = term
        heardAt = now
        state = .following
        abandonedUntil = BootInstant(nanoseconds: 0)
        yieldsUntil = BootInstant(nanoseconds: 0)
        return begins
    }

    /// This node stands, or has voted for another, or leads, in `term`: the leader before is given up.
    public mutating func moved(to term: UInt64) {
        guard term > self.term else { return }
        self.term = term
        leader = nil
        state = .following
        yieldsUntil = BootInstant(nanoseconds: 0)
    }

    /// The connection from a peer has ended.
    public mutating func ended(_ process: VoteGate.LeaderProcess, now: BootInstant) -> [Directive] {
        guard process == leader, voters.contains(own) else { return [] }
        switch state {
        case .following, .listening, .asking:
            state = .probing(since: now)
            return [.probe]
        case .probing, .standing, .givenUp: return []
        }
    }

    /// What came of connecting to the port of a leader's process: an answer about another, which comes late, proves nothing.
    ///
    /// - Parameter promisedUntil: what this node has promised to others still.
    public mutating func probed(
        _ process: VoteGate.LeaderProcess, isRefused: Bool, promisedUntil: BootInstant, now: BootInstant
    ) -> [Directive] {
        guard case .probing(let since) = state, let leader, process == leader else { return [] }
        guard isRefused else {
            guard since.duration(to: now) < settings.probePatience else {
                // Alive, or out of reach: silence will tell.
                state = .following
                return []
            }
            return [.probe]
        }
        state = .standing(.dead, from: turn(after: max(now, promisedUntil)), count: 0)
        return [.dead(leader)]
    }

    /// Another voter says that it does not hear the leader of `term` either.
    public mutating func confirmed(by voter: VoterID, in term: UInt64, promisedUntil: BootInstant, now: BootInstant) {
        guard term == self.term, voter != leader?.voter, voters.contains(voter),
            case .asking(var confirmations, let nextAt, let count) = state
        else { return }
        confirmations.insert(voter)
        state = .asking(confirmations, nextAt: nextAt, count: count)
        guard confirmations.count + 1 > voters.count / 2 else { return }
        // Its request for votes would be kept back before; and two that are kept back would be let go together.
        state = .standing(.silent, from: turn(after: max(now, promisedUntil)), count: 0)
    }

    /// The leader itself says that no majority answers it, and that nobody need keep his promises to it.
    ///
    /// - Parameter promisedUntil: what this node has promised to others still.
    public mutating func gaveUp(
        _ process: VoteGate.LeaderProcess, in term: UInt64, promisedUntil: BootInstant, now: BootInstant
    ) {
        guard process == leader, term == self.term, voters.contains(own) else { return }
        // It is heard, and may hear others again: then it is followed again, but not at once.
        abandonedUntil = now.advanced(by: settings.silence * 4)
        state = .standing(.unanswered, from: turn(after: max(now, promisedUntil)), count: 0)
    }

    /// Another voter says that it stands in place of the leader of `term`. Who has not stood himself yet leaves it to that one
    /// for a while.
    public mutating func stands(_ voter: VoterID, in term: UInt64, now: BootInstant) {
        guard term == self.term, voter != own, voter != leader?.voter, voters.contains(voter) else { return }
        yieldsUntil = now.advanced(by: settings.courtesy)
        if case .standing(let reason, let from, count: 0) = state {
            state = .standing(reason, from: max(from, turn(after: now)), count: 0)
        }
    }

    /// Whether this node can confirm to another that the leader of `term` is silent.
    public func isSilent(in term: UInt64, now: BootInstant) -> Bool {
        guard term >= self.term, heardAt.duration(to: now) >= settings.confirmation else { return false }
        return switch state {
        case .listening: false
        // It would have asked others by now, had it not stood still.
        case .following:
            leader == nil || !voters.contains(own)
                || heardAt.duration(to: now) <= settings.silence + settings.lateness
        case .probing, .asking, .standing, .givenUp: true
        }
    }

    /// What is due.
    ///
    /// - Parameter planned: when this look was to be taken; later than that by `Settings.lateness` and more means that this node
    ///   stood still.
    public mutating func due(now: BootInstant, planned: BootInstant? = nil) -> [Directive] {
        switch state {
        case .following:
            guard leader != nil, voters.contains(own), heardAt.duration(to: now) >= settings.silence else { return [] }
            if let planned, planned.duration(to: now) > settings.lateness {
                state = .listening(until: now.advanced(by: settings.askInterval))
                return []
            }
            return beginAsking(now)
        case .listening(let until):
            return now >= until ? beginAsking(now) : []
        case .asking(let confirmations, let nextAt, let count):
            guard now >= nextAt else { return [] }
            guard count < settings.mostQuestions else {
                state = .givenUp
                return []
            }
            state = .asking(confirmations, nextAt: now.advanced(by: settings.askInterval), count: count + 1)
            return [.ask(term: term)]
        case .standing(let reason, let from, let count):
            guard now >= from else { return [] }
            guard count < settings.mostRepetitions else {
                state = .givenUp
                return []
            }
            state = .standing(reason, from: now.advanced(by: settings.repetition), count: count + 1)
            return count == 0 && !isUnresponsive ? [.tell(term: term), .stand] : [.stand]
        case .probing, .givenUp: return []
        }
    }

    private mutating func beginAsking(_ now: BootInstant) -> [Directive] {
        state = .asking([], nextAt: now.advanced(by: settings.askInterval), count: 1)
        return [.ask(term: term)]
    }

    /// When `due` has something to do at the earliest; nil while it waits for events only.
    public var nextWake: BootInstant? {
        switch state {
        case .following: leader == nil || !voters.contains(own) ? nil : heardAt.advanced(by: settings.silence)
        case .listening(let until): until
        case .asking(_, let nextAt, _): nextAt
        case .standing(_, let from, _): from
        case .probing, .givenUp: nil
        }
    }

    /// When this node stands: it waits for those before it, and the survivors take turns by id.
    private func turn(after now: BootInstant) -> BootInstant {
        let survivors = voters.filter { $0 != leader?.voter }
        let rank = isUnresponsive ? survivors.count : survivors.firstIndex(of: own) ?? survivors.count
        return max(now, yieldsUntil).advanced(by: settings.stagger * rank)
    }
}
