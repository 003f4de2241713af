import Dqlite
import Platform

/// What is believed of whom. Whoever knows the cluster's id can speak to a node; what he says counts only as far as he is where
/// the one is who can know it.
extension ClusterNode {
    /// Whether it is the leader that speaks, as far as this node knows who leads and where.
    func isLeader(_ peer: PortPeer) -> Bool {
        let facts = facts.current
        let heard = facts.local?.relayFacts.current.leader ?? facts.local?.monitor.current.leader
        guard let leader = heard ?? facts.roster?.roster.leader else { return false }
        return self.facts.isAt(leader, peer.address)
    }

    func unknownLeader() -> PortReply {
        .failed(
            PortFailure(
                reason: .notLeader,
                text: "\(settings.advertised) does not know the leader at that address: nothing was done"))
    }

    /// What an operator wants comes through the API of a member, and is taken from nobody else.
    func ofMember(_ peer: PortPeer, _ body: () async -> PortReply) async -> PortReply {
        if let address = peer.address, facts.isMember(address) { return await body() }
        let place = peer.address.map { "\($0)" } ?? "that address"
        return .failed(
            PortFailure(
                reason: .invalid,
                text: "\(settings.advertised) knows no member at \(place), and takes orders from members only"))
    }

    /// Whether a change may come from there: what is configured from any member, what is known of a member from itself, and what
    /// only the leader notes from nobody.
    func mayWrite(_ change: ConfigurationChange, _ peer: PortPeer) -> Bool {
        switch change {
        case .setAddresses, .setAddressesIfNone, .setAddressesIf: true
        case .describeNode(let entry): facts.isAt(entry.dqliteID, peer.address)
        case .labelNode(let id, _): facts.isAt(id, peer.address)
        case .forgetNode, .noteRemoval, .forgetRemoval, .noteMove, .forgetMove: false
        }
    }

    func believes(_ roster: Roster, of peer: PortPeer, _ local: LocalNode) -> Bool {
        let relay = local.relayFacts.current
        let now = BootClock.now
        return RosterBelief(
            heard: relay.leader.map { ($0, relay.term) }, isFresh: facts.current.roster?.isFresh(now: now) ?? false,
            lastTerm: facts.current.roster?.roster.term ?? 0
        ).takes(roster, isFromItsLeader: facts.isAt(roster.leader, peer.address))
    }
}

/// Whether a roster is taken for the leader's. A pure value.
///
/// Where raft comes in, its leader and its term are known, and no other's roster counts. A spare hears no raft, and goes by where a
/// roster comes from. One that comes from elsewhere counts when none has come for a while: a host with two cards may speak from the
/// one that nobody knows.
struct RosterBelief {
    /// The leader that is heard, and its term; nil: none is.
    var heard: (leader: DqliteNodeID, term: UInt64)?
    /// The last roster that was taken is still a true picture.
    var isFresh: Bool
    var lastTerm: UInt64

    func takes(_ roster: Roster, isFromItsLeader: Bool) -> Bool {
        guard roster.members.count <= Self.mostMembers, roster.members.contains(where: { $0.id == roster.leader })
        else {
            return false
        }
        if let heard {
            return roster.leader == heard.leader && roster.term == heard.term && (isFromItsLeader || !isFresh)
        }
        return isFresh ? isFromItsLeader && roster.term >= lastTerm : true
    }

    /// More than any cluster has.
    static let mostMembers = 128
}
