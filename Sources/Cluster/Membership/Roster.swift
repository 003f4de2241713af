import Dqlite
import Platform

/// The members as the leader knows them, with who can be reached. It tells all of them, about once a second: a spare has no
/// other way to know its cluster, since raft sends it nothing.
struct Roster: Codable, Sendable, Equatable {
    struct Member: Codable, Sendable, Equatable {
        var id: DqliteNodeID
        var address: String
        var role: DqliteRole
        /// Since when it does not answer the leader, by the leader's wall clock; nil: it does.
        var goneSince: WallTime?
        /// For how long it has not answered, in milliseconds: what the next leader goes on from, whatever its clock shows. Left
        /// out when it does, and by versions that do not tell.
        var silentFor: Int64?
        /// It answers the leader and takes nothing from it; left out when it takes.
        var isStuck: Bool?
        /// What it told last; left out when it did not, and by versions that do not tell.
        var macs: MemberMACs?
    }

    var clusterID: String
    var term: UInt64
    var leader: DqliteNodeID
    var members: [Member]

    /// As raft's own list has them.
    var list: [DqliteMember] { members.map { DqliteMember(id: $0.id, address: $0.address, role: $0.role) } }
}

/// The answer to a roster: who answers, and what it was started with.
struct Attendance: Codable, Sendable, Equatable {
    var dqliteID: DqliteNodeID
    var nodeID: String
    var name: String
    var isNonVoter: Bool
    var failureDomain: String?
    /// Left out by versions that do not tell.
    var macs: MemberMACs?
}

// A roster and an attendance are believed only as far as a node of ours could have written them.

extension Roster.Member {
    private enum Keys: String, CodingKey { case id, address, role, goneSince, silentFor, isStuck, macs }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        id = try container.decode(DqliteNodeID.self, forKey: .id)
        address = try container.sound(.address, SoundText.isPlace)
        role = try container.decode(DqliteRole.self, forKey: .role)
        goneSince = try container.decodeIfPresent(WallTime.self, forKey: .goneSince)
        silentFor = try container.decodeIfPresent(Int64.self, forKey: .silentFor)
        isStuck = try container.decodeIfPresent(Bool.self, forKey: .isStuck)
        macs = try container.decodeIfPresent(MemberMACs.self, forKey: .macs)
    }
}

extension Attendance {
    private enum Keys: String, CodingKey { case dqliteID, nodeID, name, isNonVoter, failureDomain, macs }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        dqliteID = try container.decode(DqliteNodeID.self, forKey: .dqliteID)
        nodeID = try container.sound(.nodeID, SoundText.isNodeID)
        name = SoundText.name(try container.decode(String.self, forKey: .name))
        isNonVoter = try container.decode(Bool.self, forKey: .isNonVoter)
        failureDomain = try container.soundIfPresent(.failureDomain, SoundText.isName)
        macs = try container.decodeIfPresent(MemberMACs.self, forKey: .macs)
    }
}

/// A roster and when it came in.
struct HeardRoster: Sendable {
    /// For so long it is taken for the present state; the leader sends one every second.
    static let lifetime: Duration = .seconds(4)

    var roster: Roster
    var at: BootInstant

    func isFresh(now: BootInstant) -> Bool { at.duration(to: now) < Self.lifetime }

    /// Since when members did not answer the leader that sent this, by the clock of this host. Nobody has seen what happened
    /// after the roster came in: an election is bridged, and not more.
    func absences(now: BootInstant) -> [DqliteNodeID: BootInstant] {
        guard at.duration(to: now) < Self.longestElection else { return [:] }
        return roster.members.reduce(into: [:]) { absences, member in
            guard let silence = member.silentFor, (0...Self.longestAbsence).contains(silence) else { return }
            absences[member.id] = at.advanced(by: .milliseconds(-silence))
        }
    }

    private static let longestElection: Duration = .seconds(60)
    /// Ten years; a number that is no time must not make one.
    private static let longestAbsence: Int64 = 10 * 366 * 86_400_000
}

/// A node that is out of the cluster, and why: kept in the database for the time when it comes back.
public struct RemovedNode: Codable, Sendable, Equatable {
    public enum Reason: String, Codable, Sendable, Equatable {
        /// An operator wanted it out. It stays out until one wants it in.
        case removed
        /// It left when it stopped. When it starts again it wants to be in again.
        case left
        /// It could not be reached for the time of `--reap-after`. It may come back as a new member.
        case reaped
        /// The leader knows no member of this id, and nothing else of it.
        case unknown
    }

    /// The most that the database keeps.
    static let mostKept = 64

    public var dqliteID: DqliteNodeID
    public var nodeID: String
    public var name: String
    public var address: String
    public var reason: Reason
    public var at: WallTime

    /// Whether only an operator can bring it back.
    public var isFinal: Bool { reason == .removed }
}
