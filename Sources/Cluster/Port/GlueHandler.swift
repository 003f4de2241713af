import NIOCore

/// One half of a pair that joins two channels of one event loop: what one reads, the other writes.
///
/// Back-pressure is kept (a side reads only while the other can write), half-closes are passed on, and the end of one
/// side is the end of the other. `tap` sees the bytes as they pass; it must not keep them.
final class GlueHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Looks at what this side read before the other side writes it.
    typealias Tap = (ByteBuffer) -> Void

    private var partner: GlueHandler?
    private var context: ChannelHandlerContext?
    private var pendingRead = false
    private let tap: Tap?

    init(tap: Tap? = nil) {
        self.tap = tap
    }

    /// Joins two handlers. Both must be added to channels of the same event loop, from that event loop.
    static func join(_ first: GlueHandler, _ second: GlueHandler) {
        first.partner = second
        second.partner = first
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        // A channel that ended while the pair was still being made would otherwise never tell its partner.
        if !context.channel.isActive, context.channel.parent != nil { partnerCloses() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        partner = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        tap?(unwrapInboundIn(data))
        partner?.context?.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        partner?.context?.flush()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        partnerCloses()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Whatever broke on one side: a raft stream with a hole in it is worse than none.
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, case .inputClosed = event {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { partner?.resumeReading() }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if let partner, partner.context?.channel.isWritable ?? false {
            context.read()
        } else {
            pendingRead = true
        }
    }

    /// Begins to read, once both sides are in place.
    func resumeReading() {
        guard let context else { return }
        if pendingRead {
            pendingRead = false
            context.read()
        }
    }

    private func partnerCloses() {
        let other = partner
        partner = nil
        other?.partner = nil
        other?.context?.close(promise: nil)
    }
}
