import Platform

/// One node of a founding set, as it described itself when it was proposed.
public struct FoundingMember: Codable, Sendable, Hashable {
    public var nodeID: NodeID
    public var address: HostPort
    /// The id of its dqlite node; `DqliteID.bootstrap` for the founder and for nobody else.
    public var dqliteID: UInt64
    /// The member's `NodeRecord.generation` at that time. Once the member shows a higher one, it has left this agreement
    /// for ever.
    public var generation: UInt64

    public init(nodeID: NodeID, address: HostPort, dqliteID: UInt64, generation: UInt64) {
        self.nodeID = nodeID
        self.address = address
        self.dqliteID = dqliteID
        self.generation = generation
    }
}

/// What all founders of a cluster agree on before there is one; each has it on disk before it says so.
public struct Agreement: Codable, Sendable, Hashable {
    /// The most members that a founding set may have: then a majority of them still are voters (`RolePolicy`).
    public static let maximumMembers = 13

    public var proposal: ProposalID
    public var clusterName: String
    /// The `--bootstrap-expect` that every member was started with.
    public var expect: Int
    /// The member with the smallest id among those that were ready; it creates the database.
    public var founder: NodeID
    /// The founding set in the order of node ids.
    public var members: [FoundingMember]

    public init(
        proposal: ProposalID, clusterName: String, expect: Int, founder: NodeID, members: [FoundingMember]
    ) {
        self.proposal = proposal
        self.clusterName = clusterName
        self.expect = expect
        self.founder = founder
        self.members = members
    }

    /// The smallest number of members that is more than half of them.
    public var majority: Int { members.count / 2 + 1 }

    /// With so many members gone for ever, those that are left are no majority, so that this cluster can never be formed.
    public var fatalLosses: Int { members.count - majority + 1 }

    public func member(_ id: NodeID) -> FoundingMember? {
        for member in members where member.nodeID == id { return member }
        return nil
    }

    /// What makes the agreement unusable whoever reads it; nil when it is sound.
    public var fault: String? {
        guard !members.isEmpty, members.count <= Self.maximumMembers else {
            return "its founding set has \(members.count) members, and 1 to \(Self.maximumMembers) are allowed"
        }
        guard expect >= 1, members.count >= expect else {
            return "its founding set has \(members.count) members, and \(expect) are expected"
        }
        for (index, member) in members.enumerated() {
            let isFounder = member.nodeID == founder
            if isFounder != (member.dqliteID == DqliteID.bootstrap) || member.dqliteID == 0
                || member.dqliteID == DqliteID.libraryBootstrap
            {
                return "the dqlite id \(member.dqliteID) of node \(member.nodeID) is not one that it may have"
            }
            for other in members[..<index]
            where other.nodeID == member.nodeID || other.address == member.address || other.dqliteID == member.dqliteID
            {
                return "two of its members are the same: \(other.address) and \(member.address)"
            }
        }
        guard member(founder) != nil else { return "its founder is not in its founding set" }
        return nil
    }
}
