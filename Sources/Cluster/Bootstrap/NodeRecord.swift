import Platform

/// What a node must not forget: who it is, and what it has promised. Stands in `<data-dir>/node.json`.
public struct NodeRecord: Codable, Sendable, Equatable {
    /// The version of the format that this program writes.
    public static let currentVersion = 1

    public var version: Int
    public var nodeID: NodeID
    /// The id that our dqlite node has, or will have.
    public var dqliteID: UInt64
    /// Counted up whenever the node durably leaves an agreement, so that nothing said before can bind it again.
    public var generation: UInt64
    /// The address last advertised to the others.
    public var address: HostPort
    public var clusterName: String
    /// The raft directory holds data of a cluster that was given up; it is wiped before anything else is done.
    public var wipePending: Bool
    public var state: State
    /// The cluster that this one was recovered from (`Recovery`); nil: it was founded or joined.
    public var recovered: Former?

    /// A cluster before a recovery.
    public struct Former: Codable, Sendable, Equatable {
        public var clusterID: ClusterID
        /// The addresses of its other members.
        public var members: [String]
    }

    /// How far this node is on its way into a cluster.
    public enum State: Sendable, Equatable {
        /// Bound to nothing.
        case fresh
        /// Promised: no other agreement until this one is known to be dead. The founder's own promise looks the same.
        case agreed(Agreement)
        /// Will never join that cluster while it is unformed, and not be bound anew before it is known that it never will
        /// be formed.
        case withdrawn(Agreement)
        /// The founder: from the moment all have agreed until the cluster is formed.
        case founding(Agreement, ClusterID, FoundingPhase)
        /// Member of an unformed cluster (with its agreement), or on the way into a formed one (without).
        /// `started` is set once our dqlite node has run for it: since then it may have been added.
        case joining(ClusterID, Agreement?, started: Bool)
        /// Member of a formed cluster.
        case formed(ClusterID)
        /// Was a member of that cluster, and an operator removed it: it takes part in nothing until one wants it back.
        case removed(ClusterID, RemovedNode)
    }

    /// How far the founder is.
    public enum FoundingPhase: String, Codable, Sendable, Equatable {
        /// The database may or may not be there.
        case creating
        /// The database is there with the agreement in it; nobody was ever added to the cluster.
        case inviting
        /// Others may have been added: there is no way back.
        case admitting
    }

    public init(
        nodeID: NodeID, dqliteID: UInt64, generation: UInt64 = 0, address: HostPort, clusterName: String,
        wipePending: Bool = false, state: State = .fresh
    ) {
        self.version = Self.currentVersion
        self.nodeID = nodeID
        self.dqliteID = dqliteID
        self.generation = generation
        self.address = address
        self.clusterName = clusterName
        self.wipePending = wipePending
        self.state = state
    }

    /// The agreement that binds this node or that it has withdrawn from.
    public var agreement: Agreement? {
        switch state {
        case .agreed(let agreement), .withdrawn(let agreement), .founding(let agreement, _, _): agreement
        case .joining(_, let agreement, _): agreement
        case .fresh, .formed, .removed: nil
        }
    }

    /// The cluster that this node belongs to or is about to.
    public var clusterID: ClusterID? {
        switch state {
        case .founding(_, let id, _), .joining(let id, _, _), .formed(let id), .removed(let id, _): id
        case .fresh, .agreed, .withdrawn: nil
        }
    }
}

extension NodeRecord.State: Codable {
    private enum Key: String, CodingKey {
        case name
        case agreement
        case clusterID
        case phase
        case started
        case removal
    }

    private enum Name: String, Codable {
        case fresh
        case agreed
        case withdrawn
        case founding
        case joining
        case formed
        case removed
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        switch try container.decode(Name.self, forKey: .name) {
        case .fresh:
            self = .fresh
        case .agreed:
            self = .agreed(try container.decode(Agreement.self, forKey: .agreement))
        case .withdrawn:
            self = .withdrawn(try container.decode(Agreement.self, forKey: .agreement))
        case .founding:
            self = .founding(
                try container.decode(Agreement.self, forKey: .agreement),
                try container.decode(ClusterID.self, forKey: .clusterID),
                try container.decode(NodeRecord.FoundingPhase.self, forKey: .phase))
        case .joining:
            self = .joining(
                try container.decode(ClusterID.self, forKey: .clusterID),
                try container.decodeIfPresent(Agreement.self, forKey: .agreement),
                started: try container.decode(Bool.self, forKey: .started))
        case .formed:
            self = .formed(try container.decode(ClusterID.self, forKey: .clusterID))
        case .removed:
            self = .removed(
                try container.decode(ClusterID.self, forKey: .clusterID),
                try container.decode(RemovedNode.self, forKey: .removal))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .fresh:
            try container.encode(Name.fresh, forKey: .name)
        case .agreed(let agreement):
            try container.encode(Name.agreed, forKey: .name)
            try container.encode(agreement, forKey: .agreement)
        case .withdrawn(let agreement):
            try container.encode(Name.withdrawn, forKey: .name)
            try container.encode(agreement, forKey: .agreement)
        case .founding(let agreement, let clusterID, let phase):
            try container.encode(Name.founding, forKey: .name)
            try container.encode(agreement, forKey: .agreement)
            try container.encode(clusterID, forKey: .clusterID)
            try container.encode(phase, forKey: .phase)
        case .joining(let clusterID, let agreement, let started):
            try container.encode(Name.joining, forKey: .name)
            try container.encode(clusterID, forKey: .clusterID)
            try container.encodeIfPresent(agreement, forKey: .agreement)
            try container.encode(started, forKey: .started)
        case .formed(let clusterID):
            try container.encode(Name.formed, forKey: .name)
            try container.encode(clusterID, forKey: .clusterID)
        case .removed(let clusterID, let removal):
            try container.encode(Name.removed, forKey: .name)
            try container.encode(clusterID, forKey: .clusterID)
            try container.encode(removal, forKey: .removal)
        }
    }
}
