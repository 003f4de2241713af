import Dqlite
import Lease
import Logging
import Platform

/// The planned hand-over of the lead, as the one sees it that takes it; and what the two have to know of each other.
extension ClusterNode {
    func answer(_ offer: HandOverOffer, from peer: PortPeer) async -> PortReply {
        guard let local = facts.current.local else {
            return .failed(PortFailure(reason: .notReady, text: "it has not joined yet"))
        }
        var objection = await unfit()
        if !facts.current.isFormed { objection = "it has not joined yet" }
        if isStopping || isRelieved { objection = "it is stopping" }
        let relay = local.relayFacts.current
        if relay.term > offer.term { objection = "it knows of a later leader" }
        let now = BootClock.now
        // What was promised to the giver it releases itself.
        let bound = relay.promises.filter { $0.key != offer.leader }.values.max() ?? relay.closedUntil
        let closedUntil = max(relay.closedUntil, bound)
        let readiness = HandOverReadiness(closedUntil: closedUntil, now: now, objection: objection)
        // Only the leader that this node hears can give it the lead. Who is told to stand by it does so without this, too, and then
        // asks the LAN first.
        let isOfLeader =
            relay.leader == offer.leader && relay.term == offer.term && facts.isAt(offer.leader, peer.address)
        if offer.isMade, isOfLeader, objection == nil, closedUntil <= now {
            facts.update {
                $0.expected = .init(
                    term: offer.term, leader: offer.leader, address: offer.address, isHolder: offer.isHolder)
            }
        }
        return .ready(readiness)
    }

    /// Whether the leader before gives this node the lead, and waits for it to set the addresses.
    public nonisolated var isHandedOver: Bool {
        let facts = facts.current
        guard let expected = facts.expected, let relay = facts.local?.relayFacts.current else { return false }
        let isHeard =
            relay.lease.term == expected.term &+ 1
            && relay.lease.acknowledged(since: BootInstant(nanoseconds: .min)).contains(expected.leader)
        return expected.isGiven(
            asked: relay.askedToStand, ownTerm: relay.term, isHeard: isHeard,
            // Others that ended before: the giver, which has the addresses, has waited for their kernels.
            hasEnded: relay.ended.contains(expected.leader), now: BootClock.now)
    }

    /// Whether a hand-over to this node is under way, of which it is not known yet whether the leader before lives.
    public nonisolated var isBeingHandedOver: Bool {
        let facts = facts.current
        guard let expected = facts.expected, let relay = facts.local?.relayFacts.current else { return false }
        return expected.isGiven(
            asked: relay.askedToStand, ownTerm: relay.term, isHeard: true, hasEnded: false, now: BootClock.now)
    }

    /// Whether the leader before has died in the middle of a hand-over to this node.
    public nonisolated var isSevered: Bool {
        let facts = facts.current
        guard let expected = facts.expected, let relay = facts.local?.relayFacts.current else { return false }
        return expected.isSevered(
            asked: relay.askedToStand, leads: relay.lease.term, hasEnded: relay.ended.contains(expected.leader),
            now: BootClock.now)
    }

    /// Whether this node is giving the lead away: what it has it keeps for the successor, and nothing is added to that.
    public nonisolated var handsOver: Bool {
        facts.current.giving?.until.map { $0 > BootClock.now } ?? false
    }

    /// The node is about to tell another to stand, which ends its lease. What it holds under that lease it keeps for the
    /// successor, who knows of it; without one there is nothing to keep.
    nonisolated static func tellsToStand(_ successor: DqliteNodeID?, _ facts: NodeFacts) {
        let now = BootClock.now
        let current = facts.current
        guard let giving = current.giving, giving.successor == successor,
            let lease = current.local?.relayFacts.lease(now: now), lease.term == giving.term
        else { return }
        // Not longer than the lease would have lasted: after that somebody else may be elected.
        let until = min(lease.end, now.advanced(by: handOverLimit))
        facts.update { if $0.giving?.successor == successor { $0.giving?.until = until } }
    }

    /// Tells the leader before that this node has set and announced the addresses.
    public func confirmTakeOver() async {
        guard leads, isHandedOver, let expected = facts.current.expected, let clusterID = facts.current.clusterID else {
            return
        }
        do {
            // Where it is known to be, and not where the offer says.
            let known = facts.places(of: expected.leader).first
            let address = try known ?? HostPort(parsing: expected.address)
            _ = try await peers.ask(
                .tookOver(term: expected.term, clusterID: clusterID), of: address, timeout: Self.handOverLimit)
            facts.update { if $0.expected?.term == expected.term { $0.expected?.hasLetGo = true } }
        } catch {
            // It lets go by itself.
            logger.info(
                "the leader before was not told of the hand-over",
                metadata: ["peer.address": "\(expected.address)", "error": "\(error)"])
        }
    }

    /// Answered when the addresses are gone from here, so that the successor knows it.
    func answer(tookOver term: UInt64, from peer: PortPeer) async -> PortReply {
        guard let giving = facts.current.giving, giving.term == term, facts.isAt(giving.successor, peer.address) else {
            return .written
        }
        facts.update { $0.giving?.until = BootClock.now }
        facts.current.local?.letsGo()
        onLeadership()
        handingOver?.yield()
        let limit = BootClock.now.advanced(by: Self.handOverLimit / 2)
        while BootClock.now < limit, !configuration.addresses.isEmpty, await holdsAddresses() {
            try? await Task.sleep(for: .milliseconds(1))
        }
        return .written
    }
}
