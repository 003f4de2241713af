import NIOCore
import NIOPosix
import Platform

/// Asks another node's cluster port one thing.
struct PeerClient: Sendable {
    let group: any EventLoopGroup
    var socketOptions = SocketOptions()

    /// Sends `request` and waits for the answer.
    ///
    /// - Parameter timeout: for the whole of it: connecting, asking, waiting.
    /// - Throws: `PortFailure` that the peer answered or that says what speaks at the address instead of a node;
    ///   `SystemError` when there is no connection.
    func ask(_ request: PortRequest, of target: HostPort, timeout: Duration) async throws -> PortReply {
        let bytes = try PortCoding.encode(request)
        let opening = ByteBuffer(bytes: PeerProtocol.magic + Array(ByteBuffer(peerFrame: bytes).readableBytesView))
        let loop = group.next()
        let answer = loop.makePromise(of: PortReply.self)
        let limit = TimeAmount.nanoseconds(timeout.inNanoseconds)
        let expiry = loop.scheduleTask(in: limit) {
            answer.fail(SystemError("get an answer from", target.description, errno: ETIMEDOUT))
        }
        let connected = socketOptions.apply(to: ClientBootstrap(group: loop))
            .connectTimeout(limit)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AnswerHandler(opening: opening, target: target, answer: answer))
                }
            }
            .connect(host: target.host, port: Int(target.port))
        connected.whenFailure { answer.fail(ConnectFailure.explain($0, target.description)) }
        defer {
            expiry.cancel()
            connected.whenSuccess { $0.close(promise: nil) }
        }
        let reply = try await withTaskCancellationHandler {
            try await answer.futureResult.get()
        } onCancel: {
            answer.fail(CancellationError())
        }
        if case .failed(let failure) = reply { throw failure }
        return reply
    }
}

private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let opening: ByteBuffer
    private let target: HostPort
    private let answer: EventLoopPromise<PortReply>
    private var frames = PeerFrameReader()

    init(opening: ByteBuffer, target: HostPort, answer: EventLoopPromise<PortReply>) {
        self.opening = opening
        self.target = target
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(NIOAny(opening), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        frames.append(bytes)
        do {
            guard let frame = try frames.next() else { return }
            answer.succeed(try PortCoding.decode(PortReply.self, from: frame))
        } catch {
            answer.fail(Self.explain(bytes, target))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        let text = "\(target) closed the connection without an answer: is it the cluster port of a dqlite-vip node?"
        answer.fail(PortFailure(reason: .unavailable, text: text))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }

    private static func explain(_ bytes: ByteBuffer, _ target: HostPort) -> PortFailure {
        let text = String(decoding: bytes.readableBytesView.prefix(5), as: UTF8.self)
        return text == "HTTP/"
            ? PortFailure(
                reason: .wrongNode,
                text: "\(target) speaks HTTP: it is an API port, not a cluster port; --join takes the address of "
                    + "--bind-cluster (default port 8800)")
            : PortFailure(reason: .malformed, text: "\(target) does not speak dqlite-vip's peer protocol")
    }
}
