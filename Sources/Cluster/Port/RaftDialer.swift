import Dqlite
import Glibc
import Logging
import NIOCore
import NIOPosix
import Platform
import Synchronization

/// Makes the raft connections that the local node asks for (`dqlite_node_set_connect_func`).
///
/// libdqlite gets one end of a socket pair; the other end is joined to a TCP connection to the peer's cluster port,
/// on which both sides first say who they are. Everything is bounded by about one election timeout: libdqlite's own
/// dialling waits two minutes for a host that drops packets, and stopping the node waits for the dialling.
final class RaftDialer: Sendable {
    private let group: any EventLoopGroup
    private let timeout: Duration
    private let socketOptions: SocketOptions
    private let handshake: @Sendable (_ address: String) -> RaftHandshake?
    private let makeTap: @Sendable () -> @Sendable (ByteBuffer) -> Void
    private let logger: Logger
    /// The last failure of each address, so that a peer that stays away is logged once and not every second.
    private let failures = Mutex<[String: String]>([:])

    /// - Parameters:
    ///   - handshake: what to say to the node at an address; nil while this node belongs to no cluster.
    ///   - tap: makes, for each connection, what sees the bytes that the local node sends on it.
    init(
        group: any EventLoopGroup, timeout: Duration, socketOptions: SocketOptions = SocketOptions(),
        handshake: @escaping @Sendable (_ address: String) -> RaftHandshake?,
        tap makeTap: @escaping @Sendable () -> @Sendable (ByteBuffer) -> Void, logger: Logger
    ) {
        self.group = group
        self.timeout = timeout
        self.socketOptions = socketOptions
        self.handshake = handshake
        self.makeTap = makeTap
        self.logger = logger
    }

    /// Blocks the calling thread, which is one of libdqlite's, until there is a connection or it is clear that there
    /// is none.
    func dial(_ address: String) -> Result<Int32, SystemError> {
        do {
            let descriptor = try connect(address)
            if failures.withLock({ $0.removeValue(forKey: address) }) != nil {
                logger.info("a peer is reachable again", metadata: ["peer.address": "\(address)"])
            }
            return .success(descriptor)
        } catch let failure {
            let error = ConnectFailure.explain(failure, address)
            let text = "\(error)"
            if failures.withLock({ $0.updateValue(text, forKey: address) }) != text {
                logger.info("a peer cannot be reached", metadata: ["peer.address": "\(address)", "error": "\(text)"])
            }
            return .failure(
                error as? SystemError ?? SystemError("connect to", address, errno: ECONNREFUSED))
        }
    }

    private func connect(_ address: String) throws -> Int32 {
        let target = try HostPort(parsing: address)
        guard let handshake = handshake(address) else {
            throw SystemError("connect to", address, errno: ENOTCONN)
        }
        let opening = try ByteBuffer(
            bytes: PeerProtocol.magic
                + Array(ByteBuffer(peerFrame: PortCoding.encode(PortRequest.raft(handshake))).readableBytesView))
        let limit = TimeAmount.nanoseconds(timeout.inNanoseconds)
        let loop = group.next()
        let accepted = loop.makePromise(of: Void.self)
        let expiry = loop.scheduleTask(in: limit) {
            accepted.fail(SystemError("connect to", address, errno: ETIMEDOUT))
        }
        defer { expiry.cancel() }
        let bootstrap = socketOptions.apply(to: ClientBootstrap(group: loop))
            .connectTimeout(limit)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        RaftOpeningHandler(opening: opening, accepted: accepted))
                }
            }
        let connected = bootstrap.connect(host: target.host, port: Int(target.port))
        connected.whenFailure { accepted.fail($0) }
        do {
            try accepted.futureResult.wait()
            let channel = try connected.wait()
            return try join(channel)
        } catch {
            connected.whenSuccess { $0.close(promise: nil) }
            throw error
        }
    }

    private func join(_ outside: any Channel) throws -> Int32 {
        let (mine, theirs) = try SocketPair.make()
        let loop = outside.eventLoop
        let tap = makeTap()
        let joined = ClientBootstrap(group: loop)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.autoRead, value: false)
            .withConnectedSocket(mine)
            .flatMapThrowing { inside in
                let outer = GlueHandler()
                let inner = GlueHandler(tap: tap)
                GlueHandler.join(outer, inner)
                try outside.pipeline.syncOperations.addHandler(outer)
                try inside.pipeline.syncOperations.addHandler(inner)
                try inside.syncOptions?.setOption(.autoRead, value: true)
                if !outside.isActive { inside.close(promise: nil) }
            }
        do {
            try joined.wait()
            return theirs
        } catch {
            Glibc.close(theirs)
            throw error
        }
    }
}

/// Says who we are and waits for the peer's consent; then steps aside.
private final class RaftOpeningHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let opening: ByteBuffer
    private let accepted: EventLoopPromise<Void>
    private var frames = PeerFrameReader()

    init(opening: ByteBuffer, accepted: EventLoopPromise<Void>) {
        self.opening = opening
        self.accepted = accepted
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(NIOAny(opening), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        frames.append(unwrapInboundIn(data))
        do {
            guard let frame = try frames.next() else { return }
            switch try PortCoding.decode(PortReply.self, from: frame) {
            case .raftAccepted:
                context.pipeline.syncOperations.removeHandler(self, promise: nil)
                accepted.succeed()
            case .failed(let failure):
                accepted.fail(failure)
            case .peer, .written, .configuration:
                accepted.fail(PortFailure(reason: .malformed, text: "the peer answered something else"))
            }
        } catch {
            accepted.fail(error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        accepted.fail(PortFailure(reason: .unavailable, text: "the peer closed the connection"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        accepted.fail(error)
        context.close(promise: nil)
    }
}
