import FoundationEssentials
import Platform

/// What GET /status answers; the seed's fields, and ours as far as tests look at them.
public struct NodeStatus: Decodable, Sendable {
    public struct Member: Decodable, Hashable, Sendable {
        public var id: UInt64
        /// The one of raft's configuration, also when the member is elsewhere.
        public var address: String
        /// "voter", "stand-by" or "spare".
        public var role: String

        enum CodingKeys: String, CodingKey {
            case id, address, role
            case configuredAddress = "configured_address"
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            id = try container.decode(UInt64.self, forKey: .id)
            address =
                try container.decodeIfPresent(String.self, forKey: .configuredAddress)
                ?? container.decode(String.self, forKey: .address)
            role = try container.decode(String.self, forKey: .role)
        }
    }

    public var id: UInt64
    /// 0 while no leader is known.
    public var leaderID: UInt64
    public var isLeader: Bool
    public var members: [Member]
    public var nodeID: String?
    public var clusterID: String?
    /// "formed" once the cluster may hold a VIP.
    public var state: String?
    public var term: UInt64?
    /// "" while none is set.
    public var vip: String?
    public var holdsVIP: Bool?
    /// "" when the node is ready.
    public var waitingFor: String?
    public var warnings: [String]
    public var discovery: Discovery?

    public struct Discovery: Decodable, Equatable, Sendable {
        public var mode: String
        /// RFC 3339; nil before the first answer.
        public var lastContact: String?
        public var lastAddresses: [String]
        public var lastError: String?
        /// Whether the node can be found in the store; nil where the mode has none.
        public var isRegistered: Bool?
        /// Why what the node announces is not, or not all, in the store.
        public var announceError: String?

        enum CodingKeys: String, CodingKey {
            case mode
            case lastContact = "last_contact"
            case lastAddresses = "last_addresses"
            case lastError = "last_error"
            case isRegistered = "registered"
            case announceError = "announce_error"
        }
    }

    enum CodingKeys: String, CodingKey {
        case id
        case leaderID = "leader_id"
        case isLeader = "is_leader"
        case members = "cluster_members"
        case nodeID = "node_id"
        case clusterID = "cluster_id"
        case state
        case term
        case vip
        case holdsVIP = "holds_vip"
        case waitingFor = "waiting_for"
        case warnings
        case discovery
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(UInt64.self, forKey: .id)
        leaderID = try container.decodeIfPresent(UInt64.self, forKey: .leaderID) ?? 0
        isLeader = try container.decode(Bool.self, forKey: .isLeader)
        members = try container.decode([Member].self, forKey: .members)
        nodeID = try container.decodeIfPresent(String.self, forKey: .nodeID)
        clusterID = try container.decodeIfPresent(String.self, forKey: .clusterID)
        state = try container.decodeIfPresent(String.self, forKey: .state)
        term = try container.decodeIfPresent(UInt64.self, forKey: .term)
        vip = try container.decodeIfPresent(String.self, forKey: .vip)
        holdsVIP = try container.decodeIfPresent(Bool.self, forKey: .holdsVIP)
        waitingFor = try container.decodeIfPresent(String.self, forKey: .waitingFor)
        warnings = try container.decodeIfPresent([String].self, forKey: .warnings) ?? []
        discovery = try container.decodeIfPresent(Discovery.self, forKey: .discovery)
    }

    /// A leader is known and the cluster is formed.
    public var isFormed: Bool { leaderID != 0 && state == "formed" }

    public func count(ofRole role: String) -> Int { members.count { $0.role == role } }
}

/// The bodies of GET and PUT /vip, and of errors.
struct VIPBody: Codable {
    var vip: String
}

struct MessageBody: Codable {
    var message: String
}

extension HTTPResponse {
    /// The "message" of an answer; the whole text when it has none.
    public var message: String {
        (try? JSONDecoder().decode(MessageBody.self, from: Data(body)))?.message ?? text
    }
}
