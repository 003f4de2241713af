import Dqlite
import NIOCore
import Platform

/// Carries an ordinary dqlite client's connection to the local node and vets every request on the way
/// (DOC/ARCHITECTURE.md): a malformed one would stop libdqlite, and writes and membership changes are not for strangers.
enum ClientRelay {
    /// How much of the node's answers may wait for a client that does not read. libdqlite 1.11 aborts when it loses the
    /// lead while an answer in several messages is not yet taken, so the node is never made to wait; the client is cut.
    static let answerLimit = 8 << 20
    /// How long a client may say nothing.
    static let idleLimit: TimeAmount = .minutes(10)

    static func start(outside: any Channel, socket: DqliteAddress, word: [UInt8], rest: ByteBuffer) throws {
        let client = ClientHandler(word: word, rest: rest)
        try outside.pipeline.syncOperations.addHandler(client)
        let bound = NIOLoopBound(client, eventLoop: outside.eventLoop)
        let loop = outside.eventLoop
        LocalSocket.connect(to: socket, on: loop).hop(to: loop).whenComplete { result in
            switch result {
            case .success(let inside): bound.value.connect(inside)
            case .failure: outside.close(promise: nil)
            }
        }
    }
}

/// The client's side: lets whole, sound, allowed requests through, answers refused ones itself, and ends the connection
/// of anybody else. Requests wait until the node is connected.
final class ClientHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let word: [UInt8]
    private var early: ByteBuffer
    private var vetter = ClientRequestVetter()
    private var node: (any Channel)?
    private var context: ChannelHandlerContext?
    private var unread = 0
    private var idle: Scheduled<Void>?

    init(word: [UInt8], rest: ByteBuffer) {
        self.word = word
        early = rest
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        restartIdleTimer()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        idle?.cancel()
        self.context = nil
        node?.close(promise: nil)
        node = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        idle?.cancel()
        node?.close(promise: nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // A client that is not read while the node is not there yet cannot make us hoard its requests.
    func read(context: ChannelHandlerContext) {
        if node != nil { context.read() }
    }

    func connect(_ inside: any Channel) {
        guard let context, context.channel.isActive else { return inside.close(promise: nil) }
        do {
            try inside.pipeline.syncOperations.addHandler(NodeAnswerHandler(client: self))
            try inside.syncOptions?.setOption(.autoRead, value: true)
        } catch {
            inside.close(promise: nil)
            return context.close(promise: nil)
        }
        node = inside
        inside.writeAndFlush(ByteBuffer(bytes: word), promise: nil)
        let first = early
        early.clear()
        vet(first)
        context.channel.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        restartIdleTimer()
        let bytes = unwrapInboundIn(data)
        if node == nil { early.writeImmutableBuffer(bytes) } else { vet(bytes) }
    }

    private func vet(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0, let context else { return }
        for verdict in vetter.consume(bytes.readableBytesView) {
            switch verdict {
            case .forward(let request):
                node?.writeAndFlush(ByteBuffer(bytes: request), promise: nil)
            case .answer(let failure):
                // A client that did not wait for its answer would take this one for it.
                guard vetter.outstanding == 0 else { return context.close(promise: nil) }
                context.channel.writeAndFlush(ByteBuffer(bytes: failure), promise: nil)
            case .close:
                return context.close(promise: nil)
            }
        }
    }

    /// Passes on what the node answers, and cuts a client that does not take it.
    fileprivate func answered(_ bytes: ByteBuffer) {
        guard let context else { return }
        vetter.consumeAnswer(bytes.readableBytesView)
        let count = bytes.readableBytes
        unread += count
        guard unread <= ClientRelay.answerLimit else { return context.close(promise: nil) }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.channel.writeAndFlush(bytes).whenComplete { _ in bound.value.unread -= count }
    }

    fileprivate func nodeClosed() {
        node = nil
        // What it still answered, a failure perhaps, is on its way out.
        context?.channel.writeAndFlush(ByteBuffer()).whenComplete { [channel = context?.channel] _ in
            channel?.close(promise: nil)
        }
    }

    private func restartIdleTimer() {
        idle?.cancel()
        idle = context?.eventLoop.assumeIsolated().scheduleTask(in: ClientRelay.idleLimit) { [self] in
            context?.close(promise: nil)
        }
    }
}

/// The node's side: reads all the time, whatever the client does.
private final class NodeAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var client: ClientHandler?

    init(client: ClientHandler) {
        self.client = client
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        client?.answered(unwrapInboundIn(data))
    }

    func channelInactive(context: ChannelHandlerContext) {
        client?.nodeClosed()
        client = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
