import Dqlite
import Glibc
import Lease
import NIOCore
import Platform

/// Leads the raft stream of a peer that was let in to its link, and makes the link when there is none.
struct RaftEntrance: Sendable {
    let dqliteID: DqliteNodeID
    /// This process, for the dialler.
    var incarnation: UInt64?
    let relay: NIOLoopBound<RaftRelay>
    /// Where libdqlite listens.
    let socket: DqliteAddress
    let loop: any EventLoop

    var admission: RaftAdmission {
        RaftAdmission(acceptance: RaftAcceptance(dqliteID: dqliteID, incarnation: incarnation), enter: enter)
    }

    @Sendable private func enter(_ channel: any Channel, _ handshake: RaftHandshake) -> EventLoopFuture<Void> {
        // The cluster port and the relay share one event loop.
        guard channel.eventLoop === loop else {
            return channel.eventLoop.makeFailedFuture(SystemError("take over a connection", errno: EXDEV))
        }
        let relay = relay.value
        let process = VoteGate.LeaderProcess(voter: handshake.dqliteID, incarnation: handshake.incarnation)
        let address: HostPort
        do {
            address = try HostPort(parsing: handshake.address)
            if let link = relay.inboundLink(of: handshake.dqliteID), link.isOpen {
                try link.attach(channel, process: process, address: address)
                relay.met(process)
                return channel.eventLoop.makeSucceededVoidFuture()
            }
        } catch {
            return channel.eventLoop.makeFailedFuture(error)
        }
        return LocalSocket.connect(to: socket, on: loop).assumeIsolated().flatMapThrowing { inside in
            let link = try InboundLink(peer: process, address: address, relay: relay, inside: inside)
            relay.enter(link)
            try link.attach(channel, process: process, address: address)
            relay.met(process)
        }.nonisolated()
    }
}
