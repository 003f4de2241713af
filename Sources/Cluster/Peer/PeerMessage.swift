import Platform

/// What one daemon asks another over the peer API. In JSON: one object with one key, the name of the case.
public indirect enum PeerRequest: Sendable, Equatable {
    /// Who are you, and how far? Carries the asker's own answer to that.
    case hello(NodeView)
    /// Found a cluster with us on these terms.
    case propose(Agreement)
    /// The founder has given up this proposal for ever.
    case abort(ProposalID)
    /// All have agreed and the database exists: start your dqlite node, you will be added.
    case invite(Agreement, ClusterID)
    /// Add me to your formed cluster. For the leader; answered when done.
    case join(JoinRequest)
}

/// The answer to a `PeerRequest`.
public indirect enum PeerReply: Sendable, Equatable {
    /// To hello, and to abort.
    case view(NodeView)
    /// To propose: the agreement is on disk.
    case agreed(ProposalID)
    /// To invite: our dqlite node runs and waits to be added.
    case accepted(ClusterID)
    /// To join: done and committed.
    case joined(ClusterID, MemberRole)
    /// Ask the leader; nil when none is known at the moment.
    case redirect(leader: HostPort?)
    /// No, and why.
    case refused(Refusal)
    /// It could not be done; trying again may help.
    case error(String)
}

/// Everything that a node tells about itself in a hello and in the answer to one.
public struct NodeView: Codable, Sendable, Equatable {
    /// The most entries that `heard` and `discovered` may have.
    public static let maximumListed = 64

    /// How far the node is, without the particulars of `NodeRecord.State`.
    public enum Phase: String, Codable, Sendable, Equatable {
        case fresh
        case agreed
        case withdrawn
        case founding
        case joining
        case formed
    }

    /// A node that answered within the last `BootstrapTiming.hearingWindow`, and where.
    public struct Heard: Codable, Sendable, Equatable, Hashable {
        public var nodeID: NodeID
        public var address: HostPort

        public init(nodeID: NodeID, address: HostPort) {
            self.nodeID = nodeID
            self.address = address
        }
    }

    // Named here because decoding, which bounds the lists, stands with the other codings.
    enum CodingKeys: String, CodingKey {
        case nodeID, name, dqliteID, generation, address, clusterName, expect, nonVoter, phase, clusterID, proposal
        case founder, ready, heard, discovered, leader, schema
    }

    public var nodeID: NodeID
    /// What people call the node: its host name unless the operator chose another.
    public var name: String
    public var dqliteID: UInt64
    public var generation: UInt64
    /// Where its cluster port can be reached.
    public var address: HostPort
    public var clusterName: String
    /// nil: it never founds a cluster (join only, non-voter).
    public var expect: Int?
    public var nonVoter: Bool
    public var phase: Phase
    public var clusterID: ClusterID?
    /// The agreement that binds it, and that agreement's founder.
    public var proposal: ProposalID?
    public var founder: NodeID?
    /// It hears a founding set itself, so that it would propose one.
    public var ready: Bool
    /// Sorted by node id.
    public var heard: [Heard]
    /// What its own discovery said last.
    public var discovered: [HostPort]
    /// Where the leader of its formed cluster was last seen.
    public var leader: HostPort?
    /// Up to which version it knows the tables of the database; see `Schema.version`.
    public var schema: Int

    public init(
        nodeID: NodeID, name: String, dqliteID: UInt64,
        generation: UInt64, address: HostPort, clusterName: String, expect: Int?, nonVoter: Bool, phase: Phase,
        clusterID: ClusterID? = nil, proposal: ProposalID? = nil, founder: NodeID? = nil, ready: Bool = false,
        heard: [Heard] = [], discovered: [HostPort] = [], leader: HostPort? = nil, schema: Int? = nil
    ) {
        self.nodeID = nodeID
        self.name = name
        self.dqliteID = dqliteID
        self.generation = generation
        self.address = address
        self.clusterName = clusterName
        self.expect = expect
        self.nonVoter = nonVoter
        self.phase = phase
        self.clusterID = clusterID
        self.proposal = proposal
        self.founder = founder
        self.ready = ready
        self.heard = heard
        self.discovered = discovered
        self.leader = leader
        self.schema = schema ?? Schema.version
    }
}

/// What a node tells the leader of a formed cluster that it wants to belong to.
public struct JoinRequest: Codable, Sendable, Equatable {
    public var nodeID: NodeID
    public var name: String
    public var dqliteID: UInt64
    public var address: HostPort
    public var clusterName: String
    public var clusterID: ClusterID
    public var nonVoter: Bool
    /// It is a member already, and asks for another address.
    public var isReturning: Bool?

    // Named here because decoding, which makes the name sound, stands with the other codings.
    enum CodingKeys: String, CodingKey {
        case nodeID, name, dqliteID, address, clusterName, clusterID, nonVoter, isReturning
    }

    public init(
        nodeID: NodeID, name: String, dqliteID: UInt64, address: HostPort, clusterName: String, clusterID: ClusterID,
        nonVoter: Bool, isReturning: Bool? = nil
    ) {
        self.nodeID = nodeID
        self.name = name
        self.dqliteID = dqliteID
        self.address = address
        self.clusterName = clusterName
        self.clusterID = clusterID
        self.nonVoter = nonVoter
        self.isReturning = isReturning
    }
}

/// Why a request was refused: a code for the program, a text for people, and how the answerer sees itself.
public struct Refusal: Codable, Sendable, Equatable {
    public enum Code: String, Codable, Sendable, Equatable {
        /// The cluster names differ.
        case clusterName
        /// The values of `--bootstrap-expect` differ.
        case expect
        /// The answerer never founds a cluster.
        case neverFounds
        /// It has promised itself to another agreement that may still come to something.
        case promised
        /// It belongs to a cluster.
        case hasState
        /// The proposal describes the answerer as it is not, or not any more.
        case stale
        /// The founding set is too small for what the answerer knows, or unsound.
        case foundingSet
        /// It is not bound to the agreement of this invitation.
        case notAgreed
        /// The cluster is not formed, so that nobody can join it yet.
        case notFormed
        /// The request names another cluster.
        case otherCluster
        /// The cluster has removed the asker.
        case removed
        /// The asker's address is a virtual one of the cluster.
        case virtualAddress
    }

    public var code: Code
    public var text: String
    public var view: NodeView?
    /// With `.removed`: when and why.
    public var removal: RemovedNode?

    public init(_ code: Code, _ text: String, view: NodeView? = nil, removal: RemovedNode? = nil) {
        self.removal = removal
        self.code = code
        self.text = text
        self.view = view
    }
}
