import Platform

/// What the operator asked for, as far as the bootstrap must know it.
public struct BootstrapOptions: Sendable, Equatable {
    /// How a node without state gets into a cluster.
    public enum Mode: Sendable, Equatable {
        /// Neither `--bootstrap-expect` nor an address to join: it founds a cluster of one at once.
        case single
        /// `--bootstrap-expect N` with addresses: it joins, or founds with N or more like it.
        case expect(Int)
        /// A store with check-and-set, and no `--bootstrap-expect`: it joins, or founds a cluster of one once the store has
        /// given it the right to, which the store gives to one node at a time.
        case claim
        /// Addresses alone, or a non-voter: it joins and never founds.
        case joinOnly
    }

    public var mode: Mode
    /// Only nodes with the same name (`--disco-key`) become one cluster.
    public var clusterName: String
    /// What people call this node.
    public var name: String
    /// Where the others reach our cluster port.
    public var address: HostPort
    /// Replicates and never votes; implies that it never founds.
    public var nonVoter: Bool
    /// Joins again when it was removed.
    public var rejoins: Bool
    public var timing: BootstrapTiming

    public init(
        mode: Mode, clusterName: String, name: String, address: HostPort, nonVoter: Bool = false, rejoins: Bool = false,
        timing: BootstrapTiming = BootstrapTiming()
    ) {
        self.rejoins = rejoins
        self.mode = mode
        self.clusterName = clusterName
        self.name = name
        self.address = address
        self.nonVoter = nonVoter
        self.timing = timing
    }

    /// How many nodes must agree to found; nil when this node never founds.
    public var expect: Int? {
        if nonVoter { return nil }
        switch mode {
        case .single: return 1
        case .expect(let count): return count
        case .claim, .joinOnly: return nil
        }
    }
}

/// The times of the bootstrap. The defaults suit a LAN and do no harm on a WAN.
public struct BootstrapTiming: Sendable, Equatable {
    /// Between two rounds of hellos a time drawn from this range passes.
    public var round: ClosedRange<Duration> = .milliseconds(100)...(.milliseconds(250))
    /// The least time between two rounds, when news make the next one come early.
    public var earlyRound: Duration = .milliseconds(15)
    /// Between two look-ups.
    public var lookUp: Duration = .milliseconds(500)
    /// A node counts as heard for so long after its last answer.
    public var hearingWindow: Duration = .milliseconds(1000)
    /// How long a hello or an abort may take.
    public var helloTimeout: Duration = .milliseconds(800)
    /// How long the founder waits for all to agree.
    public var proposalTimeout: Duration = .milliseconds(1000)
    /// Between two attempts at the same member: to propose, to invite, to admit, to join.
    public var retry: Duration = .milliseconds(100)
    /// I3: before it proposes, a node waits so long for each address that it has asked for the first time and that has
    /// neither answered nor failed: a formed cluster may be behind it.
    public var joinFirst: Duration = .milliseconds(100)
    /// A ready node waits this long for each node with a smaller id in its founding set: usually that one is ready in a
    /// moment too, and proposals that meet cost more than this.
    public var precedence: Duration = .milliseconds(40)
    /// After a proposal came to nothing, a time from this range passes before the next one; doubled up to eight times it.
    public var backOff: ClosedRange<Duration> = .milliseconds(40)...(.milliseconds(160))
    /// How long a member that has agreed does without a sign of the founder before it withdraws.
    public var withdrawAfter: Duration = .seconds(3)
    /// How long the founder waits for a majority to accept before it gives its cluster up.
    public var dissolveAfter: Duration = .seconds(5)
    /// How long an invitation may take: the other starts its dqlite node meanwhile.
    public var inviteTimeout: Duration = .seconds(3)
    /// Between two questions for the right to found.
    public var claimRetry: Duration = .milliseconds(1000)
    /// How much of a claim must be left for a cluster to be formed under it: the commit takes a few milliseconds.
    public var claimMargin: Duration = .milliseconds(2000)
    /// How long a join may take: the leader brings the new member up to date meanwhile.
    public var joinTimeout: Duration = .seconds(5)

    public init() {}
}

/// Names one sent request until its answer; never used twice in the life of a `BootstrapCore`.
public typealias PeerRequestID = UInt64

/// Names one received request until it is answered; chosen by the shell.
public typealias PeerReplyToken = UInt64

/// What happened. The shell reports everything here, in the order in which it happened.
public enum BootstrapEvent: Sendable, Equatable {
    /// The process is up. Exactly once, before all else.
    case start
    /// The time that `wake` asked for has come; also allowed at any other time.
    case tick
    /// What `lookUp` found.
    case discovered([HostPort])
    /// `lookUp` failed; what was found before goes on to be used.
    case lookUpFailed(String)
    /// `claimFounding` succeeded: the right to found is this node's until then.
    case claimHeld(ClusterID?, until: BootInstant)
    /// `claimFounding`: the right is that of the node at this address.
    case claimTaken(by: HostPort)
    /// `claimFounding` failed; it is tried again.
    case claimFailed(reason: String)
    /// The answer to a sent request. `from` is the address that it was sent to.
    case reply(PeerRequestID, from: HostPort, PeerReply)
    /// No answer to a sent request within its time, or no connection.
    case failed(PeerRequestID, from: HostPort, reason: String)
    /// A request from another node; each gets exactly one `respond`, perhaps in a later step. Join requests come here only
    /// while this node is not in a formed cluster; afterwards the shell answers them.
    case request(PeerRequest, token: PeerReplyToken)
    /// `startNode` is done.
    case nodeStarted(dqliteID: UInt64)
    /// `createDatabase` is done: schema, cluster id and agreement are committed.
    case databaseCreated(ClusterID)
    /// `createDatabase` failed; it is tried again.
    case databaseFailed(ClusterID, reason: String)
    /// `admit` is done: the member has its role in the committed configuration.
    case admitted(NodeID, ClusterID)
    /// `admit` failed; it is tried again.
    case admitFailed(NodeID, ClusterID, reason: String)
    /// Our dqlite node leads, and the database says that the cluster is not formed. `members` are the dqlite ids that are
    /// voters or stand-bys in its configuration. Reported when it becomes true.
    case leading(ClusterID, Agreement, members: [UInt64])
    /// Our dqlite node leads no longer.
    case notLeading
    /// `commitFormed` is done.
    case formedCommitted(ClusterID)
    /// `commitFormed` failed; it is tried again.
    case formedFailed(ClusterID, reason: String)
    /// The database says that the cluster is formed, and its configuration has this node: read while leading, say.
    case becameFormed(ClusterID)
    /// Where the leader of our cluster is, to tell the others.
    case leaderKnown(HostPort?)
    /// The cluster says that this node, under this dqlite id, is no member any more.
    case removed(ClusterID, RemovedNode)
}

/// What the shell has to do.
///
/// Begun strictly in this order. `persist`, `startNode`, `stopNode` and `stopNodeAndWipeRaft` are complete before the next one is
/// begun; when one of them fails the daemon must stop, because nothing that follows may be done. `lookUp`, `send`,
/// `createDatabase`, `admit` and `commitFormed` go on by themselves and report an event; their failures are events too.
public enum BootstrapDirective: Sendable, Equatable {
    /// Write `node.json`; on disk before anything else is done.
    case persist(NodeRecord)
    /// Ask a peer. Report `reply` or `failed` with the id, at the latest after `within`.
    case send(PeerRequest, to: HostPort, id: PeerRequestID, within: Duration)
    /// Answer a peer.
    case respond(PeerReply, token: PeerReplyToken)
    /// Ask discovery. Report `discovered` or `lookUpFailed`.
    case lookUp
    /// Ask the store for the right to found, or to go on founding this cluster. Report `claimHeld`, `claimTaken` or
    /// `claimFailed`.
    case claimFounding(ClusterID?)
    /// Start our dqlite node under this id (after `DataDirectory.prepareRaft`). Report `nodeStarted`. No-op but for the report
    /// when it already runs under this id. Only with `founding` may the id be the bootstrap id on an empty directory.
    case startNode(dqliteID: UInt64, founding: Bool)
    /// Once our node leads its cluster of one: create the schema, the cluster id and the agreement in the database.
    /// Idempotent. Report `databaseCreated` or `databaseFailed`.
    case createDatabase(ClusterID, Agreement)
    /// As the leader: probe the member, add it, assign the role. Idempotent. Report `admitted` or `admitFailed`.
    case admit(FoundingMember, MemberRole, ClusterID)
    /// As the leader: commit that the cluster is formed, unless that time is over. Idempotent. Report `formedCommitted` or
    /// `formedFailed`.
    case commitFormed(ClusterID, before: BootInstant?)
    /// Stop our dqlite node if it runs; this node belongs to no cluster any more, and holds nothing for one.
    case stopNode
    /// Stop our dqlite node if it runs, and empty the raft directory.
    case stopNodeAndWipeRaft
    /// This node belongs to that cluster now. May be said again.
    case becameMember(ClusterID, formed: Bool)
    /// Why there is no formed cluster yet, for status and log; said when it changes. nil: nothing is waited for.
    case waiting(BootstrapWaiting?)
    /// For the log, once for each different warning.
    case warn(BootstrapWarning)
    /// Send `tick` at this time; replaces the time asked for before.
    case wake(at: BootInstant)
}

/// A node as people know it.
public struct NodeLabel: Sendable, Equatable, CustomStringConvertible {
    public var name: String
    public var nodeID: NodeID
    public var address: HostPort

    public init(name: String, nodeID: NodeID, address: HostPort) {
        self.name = name
        self.nodeID = nodeID
        self.address = address
    }

    public var description: String { "\(name) (\(address), \(nodeID.short))" }
}
