import Dqlite
import FoundationEssentials
import Platform

/// A request on the cluster port, from one node of ours to another.
enum PortRequest: Codable, Sendable {
    /// Bootstrap and membership: hello, propose, invite, join and their like.
    /// With the asker's timing, where a different one is to be refused.
    case peer(PeerRequest, timing: TimingClaim? = nil)
    /// From here on this connection is one direction of raft.
    case raft(RaftHandshake)
    /// A change of the replicated configuration, for the leader to commit.
    case write(ConfigurationChange, clusterID: String)
    /// The committed configuration, for nodes that do not lead.
    case read(clusterID: String)
    /// What the leader has just committed, for the others to be prepared.
    case changed(ReplicatedConfiguration, clusterID: String)
    /// Whether the node is ready to lead; and that it is about to.
    case handOver(HandOverOffer)
    /// The node to which the lead of this term was handed over has set and announced the addresses.
    case tookOver(term: UInt64, clusterID: String)
    /// For the leader: give the lead to another.
    case failOver(to: String?, clusterID: String)
    /// Who the members are, from the leader; answered by who is there.
    case roster(Roster)
    /// For the leader: take a node out of the cluster.
    case removeNode(RemovalOrder, clusterID: String)
    /// From the leader to a node that is out.
    case dismissed(RemovedNode, clusterID: String)
    /// Whether the node of this id is out.
    case standing(DqliteNodeID, clusterID: String)
}

/// The answer to a `PortRequest`.
enum PortReply: Codable, Sendable {
    case peer(PeerReply)
    case raftAccepted(RaftAcceptance)
    case written
    case configuration(ReplicatedConfiguration)
    /// To a hand-over that is offered.
    case ready(HandOverReadiness)
    case handedOver(HandOver)
    case present(Attendance)
    /// It is out, and why.
    case removed(RemovedNode)
    case failed(PortFailure)
}

/// The leader asks a voter whether it can lead, or tells it that it is about to.
struct HandOverOffer: Codable, Sendable, Equatable {
    var clusterID: String
    /// Of the leader that asks.
    var term: UInt64
    /// The leader that asks.
    var leader: DqliteNodeID
    /// Its cluster port.
    var address: String
    /// The voter is chosen.
    var isMade = false
    /// The leader has all addresses itself.
    var isHolder = false
}

/// What a voter says of itself when the lead is about to change hands. Also who does not want it says when he can vote.
struct HandOverReadiness: Codable, Sendable, Equatable {
    /// For how long its votes are kept back still, in milliseconds, because of what it may have promised before its start; 0:
    /// they leave.
    var votesKeptBackFor: Int64
    /// Why it cannot lead now, in words; nil when it can.
    var objection: String?

    /// - Parameter closedUntil: until when its votes are kept back.
    init(closedUntil: BootInstant, now: BootInstant, objection: String?) {
        let rest = max(0, now.duration(to: closedUntil).inNanoseconds)
        votesKeptBackFor = (rest + 999_999) / 1_000_000
        self.objection = objection
    }
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
        /// The two nodes have different timers.
        case otherTiming
        case notReady
        /// The leader's disk is full, and nobody can relieve it.
        case noSpace
        /// The addresses are not those that the change was made for.
        case changed
        case malformed
        case invalid
        case notFound
        /// The dialler was removed from the cluster.
        case removed
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
    /// The node that it means to reach: whoever is at the address must not take part in raft under another's id.
    var target: DqliteNodeID?
    /// Members with different timers would depose each other, or trust promises that the other does not keep.
    var timing: TimingClaim
    /// The process: what it promises and is promised ends with it.
    var incarnation: UInt64
    /// `RaftRelay.version` of the dialler.
    var relay: Int
}

/// What the node says of itself that lets raft in.
struct RaftAcceptance: Codable, Sendable, Equatable {
    var dqliteID: DqliteNodeID
    /// Its process; nil from a version that did not say so.
    var incarnation: UInt64?
}

/// The JSON bytes of what peers say to each other, bounded in size; `PeerFrameReader` cuts the frames around them.
enum PortCoding {
    /// Why bytes are no message, or a message has no bytes.
    struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
        var description: String
    }

    static func encode(_ message: some Encodable) throws(Failure) -> [UInt8] {
        let bytes: [UInt8]
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            bytes = Array(try encoder.encode(message))
        } catch {
            throw Failure(description: "cannot encode the peer message: \(error)")
        }
        guard bytes.count <= PeerProtocol.frameLimit else {
            throw Failure(
                description: "the peer message has \(bytes.count) bytes; at most \(PeerProtocol.frameLimit) are sent")
        }
        return bytes
    }

    static func decode<Message: Decodable>(_ type: Message.Type, from bytes: [UInt8]) throws(Failure) -> Message {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            throw Failure(description: "this is no peer message: \(DecodingText.describe(error))")
        } catch {
            throw Failure(description: "this is no peer message: \(error)")
        }
    }
}
