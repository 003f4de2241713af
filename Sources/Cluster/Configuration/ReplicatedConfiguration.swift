import Dqlite

/// The most virtual addresses that a configuration may have in this version.
public let mostAddresses = 64

/// What the cluster agrees on besides its members: committed through raft, the same for every node.
public struct ReplicatedConfiguration: Codable, Sendable, Equatable {
    /// The virtual addresses as `address/prefix-length`, in the order in which they were set.
    public var addresses: [String]
    /// What is known of the members beyond raft's own list.
    public var nodes: [NodeEntry]
    /// Nodes that are out, the last ones; nil from a version that keeps none.
    public var removed: [RemovedNode]?
    /// Members whose address is being changed; nil from a version that keeps none.
    public var moving: [MovingNode]?

    public init(
        addresses: [String] = [], nodes: [NodeEntry] = [], removed: [RemovedNode]? = nil, moving: [MovingNode]? = nil
    ) {
        self.addresses = addresses
        self.nodes = nodes
        self.removed = removed
        self.moving = moving
    }

    /// A member, as it introduced itself when it joined.
    public struct NodeEntry: Codable, Sendable, Equatable {
        public var dqliteID: DqliteNodeID
        public var nodeID: String
        public var name: String
        /// What its operator has attached to it; nil: nothing, or not told.
        public var labels: [String: String]?
        /// Started with `--non-voter`; nil: not told.
        public var isNonVoter: Bool?
        /// `--failure-domain`; nil: none, or not told.
        public var failureDomain: String?

        public init(
            dqliteID: DqliteNodeID, nodeID: String, name: String, isNonVoter: Bool? = nil, failureDomain: String? = nil
        ) {
            self.dqliteID = dqliteID
            self.nodeID = nodeID
            self.name = name
            self.isNonVoter = isNonVoter
            self.failureDomain = failureDomain
        }
    }
}

/// A change of the replicated configuration. Each but those with a condition is idempotent, because an answer can be lost
/// after the commit.
public enum ConfigurationChange: Codable, Sendable, Equatable {
    /// Replaces the virtual addresses.
    case setAddresses([String])
    /// Sets them only when there are none: `--vip` of the nodes that form the cluster.
    case setAddressesIfNone([String])
    /// Replaces them if they are one of these lists, so that nobody overwrites what he has not seen.
    case setAddressesIf(present: [[String]], [String])
    /// Records how a member introduced itself.
    case describeNode(ReplicatedConfiguration.NodeEntry)
    /// Replaces the labels of a member.
    case labelNode(DqliteNodeID, [String: String])
    /// Forgets a member that is no longer in raft's configuration.
    case forgetNode(DqliteNodeID)
    /// Keeps for later that a node is out, and why. It counts while the node is no member. A change of its address is given up.
    case noteRemoval(RemovedNode)
    /// Forgets that a node was out.
    case forgetRemoval(DqliteNodeID)
    /// Keeps, until it is done, that the address of a member is being changed.
    case noteMove(MovingNode)
    /// The change of address is done, or given up.
    case forgetMove(DqliteNodeID)

    /// Whether it does the same when it is done twice, whatever others have done between.
    var isIdempotent: Bool {
        if case .setAddressesIf = self { false } else { true }
    }
}

/// The configuration as a node came to know it.
public struct ConfigurationUpdate: Sendable, Equatable {
    public var configuration: ReplicatedConfiguration
    /// The term as whose leader this node has read it; nil when another node told it.
    public var term: UInt64?
}
