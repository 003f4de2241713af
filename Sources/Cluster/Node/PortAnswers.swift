import Dqlite
import NIOCore
import Platform

/// What this node answers on its cluster port.
struct PortAnswers: ClusterPortDelegate {
    let facts: NodeFacts
    let settings: ClusterSettings
    let node: NodeReference

    var clientSocket: DqliteAddress? { facts.current.local?.socket }

    func isMember(_ address: IPAddress) -> Bool { facts.isMember(address) }

    func answer(_ request: PortRequest, from peer: PortPeer) async -> PortReply {
        guard let node = node.node else {
            return .failed(PortFailure(reason: .notReady, text: "the node is stopping"))
        }
        return await node.answer(request, from: peer)
    }

    func admitRaft(_ handshake: RaftHandshake, from peer: PortPeer) throws(PortFailure) -> RaftAdmission {
        let facts = facts.current
        guard handshake.clusterName == settings.clusterName else {
            throw PortFailure(
                reason: .otherCluster,
                text: "\(settings.advertised) belongs to the cluster named \"\(settings.clusterName)\", not to "
                    + "\"\(handshake.clusterName)\": correct --cluster-name")
        }
        guard let local = facts.local, let clusterID = facts.clusterID else {
            throw PortFailure(reason: .notReady, text: "\(settings.advertised) takes part in no cluster yet")
        }
        guard handshake.clusterID == clusterID else {
            throw PortFailure(
                reason: .otherCluster,
                text:
                    "\(settings.advertised) belongs to another cluster than \(handshake.clusterID): if that was "
                    + "recovered under the new id (dqlite-vip recover), stop \(handshake.address), empty its data "
                    + "directory and start it again; it joins as a new node")
        }
        let dialler = handshake.dqliteID
        if facts.removed.contains(dialler), !facts.members.contains(where: { $0.id == dialler }) {
            throw PortFailure(
                reason: .removed,
                text:
                    "\(handshake.address) was removed from the cluster: start it with --rejoin, or with an empty data "
                    + "directory")
        }
        if let target = handshake.target, target != local.dqliteID {
            throw PortFailure(
                reason: .wrongNode,
                text: "\(settings.advertised) is node \(local.dqliteID) now, not \(target): its disk was replaced")
        }
        if let difference = settings.timingClaim.difference(from: handshake.timing) {
            Task { [node] in await node.node?.note(warning: difference.text) }
            throw difference
        }
        guard handshake.relay == RaftRelay.version else {
            throw PortFailure(
                reason: .invalid,
                text:
                    "\(settings.advertised) and \(handshake.address) run versions of dqlite-vip that do not go together: "
                    + "install the same on all members")
        }
        if let address = try? HostPort(parsing: handshake.address) {
            self.facts.addressBook.learn(handshake.dqliteID, at: address)
        }
        if let source = peer.address { self.facts.addressBook.learn(dialler, from: source) }
        return local.admission
    }
}
