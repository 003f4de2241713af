import NIOCore

/// Collects the first eight bytes of a connection and says once what they are; nil when they did not come in time.
final class OpeningHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let patience: TimeAmount
    private var identified: ((PeerProtocol.Opening?, any Channel, ByteBuffer) throws -> Void)?
    private var received = ByteBuffer()
    private var timer: Scheduled<Void>?

    init(
        patience: TimeAmount, identified: @escaping (PeerProtocol.Opening?, any Channel, ByteBuffer) throws -> Void
    ) {
        self.patience = patience
        self.identified = identified
    }

    func handlerAdded(context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in
            finish(nil, context: context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // A channel that ended before it was active tells nobody else.
        finish(nil, context: context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received.writeImmutableBuffer(unwrapInboundIn(data))
        guard let first = received.getBytes(at: received.readerIndex, length: PeerProtocol.magic.count) else { return }
        received.moveReaderIndex(forwardBy: first.count)
        finish(PeerProtocol.opening(of: first), context: context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(nil, context: context)
        context.fireChannelInactive()
    }

    private func finish(_ outcome: PeerProtocol.Opening?, context: ChannelHandlerContext) {
        guard let identified else { return }
        self.identified = nil
        timer?.cancel()
        let channel = context.channel
        if outcome != nil { context.pipeline.syncOperations.removeHandler(self, promise: nil) }
        do {
            try identified(outcome, channel, received)
        } catch {
            channel.close(promise: nil)
        }
    }
}
