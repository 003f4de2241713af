import Dqlite
import NIOCore
import NIOPosix

/// Connections to the local node's own listener, which lets in only this very process.
enum LocalSocket {
    /// The channel does not read before a handler asks it to.
    static func connect(to address: DqliteAddress, on loop: any EventLoop) -> EventLoopFuture<any Channel> {
        do {
            let descriptor = try address.connectedSocket()
            return ClientBootstrap(group: loop)
                .channelOption(.maxMessagesPerRead, value: 16)
                .channelOption(.autoRead, value: false)
                .withConnectedSocket(descriptor)
        } catch {
            return loop.makeFailedFuture(error)
        }
    }
}
