public import Platform

/// What the relay of one node decides: what of raft passes, when it leads with a lease, and what it does when its leader is lost.
///
/// It joins `VoteGate`, `LeaseCore`, `SuccessionCore`, `Predecessors`, and the books of copies. The shell (`RaftRelay`) brings each frame
/// and message with the present time, carries out `take()`, and then does with the frame what was answered; the simulation does the
/// same. The rules have the numbers of DOC/SAFETY.md.
///
/// A value type without I/O or clock.
public struct RelayCore: Sendable {
    public struct Settings: Sendable, Equatable {
        /// How long a promise binds; see `VoteGate`.
        public var hold: Duration
        /// How long another may take to take the lead over before this node asks for promises again.
        public var patience: Duration
        /// How long what is held may be kept for a successor.
        public var handOverLimit: Duration
        /// For how long a leader that no majority answers asks for none.
        public var retreat: Duration
        public var succession: SuccessionCore.Settings

        public init(
            hold: Duration, patience: Duration, handOverLimit: Duration = .milliseconds(100), retreat: Duration,
            succession: SuccessionCore.Settings
        ) {
            self.hold = hold
            self.patience = patience
            self.handOverLimit = handOverLimit
            self.retreat = retreat
            self.succession = succession
        }
    }

    /// Rules that a test switches off to show that they are needed.
    struct Rules: Sendable {
        var gate = VoteGate.Rules()
        var surrenders = true
        var transfersEndLease = true
        var followsChanges = true
        var dropsHeld = true
        var comparesCopies = true
        var standsOnlyWhenOpen = true
        /// Not for safety: without it raft's own timers find the next leader.
        var succeeds = true
        /// Nor this: who stands says so to the others.
        var tells = true
    }

    /// A vote that is kept back.
    struct Held: Sendable {
        var ticket: VoteTicket
        var frame: RelayFrame
        var peer: VoterID
        var candidate: VoterID
        var until: BootInstant
    }

    /// What is known of a peer from what came in.
    struct Peer: Sendable {
        var process: VoteGate.LeaderProcess
        /// The highest term in which it led, and where its log ended by the newest frame of that.
        var ledTerm: UInt64 = 0
        var position: LogPosition?
        var storedIndex: UInt64 = 0
        /// What a frame takes at least, as a difference between this host's clock and its.
        var delay = LeastDelay()
        /// The acknowledgement that goes with the local node's answer to the same heartbeat.
        var owed: (term: UInt64, sentAt: BootInstant)?
        var progress = FollowerProgress()

        init(_ process: VoteGate.LeaderProcess) { self.process = process }
    }

    public let own: VoterID
    public let settings: Settings
    let rules: Rules
    public internal(set) var gate: VoteGate
    public internal(set) var lease: LeaseCore
    public internal(set) var succession: SuccessionCore
    public internal(set) var predecessors = Predecessors()
    var peers: [VoterID: Peer] = [:]
    var copies = ComparedCopies()
    var held: [Held] = []
    private var nextTicket: VoteTicket = 0
    /// The voters as last known, by whatever way.
    var voters: [VoterID] = []
    /// This node was the only voter, and nothing has come since by which that could have changed.
    var isSole = false
    /// How many times something came that makes a reading of the members an old one.
    public internal(set) var changes: UInt64 = 0
    /// Where the entry stands that has named voters last in the term of the lease.
    var namedIndex: UInt64 = 0
    var lastReading: UInt64 = 0
    /// Raft streams that cannot be understood.
    public internal(set) var unreadable = 0
    /// Why this node is going to stand, as said last.
    var reported: SuccessionCore.Reason?
    /// Heartbeats that the local node has been handed since it said something.
    var unansweredHeartbeats = 0
    /// The disk of this node has failed: nothing is to be stored through it any more, and nothing that it claims to have stored counts.
    public private(set) var hasFailedDisk = false
    private var directives: [RelayDirective] = []

    /// - Parameters:
    ///   - term: libraft's term on disk.
    ///   - hasVoted: whether the disk has a vote of that term.
    ///   - closedUntil: see `VoteGate`.
    public init(
        own: VoterID, term: UInt64, hasVoted: Bool, closedUntil: BootInstant?, settings: Settings, now: BootInstant
    ) {
        self.init(
            own: own, settings: settings,
            gate: VoteGate(now: now, term: term, hasVoted: hasVoted, hold: settings.hold, closedUntil: closedUntil),
            lease: LeaseCore(own: own, hold: settings.hold), rules: Rules())
    }

    init(own: VoterID, settings: Settings, gate: VoteGate, lease: LeaseCore, rules: Rules) {
        self.own = own
        self.settings = settings
        self.gate = gate
        self.lease = lease
        self.rules = rules
        succession = SuccessionCore(own: own, settings: settings.succession)
    }

    // MARK: - Directives

    /// What has to be done, in this order, before the frame that it came with is passed on.
    public mutating func take() -> [RelayDirective] {
        guard !directives.isEmpty else { return [] }
        defer { directives.removeAll(keepingCapacity: true) }
        return directives
    }

    mutating func say(_ directive: RelayDirective) { directives.append(directive) }

    mutating func ticket() -> VoteTicket {
        nextTicket += 1
        return nextTicket
    }

    // MARK: - Voters

    /// A reading of the members as it began.
    public struct Reading: Sendable, Hashable, BitwiseCopyable {
        var term: UInt64
        var changes: UInt64
        /// In the order in which they began.
        var number: UInt64

        public init(term: UInt64, changes: UInt64, number: UInt64) {
            self.term = term
            self.changes = changes
            self.number = number
        }
    }

    /// The voters as the local node told them. What was named since the reading began is newer, and so is what a later reading said.
    ///
    /// - Returns: whether they count.
    @discardableResult
    public mutating func learnt(voters ids: [VoterID], by reading: Reading, now: BootInstant) -> Bool {
        guard lease.term == reading.term, reading.number > lastReading else { return false }
        guard changes == reading.changes else {
            // Something came in between: it is to be read once more.
            say(.readMembers)
            return false
        }
        lastReading = reading.number
        know(ids)
        configure(ids, now)
        say(.leaseMoved)
        return true
    }

    /// The voters as they were last read, for the succession: it is asked whom to tell, not who proves a lease.
    public mutating func knows(voters ids: [VoterID]) {
        guard !ids.isEmpty else { return }
        voters = ids
        succession.configure(voters: ids)
    }

    /// An entry that names voters passes, of this node or of another leader.
    mutating func named(_ voters: NamedVoters, now: BootInstant) {
        changes += 1
        know(voters.voters)
        say(.readMembers)
    }

    private mutating func know(_ ids: [VoterID]) {
        knows(voters: ids)
        isSole = ids == [own] && !(lease.term > 0 && lease.isSurrendered)
    }

    mutating func configure(_ ids: [VoterID], _ now: BootInstant) {
        guard rules.followsChanges || lease.end(now: now) == nil else { return }
        lease.configure(voters: ids, now: now)
    }

    /// Others may have changed the voters: what is being read was true before.
    mutating func stirs() {
        changes += 1
        isSole = false
    }

    /// The successor has set the address: nothing is kept for it any more, and nothing depends on what was promised for it.
    public mutating func letsGo(now: BootInstant) {
        guard lease.handingOver != nil else { return }
        lease.letsGo()
        say(.leaseMoved)
        // Only while there is no lease of the same term again.
        if lease.isSurrendered { say(.tellAll(.released(upTo: now, successor: nil))) }
    }

    // MARK: - A disk that has failed

    /// The local node could not write: it has said so to a leader, or to a client of its own.
    public mutating func diskFailed() {
        guard !hasFailedDisk else { return }
        hasFailedDisk = true
        lease.surrender(upTo: lease.term)
        say(.alarm(.diskFailed))
        say(.leaseLost(.stopped))
        say(.leaseMoved)
    }

    // MARK: - Streams that cannot be read

    /// A stream of the local node, or to it, is passed on from now on without being understood. While there is one this node has no
    /// lease, and afterwards none in this term: what its own node voted there cannot be seen (rule 14).
    public mutating func unreadable(now: BootInstant) {
        unreadable += 1
        say(.leaseLost(.unreadable))
        if !isSole { lease.surrender(upTo: lease.term) }
        say(.leaseMoved)
    }

    /// A stream begins anew, or is gone.
    ///
    /// - Parameters:
    ///   - term: libraft's term on disk now.
    ///   - hasVoted: whether the disk has a vote of that term.
    public mutating func readable(term: UInt64, hasVoted: Bool, now: BootInstant) {
        guard unreadable > 0 else { return }
        unreadable -= 1
        guard unreadable == 0 else { return }
        gate.learnt(term: term, hasVoted: hasVoted)
        say(.leaseMoved)
        // It may lead still, and has no lease in this term any more.
        guard lease.term > 0, lease.isSurrendered, term == lease.term else { return }
        retreat(now)
    }

    // MARK: - Telling

    /// Voters that this node, as the leader, does not bring up to date although they acknowledge what it sends: since when.
    public func stuck(now: BootInstant) -> [VoterID: BootInstant] {
        var found: [VoterID: BootInstant] = [:]
        for id in lease.voters {
            // Who is lost acknowledges nothing either: it has to have gone on with that, not only not to have stopped long ago.
            guard let since = peers[id]?.progress.standsSince,
                lease.acknowledged(since: since.advanced(by: .seconds(1))).contains(id)
            else { continue }
            found[id] = since
        }
        return found
    }

    /// How far each peer has stored the log, as it last said.
    public var storedIndexes: [VoterID: UInt64] { peers.mapValues(\.storedIndex) }

    /// When `due` has something to do at the earliest; nil while it waits for events only.
    public var nextWake: BootInstant? {
        let release = held.map(\.until).min()
        guard let wake = rules.succeeds ? succession.nextWake : nil else { return release }
        return release.map { min($0, wake) } ?? wake
    }
}
