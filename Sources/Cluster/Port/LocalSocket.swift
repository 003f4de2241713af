import Dqlite
import Glibc
import NIOCore
import NIOPosix
import Platform

/// Connections to the local node's own listener, which lets in only this very process.
enum LocalSocket {
    /// The channel does not read before a handler asks it to.
    static func connect(to address: DqliteAddress, on loop: any EventLoop) -> EventLoopFuture<any Channel> {
        do {
            guard case .abstractSocket(let name) = address else {
                throw SystemError("connect to", address.description, errno: EAFNOSUPPORT)
            }
            let descriptor = try DqliteSocket.connect(abstractName: name)
            return ClientBootstrap(group: loop)
                // A heartbeat comes alone: a second read would only find nothing, a hundred times a second.
                .channelOption(.maxMessagesPerRead, value: 1)
                .channelOption(.autoRead, value: false)
                .withConnectedSocket(descriptor)
        } catch {
            return loop.makeFailedFuture(error)
        }
    }
}
