public import Platform

/// What `GET /v1/nodes` answers: who belongs to the cluster, and what it can bear.
public struct NodesReport: Hashable, Sendable, Codable {
    /// In the order of their ids.
    public var nodes: [ClusterMember]
    /// How many voters may fail at once, now, without the cluster standing still; left out while that is not known, and when
    /// it stands still already.
    public var failuresSurvived: Int?
    /// That number, for a person, with what to do about it.
    public var summary: String
    /// The last ones that were removed, have left or were reaped, oldest first.
    public var removed: [RemovedNodeReport]

    public init(
        nodes: [ClusterMember] = [], failuresSurvived: Int? = nil, summary: String = "",
        removed: [RemovedNodeReport] = []
    ) {
        self.nodes = nodes
        self.failuresSurvived = failuresSurvived
        self.summary = summary
        self.removed = removed
    }

    private enum CodingKeys: String, CodingKey {
        case nodes
        case failuresSurvived = "failures_survived"
        case summary
        case removed
    }
}

/// A node that is out of the cluster; also the answer to its removal.
public struct RemovedNodeReport: Hashable, Sendable, Codable {
    /// The dqlite id that it had.
    public var id: UInt64
    public var address: String
    /// Its UUID; left out when it was not known.
    public var nodeID: String?
    /// Its name for people; left out when it was not known.
    public var name: String?
    /// "removed" by an operator, "left" by itself, or "reaped"; or a word of later versions.
    public var reason: String
    public var at: WallTime

    public init(id: UInt64, address: String, nodeID: String?, name: String?, reason: String, at: WallTime) {
        self.id = id
        self.address = address
        self.nodeID = nodeID
        self.name = name
        self.reason = reason
        self.at = at
    }

    private enum CodingKeys: String, CodingKey {
        case id
        case address
        case nodeID = "node_id"
        case name
        case reason
        case at = "removed_at"
    }
}
