import Platform

/// Brings identical nodes, started in any order, into one cluster or into none: a value type without I/O, clock or log.
///
/// # How it goes
///
/// 1. Every 100-250 ms, and at once when a new node says hello, a node that is in no formed cluster asks every address it
///    knows "who are you, and how far?", all in parallel. The answers name further addresses.
/// 2. As soon as any answer comes from a *formed* cluster of the same name, the node joins that one (I3).
/// 3. Otherwise fresh nodes with the same name and the same `expect` that all hear each other are a founding set S when
///    |S| ≥ expect and |S| is more than half of all nodes and addresses known. A node that sees one is *ready*; the one with
///    the smallest id among the ready ones proposes an `Agreement` that lists S.
/// 4. Each member checks it with its own eyes, writes it to disk, and answers. When *all* have, the founder mints a cluster
///    id, writes `.founding`, and creates the database with the agreement in it.
/// 5. It invites the members. Each writes `.joining`, starts its dqlite node and accepts. When a majority of S (the founder
///    counted) has accepted, the founder writes that there is no way back, adds them one by one, and commits "formed"
///    through raft once a majority of S are members. If it crashes meanwhile, whoever leads goes on from the agreement in
///    the database. All others join the formed cluster.
///
/// # Why two clusters are never formed
///
/// Let P1 and P2 be agreements, both formed, and X a node in both founding sets that kept its disk. Each was unanimous, so X
/// promised itself to both; say to P1 first. It promises only while bound to nothing, so it had left P1 by then. It leaves
/// P1 in these cases only, and each of them means that P1 is never formed:
///
/// - *The founder's word.* The founder of P1 answered, to a request sent after X had promised, that it is not bound to P1; or
///   it sent an abort. It drops P1 only on disk, and only before it has added anybody (the phase `.admitting` is on
///   disk before the first one is added), so that the database of P1 is gone with it; proposal ids are never used
///   again. (Afterwards it drops P1 only for a cluster that is already formed, see below.)
/// - *Losses.* X knows of |S| − majority(S) + 1 members, itself among them, that have left P1: each shows a `generation` above
///   the one in P1. Generations go up on disk whenever a member leaves, and an agreement binds a member only in the
///   generation it names. A member that left never accepts an invitation to P1, and one that accepted does not leave in
///   this way, so fewer than a majority can ever be members.
/// - *A formed cluster.* X joins a formed cluster Q of the same name. It is then bound to Q and never promises again, so it did
///   not promise itself to P2 afterwards.
///
/// A single withdrawal (the founder is silent) therefore frees nobody: the node stays `.withdrawn` until one of these
/// holds. A late duplicate of an old proposal binds nobody either: it names an old generation, or it is dead by the founder's
/// word.
///
/// Hence at most one cluster is formed if any two agreed founding sets have a node in common that kept its disk. That
/// holds if
/// - fewer than 2·expect different nodes ever take part (a node that lost its disk is another node), or
/// - all nodes discover the same addresses and keep their disks: each set is more than half of them.
///
/// # What it cannot do
///
/// - Nodes that discover disjoint halves of a network in which 2·expect nodes exist form two clusters; no protocol among
///   them can help. Give `expect` more than half of the nodes, or all nodes the same discovery.
/// - If a member's disk is lost for ever between the first addition and the formation (about 100 ms), and no majority of
///   the raft configuration is left, the others wait and say so (`BootstrapWaiting.formation`): they cannot know that it is
///   lost. The same holds for members that accepted when the founder's disk is lost before that. Nothing is lost with an
///   unformed cluster: remove their data directories.
public struct BootstrapCore: Sendable {
    /// What is on disk, once the `persist` directives given so far are done.
    public internal(set) var record: NodeRecord

    /// This node is a member of a formed cluster: the core only answers, and the shell answers join requests.
    public internal(set) var isFormed = false

    /// Why a node must not be started.
    public struct StartError: Error, Sendable, Equatable, CustomStringConvertible {
        public var description: String
    }

    /// Rules that a test switches off to show that they are needed. In production all are on.
    struct Rules: Sendable {
        var unanimity = true
        var exclusiveAgreement = true
        var withdrawalNeedsLosses = true
        var wordAfterPromise = true
        var generations = true
        var majorityOfKnown = true
        var stateNeverPromises = true
        var noWayBackAfterAdmitting = true
        var acceptedNeverWithdraws = true
        var formedNeedsMajority = true
        var claimBeforeForming = true
    }

    let options: BootstrapOptions
    let rules: Rules
    var random: BootstrapRandom
    var knowledge: BootstrapKnowledge
    let resume: Resume

    /// The directives of the step in progress.
    var out: [BootstrapDirective] = []

    // Requests.
    var nextRequestID: PeerRequestID = 1
    var sent: [Sent] = []
    /// Answers to earlier requests say nothing about whether the founder still holds the agreement that binds us.
    var boundSince: PeerRequestID = 0
    var boundAt = BootInstant(nanoseconds: 0)

    // Rounds.
    var lastRound = BootInstant(nanoseconds: .min / 4)
    var nextRound = BootInstant(nanoseconds: .min / 4)
    var nextLookUp = BootInstant(nanoseconds: .min / 4)
    var lookUpPending = false
    var wokenAt: BootInstant?
    var cachedView: NodeView?
    var cachedHeard: [NodeView.Heard] = []
    var leader: HostPort?

    // Proposing.
    var readySet: [FoundingMember]?
    var connectedCount = 0
    var readinessStale = true
    var announcedReady = false
    var readySince: BootInstant?
    var proposing: Proposing?
    var backOffUntil = BootInstant(nanoseconds: .min / 4)
    var failedProposals = 0

    // Claiming.
    var claim = Claim()
    /// A look-up has succeeded: whoever is registered is known.
    var hasLookedUp = false

    // Founding.
    var nodeRunning = false
    var duties: Duties?
    var foundingSince = BootInstant(nanoseconds: .min / 4)
    var createAgainAt: BootInstant?
    var waitingInvitations: [PeerReplyToken] = []

    // Joining.
    var joining = JoinAttempt()
    /// When all addresses have had their time to answer, and a formed cluster that was heard can be joined.
    var lookAgainAt: BootInstant?

    var lastWaiting: BootstrapWaiting?
    var warned: [BootstrapWarning] = []

    /// A request on the way.
    struct Sent: Sendable {
        enum Kind: Sendable, Equatable {
            case hello
            case propose(NodeID, ProposalID)
            case abort
            case invite(NodeID, ClusterID)
            case join(ClusterID)
        }

        var id: PeerRequestID
        var kind: Kind
        var at: BootInstant
        var expires: BootInstant
    }

    /// The right to found, as the store gave it.
    struct Claim: Sendable {
        var pending = false
        var askAt = BootInstant(nanoseconds: .min / 4)
        /// nil: not ours.
        var heldUntil: BootInstant?
        /// For which cluster it was given.
        var clusterID: ClusterID?
        /// Whose it is instead.
        var holder: HostPort?
        /// Why the store did not say.
        var failure: String?
    }

    /// The founder's collection of promises; lost with the process, and the proposal with it.
    struct Proposing: Sendable {
        struct Member: Sendable {
            var member: FoundingMember
            var agreed = false
            var pending = false
            var askAt: BootInstant
        }

        var agreement: Agreement
        var others: [Member]
        var deadline: BootInstant
    }

    /// What has to be done for an unformed cluster whose dqlite leader this node is.
    struct Duties: Sendable {
        struct Member: Sendable {
            var member: FoundingMember
            var isMember: Bool
            var accepted = false
            var pending = false
            var askAt: BootInstant
        }

        var clusterID: ClusterID
        var agreement: Agreement
        var members: [Member]
        var admitting: NodeID?
        var committing = false
        var commitAt: BootInstant
    }

    /// The one join request at a time.
    struct JoinAttempt: Sendable {
        var pending = false
        var at = BootInstant(nanoseconds: .min / 4)
        var redirectedTo: HostPort?
        var redirects = 0
        var turn = 0
    }

    /// What `start` has to do about the state found on disk.
    enum Resume: Sendable, Equatable {
        case newRecord
        case asIs
        /// The raft directory was emptied while our founded cluster had no other member: nothing but that is lost.
        case foundingLost(ClusterID)
        /// The raft directory of a member was emptied: it has lost its vote and its log, and comes back as another node.
        case memberLost(NodeID)
    }

    /// - Parameters:
    ///   - options: what the operator asked for.
    ///   - record: what `DataDirectory.loadRecord` gave.
    ///   - raftIsEmpty: what `DataDirectory.raftIsEmpty` gave.
    ///   - random: seeded in tests.
    /// - Throws: `StartError` when the record and the raft directory do not belong together.
    public init(
        options: BootstrapOptions, record: NodeRecord?, raftIsEmpty: Bool, random: BootstrapRandom = BootstrapRandom()
    ) throws(StartError) {
        try self.init(options: options, record: record, raftIsEmpty: raftIsEmpty, random: random, rules: Rules())
    }

    init(
        options: BootstrapOptions, record: NodeRecord?, raftIsEmpty: Bool, random: BootstrapRandom, rules: Rules
    ) throws(StartError) {
        self.options = options
        self.rules = rules
        self.random = random
        if let record {
            self.record = record
            resume = try Self.resume(record, raftIsEmpty: raftIsEmpty)
        } else {
            guard raftIsEmpty else {
                throw StartError(
                    description:
                        "the raft directory has data, but there is no node.json that says whose: restore node.json "
                        + "from a backup, or move the whole data directory away; the node then comes back as a new one "
                        + "and joins again")
            }
            self.record = NodeRecord(
                nodeID: NodeID(using: &self.random), dqliteID: DqliteID.random(using: &self.random),
                address: options.address, clusterName: options.clusterName)
            resume = .newRecord
        }
        if case .formed = self.record.state, resume == .asIs { isFormed = true }
        if case .memberLost = resume { self.record.nodeID = NodeID(using: &self.random) }
        knowledge = BootstrapKnowledge(
            ownID: self.record.nodeID, ownAddress: options.address, clusterName: options.clusterName,
            window: options.timing.hearingWindow)
    }

    private static func resume(_ record: NodeRecord, raftIsEmpty: Bool) throws(StartError) -> Resume {
        if record.wipePending { return .asIs }
        switch record.state {
        case .removed:
            return .asIs
        case .fresh, .agreed, .withdrawn:
            guard raftIsEmpty else {
                throw StartError(
                    description:
                        "the raft directory has data, but node.json says that this node belongs to no cluster: was "
                        + "node.json restored from an older backup? Restore both, or move the whole data directory away; "
                        + "the node then comes back as a new one and joins again")
            }
            return .asIs
        case .founding(_, _, .creating), .joining(_, _, started: false):
            return .asIs
        case .founding(_, let clusterID, .inviting):
            return raftIsEmpty ? .foundingLost(clusterID) : .asIs
        case .founding(_, _, .admitting), .joining(_, _, started: true), .formed:
            return raftIsEmpty ? .memberLost(record.nodeID) : .asIs
        }
    }

    /// Takes in one event and says what to do now.
    public mutating func step(_ event: BootstrapEvent, now: BootInstant) -> [BootstrapDirective] {
        out = []
        switch event {
        case .start: start(now)
        case .tick:
            // Should it come a little early, it has to be asked for again.
            wokenAt = nil
        case .discovered(let addresses):
            lookUpPending = false
            hasLookedUp = true
            knowledge.setDiscovered(addresses)
            if knowledge.listsChanged {
                readinessStale = true
                cachedView = nil
                roundSoon(now)
            }
        case .lookUpFailed: lookUpPending = false
        case .claimHeld(let clusterID, let until): claimHeld(clusterID, until)
        case .claimTaken(let address): claimTaken(by: address, now)
        case .claimFailed(let reason): claimFailed(reason, now)
        case .reply(let id, let address, let reply): received(reply, to: id, from: address, now)
        case .failed(let id, let address, let reason): failed(id, at: address, reason, now)
        case .request(let request, let token): answer(request, token, now)
        case .nodeStarted(let dqliteID): nodeStarted(dqliteID, now)
        case .databaseCreated(let clusterID): databaseCreated(clusterID, now)
        case .databaseFailed(let clusterID, let reason): databaseFailed(clusterID, reason, now)
        case .admitted(let node, let clusterID): admitted(node, clusterID, now)
        case .admitFailed(let node, let clusterID, let reason): admitFailed(node, clusterID, reason, now)
        case .leading(let clusterID, let agreement, let members): leading(clusterID, agreement, members, now)
        case .notLeading: duties = nil
        case .formedCommitted(let clusterID): formedCommitted(clusterID, now)
        case .formedFailed(let clusterID, let reason): formedFailed(clusterID, reason, now)
        case .becameFormed(let clusterID): becameFormed(clusterID, now)
        case .removed(let clusterID, let removal): removed(clusterID, removal, now)
        case .leaderKnown(let address):
            leader = address
            cachedView?.leader = address
        }
        advance(now)
        let result = out
        out = []
        return result
    }

    /// Does what is due, whatever the event was.
    private mutating func advance(_ now: BootInstant) {
        guard !isFormed else { return }
        if case .removed = record.state { return }
        considerFormedClusters(now)
        switch record.state {
        case .fresh: advanceProposal(now)
        case .agreed:
            advanceProposal(now)
            considerWithdrawal(now)
        case .withdrawn: considerRelease(now)
        case .founding, .joining:
            advanceDuties(now)
            considerDissolution(now)
            advanceJoin(now)
        case .formed, .removed: break
        }
        guard !isFormed else { return }
        if now >= nextRound { round(now) }
        if now >= nextLookUp, !lookUpPending, options.mode != .single {
            lookUpPending = true
            nextLookUp = now.advanced(by: options.timing.lookUp)
            out.append(.lookUp)
        }
        askForWake(now)
    }

    /// Asks for the next time at which something is due even if nothing happens.
    private mutating func askForWake(_ now: BootInstant) {
        var wake = nextRound
        if let proposing {
            wake = min(wake, proposing.deadline)
            for other in proposing.others where !other.agreed && !other.pending { wake = min(wake, other.askAt) }
        } else if let at = proposeAt, at > now {
            wake = min(wake, at)
        }
        if let duties {
            if !duties.committing, duties.commitAt > now { wake = min(wake, duties.commitAt) }
            for member in duties.members where !member.isMember && !member.pending && member.askAt > now {
                wake = min(wake, member.askAt)
            }
        }
        if options.mode == .claim, !claim.pending, claim.askAt > now { wake = min(wake, claim.askAt) }
        if let lookAgainAt, lookAgainAt > now { wake = min(wake, lookAgainAt) }
        if let createAgainAt { wake = min(wake, createAgainAt) }
        if case .joining = record.state, !joining.pending, joining.at > now { wake = min(wake, joining.at) }
        // A time in the past would be asked for again and again.
        if wake <= now { wake = now.advanced(by: .milliseconds(1)) }
        if let wokenAt, wake == wokenAt { return }
        wokenAt = wake
        out.append(.wake(at: wake))
    }
}
