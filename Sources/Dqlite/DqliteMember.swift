/// The number that names a node inside one dqlite cluster; never 0.
///
/// 1 and 0x2dc171858c3155be are the bootstrap ids: a node that starts with one of them on an empty directory founds a
/// cluster of its own.
public typealias DqliteNodeID = UInt64

/// What a member does in the cluster; the raw values are those of the wire protocol (dqlite's `protocol.h`).
public enum DqliteRole: UInt64, Sendable, Codable, Hashable, CaseIterable, CustomStringConvertible {
    /// Replicates, votes, and can lead.
    case voter = 0
    /// Replicates without a vote.
    case standby = 1
    /// A member on the list only: it neither replicates nor votes.
    case spare = 2

    /// "voter", "stand-by" or "spare".
    public var description: String {
        switch self {
        case .voter: "voter"
        case .standby: "stand-by"
        case .spare: "spare"
        }
    }
}

/// One entry of a cluster's configuration, as the asked node knows it.
public struct DqliteMember: Hashable, Sendable {
    public var id: DqliteNodeID
    /// What the other nodes dial: a name that their connect function understands.
    public var address: String
    public var role: DqliteRole

    public init(id: DqliteNodeID, address: String, role: DqliteRole) {
        self.id = id
        self.address = address
        self.role = role
    }
}
