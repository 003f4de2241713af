import Dqlite
import FoundationEssentials
import Platform

/// A request on the cluster port, from one node of ours to another.
enum PortRequest: Codable, Sendable {
    /// Bootstrap and membership: hello, propose, invite, join and their like.
    case peer(PeerRequest)
    /// From here on this connection is one direction of raft.
    case raft(RaftHandshake)
    /// A change of the replicated configuration, for the leader to commit.
    case write(ConfigurationChange, clusterID: String)
    /// The committed configuration, for nodes that do not lead.
    case read(clusterID: String)
    /// What the leader has just committed, for the others to be prepared.
    case changed(ReplicatedConfiguration, clusterID: String)
}

/// The answer to a `PortRequest`.
enum PortReply: Codable, Sendable {
    case peer(PeerReply)
    case raftAccepted
    case written
    case configuration(ReplicatedConfiguration)
    case failed(PortFailure)
}

/// Why a request was refused, for the asker to act on and for a person to read.
struct PortFailure: Error, Codable, Sendable, Equatable, CustomStringConvertible {
    enum Reason: String, Codable, Sendable {
        /// The node that was asked does not lead; ask the leader, or again a little later.
        case notLeader
        /// There is no leader, or it could not commit in time. The change may yet take effect.
        case unavailable
        /// The two nodes belong to different clusters.
        case otherCluster
        /// Asker or asked is not what the other takes it for: an address that was given to another machine, perhaps.
        case wrongNode
        case notReady
        case malformed
        case invalid
    }

    var reason: Reason
    var text: String
    var description: String { text }
}

/// What a dialler says of itself before raft flows.
struct RaftHandshake: Codable, Sendable, Equatable {
    var clusterName: String
    var clusterID: String
    /// The node that dials.
    var dqliteID: DqliteNodeID
    var address: String
    /// The node that it means to reach, when it knows: an address that now belongs to another node must not take part
    /// in raft under the old node's id.
    var target: DqliteNodeID?
    /// The election timeout in milliseconds; members with different timers would depose each other.
    var electionTimeout: Int64
}

enum PortCoding {
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        Array(try JSONEncoder().encode(value))
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}
