import Dqlite
import NIOCore
import Platform

/// Carries an ordinary dqlite client's connection to the local node and vets every request on the way (DESIGN.md
/// section 2): a malformed one would stop libdqlite, and writes and membership changes are not for strangers.
enum ClientRelay {
    static func start(outside: any Channel, socket: DqliteAddress, word: [UInt8], rest: ByteBuffer) throws {
        let vetting = VettingHandler()
        let glue = GlueHandler()
        try outside.pipeline.syncOperations.addHandlers([vetting, glue])
        let bound = NIOLoopBound((vetting, glue), eventLoop: outside.eventLoop)
        let loop = outside.eventLoop
        LocalSocket.connect(to: socket, on: loop).hop(to: loop).whenComplete { result in
            guard case .success(let inside) = result, outside.isActive else {
                if case .success(let inside) = result { inside.close(promise: nil) }
                return outside.close(promise: nil)
            }
            let (vetting, outer) = bound.value
            let inner = GlueHandler(tap: { vetting.answered($0) })
            do {
                GlueHandler.join(outer, inner)
                try inside.pipeline.syncOperations.addHandler(inner)
                inside.writeAndFlush(ByteBuffer(bytes: word), promise: nil)
                try inside.syncOptions?.setOption(.autoRead, value: true)
                vetting.begin(with: rest)
                outer.resumeReading()
            } catch {
                outside.close(promise: nil)
                inside.close(promise: nil)
            }
        }
    }
}

/// Lets whole, sound, allowed requests through, answers refused ones itself, and ends the connection of anybody else.
final class VettingHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var vetter = ClientRequestVetter()
    private var answers = AnswerCounter()
    private var outstanding = 0
    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func begin(with rest: ByteBuffer) {
        if rest.readableBytes > 0 { vet(rest) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        vet(unwrapInboundIn(data))
    }

    /// Counts what the node has answered, to know when the client may be answered by us without disorder.
    func answered(_ bytes: ByteBuffer) {
        outstanding -= answers.consume(bytes)
    }

    private func vet(_ bytes: ByteBuffer) {
        guard let context else { return }
        for verdict in vetter.consume(bytes.readableBytesView) {
            switch verdict {
            case .forward(let request):
                outstanding += 1
                context.fireChannelRead(wrapInboundOut(ByteBuffer(bytes: request)))
                context.fireChannelReadComplete()
            case .answer(let failure):
                // A client that did not wait for its answer would take this one for it.
                guard outstanding == 0 else { return context.close(promise: nil) }
                context.channel.writeAndFlush(ByteBuffer(bytes: failure), promise: nil)
            case .close:
                return context.close(promise: nil)
            }
        }
    }
}

/// Counts complete answers in the byte stream from a node. Rows in several messages are one answer.
struct AnswerCounter {
    private var header: [UInt8] = []
    private var remaining = 0
    private var isRows = false
    private var tail: [UInt8] = []

    /// - Returns: how many answers were completed by these bytes.
    mutating func consume(_ bytes: ByteBuffer) -> Int {
        var completed = 0
        var view = bytes.readableBytesView[...]
        while !view.isEmpty {
            if remaining == 0 {
                let part = view.prefix(8 - header.count)
                header += part
                view = view.dropFirst(part.count)
                guard header.count == 8 else { break }
                let words = header[0..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
                isRows = header[4] == 7
                remaining = words * 8
                header.removeAll(keepingCapacity: true)
                if remaining == 0 { completed += 1 }
                continue
            }
            let part = view.prefix(remaining)
            remaining -= part.count
            view = view.dropFirst(part.count)
            if isRows {
                tail = Array((tail + part.suffix(8)).suffix(8))
            }
            if remaining == 0 {
                let hasMore = isRows && tail == [UInt8](repeating: 0xEE, count: 8)
                if !hasMore { completed += 1 }
                tail.removeAll(keepingCapacity: true)
            }
        }
        return completed
    }
}
