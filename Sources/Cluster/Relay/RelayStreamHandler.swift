import NIOCore

/// Reads what the relay at the other end of a connection says; what it must not say there ends the connection.
final class RelayStreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let take: (RelayMessage, any Channel) throws -> Void
    private let ended: (any Channel) -> Void
    private var reader = RelayMessage.Reader()

    init(take: @escaping (RelayMessage, any Channel) throws -> Void, ended: @escaping (any Channel) -> Void) {
        self.take = take
        self.ended = ended
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        reader.append(unwrapInboundIn(data))
        do {
            while let message = try reader.next() { try take(message, context.channel) }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        ended(context.channel)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
