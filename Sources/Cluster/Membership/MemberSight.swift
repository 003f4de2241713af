import Dqlite
import Lease
import Platform

/// What the leader sees of the members besides raft's configuration, and who is told what that says.
protocol MemberSight: Sendable {
    /// The voters, the leader not among them, that have acknowledged what it sent within so long.
    func responsive(within window: Duration) async -> Set<DqliteNodeID>
    /// Where a member answers that has left the address which the configuration has for it; nil when it is not known to
    /// answer anywhere else.
    func elsewhere(_ member: DqliteMember) async -> HostPort?
    /// Whether a node answers with a member's identity at the address that the configuration has for it.
    func isAtHome(_ member: DqliteMember) async -> Bool

    /// The members are about to be read; to be told before the local node is asked.
    func beginReading() -> RelayCore.Reading
    /// They were read, and are as new as the beginning of that reading, or newer.
    func learnt(_ members: [DqliteMember], by reading: RelayCore.Reading)
}

/// That of the local node.
struct NodeSight: MemberSight {
    let local: LocalNode
    let facts: NodeFacts
    let node: NodeReference

    func responsive(within window: Duration) async -> Set<DqliteNodeID> { await local.responsive(within: window) }

    func elsewhere(_ member: DqliteMember) async -> HostPort? {
        guard let node = node.node, let place = facts.addressBook[member.id], place.description != member.address,
            await node.answers(member.id, at: place)
        else { return nil }
        return place
    }

    func isAtHome(_ member: DqliteMember) async -> Bool {
        guard let node = node.node, let place = try? HostPort(parsing: member.address) else { return false }
        return await node.answers(member.id, at: place)
    }

    func beginReading() -> RelayCore.Reading { local.relayFacts.beginReading() }

    func learnt(_ members: [DqliteMember], by reading: RelayCore.Reading) {
        facts.take(members)
        local.learnt(members, by: reading)
    }
}
