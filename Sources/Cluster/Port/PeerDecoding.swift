import NIOCore
import NIOPosix
import Platform

/// Reads the JSON of peers beside the event loop, which carries the heartbeats: what a stranger sends can take milliseconds.
///
/// One thread for all strangers, which gives way to everything else, and one for members.
final class PeerDecoding: Sendable {
    private let members = NIOThreadPool(numberOfThreads: 1)
    private let strangers = NIOThreadPool(numberOfThreads: 1)
    /// A lower priority than that of anything else in the daemon.
    private static let nice: Int32 = 10

    init() {
        members.start()
        strangers.start()
        strangers.submit { _ in ThreadPriority.set(Self.nice) }
    }

    func decode(_ frame: [UInt8], isMember: Bool, on loop: any EventLoop) -> EventLoopFuture<PortRequest> {
        (isMember ? members : strangers).runIfActive(eventLoop: loop) {
            try PortCoding.decode(PortRequest.self, from: frame)
        }
    }

    deinit {
        members.shutdownGracefully { _ in }
        strangers.shutdownGracefully { _ in }
    }
}
