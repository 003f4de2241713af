import Dqlite
import Glibc
import NIOCore
import NIOPosix
import Platform

/// Gives libdqlite the connections that it asks for (`dqlite_node_set_connect_func`): one end of a socket pair, at once,
/// whether the peer is there or not. The rest is `OutboundLink`'s.
final class RaftDialer: Sendable {
    private let relay: NIOLoopBound<RaftRelay>
    private let loop: any EventLoop
    private let group: any EventLoopGroup
    private let timeout: Duration
    private let socketOptions: SocketOptions
    private let places: OutboundLink.Places
    private let handshake: OutboundLink.Handshake

    init(
        relay: NIOLoopBound<RaftRelay>, loop: any EventLoop, group: any EventLoopGroup, timeout: Duration,
        socketOptions: SocketOptions = SocketOptions(), places: @escaping OutboundLink.Places,
        handshake: @escaping OutboundLink.Handshake
    ) {
        self.relay = relay
        self.loop = loop
        self.group = group
        self.timeout = timeout
        self.socketOptions = socketOptions
        self.places = places
        self.handshake = handshake
    }

    /// Called on one of libdqlite's threads; blocks it for a moment.
    func dial(_ address: String) -> Result<Int32, SystemError> {
        do {
            let (mine, theirs) = try SocketPair.make()
            do {
                try loop.flatSubmit { [self] in attach(mine, dialledAs: address) }.wait()
                return .success(theirs)
            } catch {
                close(theirs)
                throw error
            }
        } catch {
            return .failure(error as? SystemError ?? SystemError("connect to", address, errno: EIO))
        }
    }

    /// Connects to the other members before libdqlite does, and forgets who is none any more.
    func warm(_ members: [DqliteMember]) {
        loop.execute { [self] in
            for member in members { link(to: member.id).connect() }
            relay.value.prune(keeping: members)
        }
    }

    /// A member was found somewhere: tries there at once.
    func found(_ member: DqliteNodeID) {
        loop.execute { [self] in
            let link = link(to: member)
            if !link.isConnected { link.connectNow() }
        }
    }

    private func attach(_ descriptor: Int32, dialledAs address: String) -> EventLoopFuture<Void> {
        guard let member = relay.value.dials(address), handshake(member) != nil else {
            close(descriptor)
            return loop.makeFailedFuture(SystemError("connect to", address, errno: ENOTCONN))
        }
        return link(to: member).attach(descriptor)
    }

    private func link(to member: DqliteNodeID) -> OutboundLink {
        let relay = relay.value
        return relay.link(to: member) {
            OutboundLink(
                peer: member, relay: relay, group: group, timeout: timeout, socketOptions: socketOptions,
                places: places, handshake: handshake)
        }
    }
}
