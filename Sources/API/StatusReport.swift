public import Platform

/// What `GET /status` answers: this node's view of the cluster and of the virtual address.
///
/// The first four fields are those of the original dqlite-vip and keep its names and types; ours stand beside them.
public struct StatusReport: Hashable, Sendable, Codable {
    /// The dqlite id of this node; 0 before it belongs to a cluster.
    public var id: UInt64
    /// The dqlite id of the leader; 0 when none is known.
    public var leaderID: UInt64
    public var isLeader: Bool
    /// In the order of their ids.
    public var clusterMembers: [ClusterMember]

    /// The UUID of this node, which stays the same whatever its address.
    public var nodeID: String
    /// The node's name for people, usually that of the host.
    public var name: String
    /// `IP:port` of the cluster port as peers reach it; empty while it is not known.
    public var address: String
    /// The UUID of the cluster; empty before this node belongs to one.
    public var clusterID: String
    public var clusterName: String
    public var state: NodeState
    /// For a person: what has to happen before the node is ready. Empty when it is.
    public var waitingFor: String
    /// The raft term as this node knows it; 0 when it knows none.
    public var term: UInt64
    /// `address/prefix length` of the first virtual address; empty while none is set.
    public var vip: String
    /// Whether this node has a virtual address on its interface.
    public var holdsVIP: Bool
    /// The virtual addresses as this node sees them.
    public var addresses: [AddressReport]
    public var discovery: DiscoveryReport
    /// The version of the daemon.
    public var version: String
    public var uptimeSeconds: Int64
    /// What an operator should look at, each a sentence; empty when all is well.
    public var warnings: [String]
    /// Left out by daemons that do not know it.
    public var failover: FailoverReport?
    /// How many voters may fail at once, now; left out while that is not known, or there is no quorum.
    public var failuresSurvived: Int?
    /// What the file system of the data directory has left; left out while it is not known.
    public var dataFreeBytes: UInt64?

    public init(
        id: UInt64 = 0, leaderID: UInt64 = 0, isLeader: Bool = false, clusterMembers: [ClusterMember] = [],
        nodeID: String, name: String, address: String, clusterID: String = "", clusterName: String,
        state: NodeState, waitingFor: String = "", term: UInt64 = 0, vip: String = "", holdsVIP: Bool = false,
        addresses: [AddressReport] = [], discovery: DiscoveryReport, version: String, uptimeSeconds: Int64,
        warnings: [String] = [], failover: FailoverReport? = nil, failuresSurvived: Int? = nil,
        dataFreeBytes: UInt64? = nil
    ) {
        self.failuresSurvived = failuresSurvived
        self.id = id
        self.leaderID = leaderID
        self.isLeader = isLeader
        self.clusterMembers = clusterMembers
        self.nodeID = nodeID
        self.name = name
        self.address = address
        self.clusterID = clusterID
        self.clusterName = clusterName
        self.state = state
        self.waitingFor = waitingFor
        self.term = term
        self.vip = vip
        self.holdsVIP = holdsVIP
        self.addresses = addresses
        self.discovery = discovery
        self.version = version
        self.uptimeSeconds = uptimeSeconds
        self.warnings = warnings
        self.failover = failover
        self.dataFreeBytes = dataFreeBytes
    }

    private enum CodingKeys: String, CodingKey {
        case id
        case leaderID = "leader_id"
        case isLeader = "is_leader"
        case clusterMembers = "cluster_members"
        case nodeID = "node_id"
        case name
        case address
        case clusterID = "cluster_id"
        case clusterName = "cluster_name"
        case state
        case waitingFor = "waiting_for"
        case term
        case vip
        case holdsVIP = "holds_vip"
        case addresses
        case discovery
        case version
        case uptimeSeconds = "uptime_seconds"
        case warnings
        case failover
        case failuresSurvived = "failures_survived"
        case dataFreeBytes = "data_free_bytes"
    }
}

/// One member of the cluster, of whatever role.
public struct ClusterMember: Hashable, Sendable, Codable {
    /// The dqlite id.
    public var id: UInt64
    /// `IP:port` of its cluster port, where it is now.
    public var address: String
    /// The address that raft's configuration still has for it; left out when that is the same.
    public var configuredAddress: String?
    public var role: MemberRole
    /// Its UUID; left out while it is not known.
    public var nodeID: String?
    /// Its name for people; left out while it is not known.
    public var name: String?
    /// What its operator has attached to it; left out when that is nothing.
    public var labels: [String: String]?
    /// Whether it answers the leader; left out while the leader's word is not known.
    public var isReachable: Bool?
    /// Since when it does not, by the leader's clock.
    public var unreachableSince: WallTime?
    /// Started with `--non-voter`; left out when it was not.
    public var isNonVoter: Bool?
    /// `--failure-domain`; left out when there is none.
    public var failureDomain: String?

    public init(
        id: UInt64, address: String, configuredAddress: String? = nil, role: MemberRole, nodeID: String? = nil,
        name: String? = nil, labels: [String: String]? = nil, isReachable: Bool? = nil,
        unreachableSince: WallTime? = nil, isNonVoter: Bool? = nil, failureDomain: String? = nil
    ) {
        self.isReachable = isReachable
        self.unreachableSince = unreachableSince
        self.isNonVoter = isNonVoter
        self.failureDomain = failureDomain
        self.id = id
        self.address = address
        self.configuredAddress = configuredAddress
        self.role = role
        self.nodeID = nodeID
        self.name = name
        self.labels = labels
    }

    private enum CodingKeys: String, CodingKey {
        case id
        case address
        case configuredAddress = "configured_address"
        case role
        case nodeID = "node_id"
        case name
        case labels
        case isReachable = "reachable"
        case unreachableSince = "unreachable_since"
        case isNonVoter = "non_voter"
        case failureDomain = "failure_domain"
    }
}

/// A role in dqlite's words. Not an enum: a client must be able to show the answer of a newer daemon.
public struct MemberRole: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    /// Votes and holds the data.
    public static let voter = MemberRole(rawValue: "voter")
    /// Holds the data and does not vote.
    public static let standBy = MemberRole(rawValue: "stand-by")
    /// Neither votes nor holds the data.
    public static let spare = MemberRole(rawValue: "spare")
}

/// How far this node is on its way into a cluster. Not an enum, for the reason given at `MemberRole`.
public struct NodeState: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    /// The process has not got as far as the network.
    public static let starting = NodeState(rawValue: "starting")
    /// Looking for enough other nodes to found a cluster with.
    public static let forming = NodeState(rawValue: "forming")
    /// Asking a cluster to be added.
    public static let joining = NodeState(rawValue: "joining")
    /// A member of a formed cluster; whether that has a leader at the moment, `leader_id` tells.
    public static let formed = NodeState(rawValue: "formed")
    /// Was removed from its cluster, and stays out until it is started with --rejoin.
    public static let removed = NodeState(rawValue: "removed")
    /// Handing over and ending.
    public static let stopping = NodeState(rawValue: "stopping")
}

/// One virtual address as this node sees it.
public struct AddressReport: Hashable, Sendable, Codable {
    /// `address/prefix length`.
    public var address: String
    /// "held" or "not held", or a state of later versions.
    public var state: String
    /// Since when; left out while unknown.
    public var since: WallTime?
    /// For a person: the interface, the reason, the last error.
    public var detail: String

    public init(address: String, state: String, since: WallTime? = nil, detail: String = "") {
        self.address = address
        self.state = state
        self.since = since
        self.detail = detail
    }
}

/// How this node looks for others.
public struct DiscoveryReport: Hashable, Sendable, Codable {
    /// "static", "dns", "static+dns", ..., or "none" when there is nothing to ask.
    public var mode: String
    /// `--disco-key`; null when the mode makes no use of it.
    public var key: String?
    /// When a look-up last gave an answer; null before the first.
    public var lastContact: WallTime?
    public var lastAddresses: [String]
    /// What went wrong in the last look-up; null when nothing did.
    public var lastError: String?
    /// Whether others can find this node there; null when the mode has nothing to be found in.
    public var isRegistered: Bool?
    /// Why what this node tells of itself is not, or not all, to be found there; null when it is.
    public var announceError: String?

    public init(
        mode: String, key: String? = nil, lastContact: WallTime? = nil, lastAddresses: [String] = [],
        lastError: String? = nil, isRegistered: Bool? = nil, announceError: String? = nil
    ) {
        self.mode = mode
        self.key = key
        self.lastContact = lastContact
        self.lastAddresses = lastAddresses
        self.lastError = lastError
        self.isRegistered = isRegistered
        self.announceError = announceError
    }

    private enum CodingKeys: String, CodingKey {
        case mode
        case key
        case lastContact = "last_contact"
        case lastAddresses = "last_addresses"
        case lastError = "last_error"
        case isRegistered = "registered"
        case announceError = "announce_error"
    }

    // Written out for the nulls: who reads a status finds the same fields in it each time.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(mode, forKey: .mode)
        try container.encode(key, forKey: .key)
        try container.encode(lastContact, forKey: .lastContact)
        try container.encode(lastAddresses, forKey: .lastAddresses)
        try container.encode(lastError, forKey: .lastError)
        try container.encode(isRegistered, forKey: .isRegistered)
        try container.encode(announceError, forKey: .announceError)
    }
}

/// What `GET /v1/vip` answers and `PUT /v1/vip` takes: `{"addresses":["192.0.2.10/24","2001:db8::10/64"]}`, with none for none.
public struct AddressesDocument: Hashable, Sendable, Codable {
    public var addresses: [String]
    public init(addresses: [String]) { self.addresses = addresses }
}

/// What `GET /vip` answers and `PUT /vip` takes: `{"vip":"1.2.3.5/24"}`, with "" for none.
public struct VIPDocument: Hashable, Sendable, Codable {
    public var vip: String
    public init(vip: String) { self.vip = vip }
}

/// The answer to a change, and to anything that went wrong: `{"message":"…"}`.
public struct MessageDocument: Hashable, Sendable, Codable {
    public var message: String
    public init(message: String) { self.message = message }
}

/// What `GET /healthz` answers: whether the process does its work. A supervisor restarts one that does not.
public struct HealthReport: Hashable, Sendable, Codable {
    public var isAlive: Bool
    /// Why not, each a sentence; empty when it is alive.
    public var reasons: [String]

    public init(isAlive: Bool, reasons: [String] = []) {
        self.isAlive = isAlive
        self.reasons = reasons
    }

    private enum CodingKeys: String, CodingKey {
        case isAlive = "alive"
        case reasons
    }
}

/// What `GET /readyz` answers: whether the node does its part in a cluster that has a leader.
public struct ReadinessReport: Hashable, Sendable, Codable {
    public var isReady: Bool
    /// Why not, each a sentence; empty when it is ready.
    public var reasons: [String]

    public init(isReady: Bool, reasons: [String] = []) {
        self.isReady = isReady
        self.reasons = reasons
    }

    private enum CodingKeys: String, CodingKey {
        case isReady = "ready"
        case reasons
    }
}

/// What `POST /v1/failover` takes.
public struct FailoverDocument: Codable, Hashable, Sendable {
    /// Id, node id, name or address of the successor; nil: the leader chooses.
    public var to: String?

    public init(to: String? = nil) { self.to = to }
}

/// What became of a planned hand-over.
public struct HandOverReport: Codable, Hashable, Sendable {
    /// "OK", as every answer of success.
    public var message = "OK"
    public var leaderID: UInt64
    public var leaderAddress: String
    /// Whether the new leader had announced the addresses before the old one let go.
    public var isSeamless: Bool
    public var tookMilliseconds: Int64

    public init(leaderID: UInt64, leaderAddress: String, isSeamless: Bool, tookMilliseconds: Int64) {
        self.leaderID = leaderID
        self.leaderAddress = leaderAddress
        self.isSeamless = isSeamless
        self.tookMilliseconds = tookMilliseconds
    }

    enum CodingKeys: String, CodingKey {
        case message
        case leaderID = "leader_id"
        case leaderAddress = "leader_address"
        case isSeamless = "seamless"
        case tookMilliseconds = "took_ms"
    }
}
