import Dqlite
import Lease
import Logging
import Platform

/// The links of a relay, and which member each of them leads to.
extension RaftRelay {
    /// The link to a member, made when there is none.
    func link(to member: DqliteNodeID, _ make: () -> OutboundLink) -> OutboundLink {
        if let link = outbound[member] { return link }
        let link = make()
        outbound[member] = link
        return link
    }

    /// Whom the local node dials, by the address that it gave; nil when that cannot be told.
    func dials(_ address: String) -> DqliteNodeID? {
        let member = names.member(
            dialledAs: address, own: own, members: members(), introduced: inbound.compactMapValues(\.name),
            isConnected: { outbound[$0]?.isInUse ?? false }, now: BootClock.now)
        guard let member else {
            logger.debug("it cannot be told whom the local node dials", metadata: ["address": "\(address)"])
            return nil
        }
        names.wasDialled(member, as: address)
        return member
    }

    /// The address by which libdqlite is to know a peer that gives that one as its own.
    func introduction(of peer: DqliteNodeID, as given: String) -> String {
        names.introduction(of: peer, as: given, members: members(), now: BootClock.now)
    }

    /// Whether there is anything to tell to a node: it is a member, or it talks to this one.
    func expects(_ peer: DqliteNodeID) -> Bool {
        inbound[peer]?.isConnected == true || members().contains { $0.id == peer }
    }

    /// Where a peer says that it is that is connected now.
    func place(of peer: DqliteNodeID) -> HostPort? {
        guard let link = inbound[peer], link.isConnected else { return nil }
        return link.address
    }

    /// A process has connected.
    func met(_ process: VoteGate.LeaderProcess) {
        core.meets(process)
        outbound[process.voter]?.met(process.incarnation)
    }

    /// Members to which there is no connection.
    func unreachable(of members: [DqliteMember]) -> [DqliteNodeID] {
        members.map(\.id).filter { $0 != own && outbound[$0]?.isConnected != true }
    }

    /// To be done when the members have been read, and not when a configuration passes: to rename ends the connection, and
    /// the frame that has the configuration in it must arrive, and be answered.
    private func rename() {
        let now = BootClock.now
        for (peer, link) in inbound {
            guard let address = names.address(of: peer, members: members(), now: now),
                names.introduction(of: peer, as: address, members: members(), now: now) == address
            else { continue }
            link.rename(address)
        }
    }

    func inboundLink(of peer: DqliteNodeID) -> InboundLink? { inbound[peer] }

    func enter(_ link: InboundLink) {
        let old = inbound.updateValue(link, forKey: link.peer.voter)
        old?.close()
    }

    /// libdqlite has closed its side.
    func ended(_ link: InboundLink) {
        readable(link)
        if inbound[link.peer.voter] === link { inbound[link.peer.voter] = nil }
    }

    /// Lets go of links that neither side uses, of nodes that are no members.
    func prune(keeping members: [DqliteMember]) {
        for (peer, link) in outbound where !link.isInUse && !members.contains(where: { $0.id == peer }) {
            link.close()
            outbound[peer] = nil
            names.forget(peer)
        }
        for (peer, link) in inbound where !link.isConnected && !members.contains(where: { $0.id == peer }) {
            link.close()
            inbound[peer] = nil
        }
        rename()
        readVoters()
    }
}
