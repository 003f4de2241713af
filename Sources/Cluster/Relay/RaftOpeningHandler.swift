import NIOCore

/// Says who we are and waits for the peer's consent; then steps aside.
final class RaftOpeningHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let opening: ByteBuffer
    private let accepted: EventLoopPromise<RaftAcceptance>
    private var frames = PeerFrameReader()

    init(opening: ByteBuffer, accepted: EventLoopPromise<RaftAcceptance>) {
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
            case .raftAccepted(let acceptance):
                context.pipeline.syncOperations.removeHandler(self, promise: nil)
                accepted.succeed(acceptance)
            case .failed(let failure):
                accepted.fail(failure)
            case .peer, .written, .configuration, .ready, .handedOver, .present, .removed:
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
