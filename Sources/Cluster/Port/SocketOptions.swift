import CLinux
import Glibc
import NIOCore
import NIOPosix
import Platform

/// The options of every TCP connection between nodes.
///
/// libdqlite's own connections have none of them, which costs 12 to 132 s after packets were dropped for a while.
struct SocketOptions: Sendable {
    /// How long sent data may stay unacknowledged before the kernel ends the connection; see TCP_USER_TIMEOUT in tcp(7).
    var userTimeout: Duration = .milliseconds(1500)

    func apply(to bootstrap: ClientBootstrap) -> ClientBootstrap {
        options.reduce(bootstrap) { $0.channelOption($1.0, value: $1.1) }
    }

    func applyToChildren(of bootstrap: ServerBootstrap) -> ServerBootstrap {
        options.reduce(bootstrap) { $0.childChannelOption($1.0, value: $1.1) }
    }

    private var options: [(ChannelOptions.Types.SocketOption, Int)] {
        let tcp = NIOBSDSocket.OptionLevel(rawValue: CInt(IPPROTO_TCP))
        func option(_ name: CInt) -> ChannelOptions.Types.SocketOption {
            ChannelOptions.Types.SocketOption(level: tcp, name: NIOBSDSocket.Option(rawValue: name))
        }
        return [
            (option(TCP_NODELAY), 1),
            (option(TCP_USER_TIMEOUT), Int(clamping: userTimeout.inMilliseconds)),
            (ChannelOptions.Types.SocketOption(level: .socket, name: .so_keepalive), 1),
            (option(TCP_KEEPIDLE), 2),
            (option(TCP_KEEPINTVL), 1),
            (option(TCP_KEEPCNT), 3),
        ]
    }
}

/// A connected pair of unix stream sockets, as libdqlite takes one end of it for a connection to a peer.
enum SocketPair {
    static func make() throws(SystemError) -> (Int32, Int32) {
        var pair: (Int32, Int32) = (-1, -1)
        try retryingOnInterrupt("make a socket pair") {
            withUnsafeMutableBytes(of: &pair) { raw in
                socketpair(
                    AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0,
                    raw.baseAddress?.assumingMemoryBound(to: Int32.self))
            }
        }
        return pair
    }
}
