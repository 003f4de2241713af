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
    private let handshake: OutboundLink.Handshake

    init(
        relay: NIOLoopBound<RaftRelay>, loop: any EventLoop, group: any EventLoopGroup, timeout: Duration,
        socketOptions: SocketOptions = SocketOptions(), handshake: @escaping OutboundLink.Handshake
    ) {
        self.relay = relay
        self.loop = loop
        self.group = group
        self.timeout = timeout
        self.socketOptions = socketOptions
        self.handshake = handshake
    }

    /// Called on one of libdqlite's threads; blocks it for a moment.
    func dial(_ address: String) -> Result<Int32, SystemError> {
        guard handshake(address) != nil else {
            return .failure(SystemError("connect to", address, errno: ENOTCONN))
        }
        do {
            let (mine, theirs) = try SocketPair.make()
            do {
                try loop.flatSubmit { [self] in link(to: address).attach(mine) }.wait()
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
            for member in members { link(to: member.address).connect() }
            relay.value.prune(keeping: members)
        }
    }

    private func link(to address: String) -> OutboundLink {
        let relay = relay.value
        return relay.link(to: address) {
            OutboundLink(
                address: address, relay: relay, group: group, timeout: timeout, socketOptions: socketOptions,
                handshake: handshake)
        }
    }
}
