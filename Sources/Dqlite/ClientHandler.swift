import NIOCore

/// Carries out what `ClientCore` directs, on the channel's event loop.
final class ClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct Waiter {
        var promise: EventLoopPromise<WireResponse>
        var deadline: Scheduled<Void>
    }

    private var core: ClientCore
    private var reader: WireMessageReader
    private var waiters: [ClientCore.RequestID: Waiter] = [:]
    private var context: ChannelHandlerContext?

    init(answerLimit: Int) {
        core = ClientCore(answerLimit: answerLimit)
        reader = WireMessageReader(limit: answerLimit)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(DqliteError(.connectionClosed, "the connection ended"))
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        reader.append(unwrapInboundIn(data))
        do throws(DqliteError) {
            while core.closed == nil, let message = try reader.next() { perform(core.received(message)) }
        } catch {
            finish(error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(DqliteError(.connectionClosed, "the node closed the connection"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(DqliteError(.connectionClosed, "the connection failed", cause: error))
    }

    func submit(
        _ id: ClientCore.RequestID, _ request: WireRequest, bytes: [UInt8], timeout: TimeAmount,
        promise: EventLoopPromise<WireResponse>
    ) {
        let deadline = promise.futureResult.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            self.giveUp(id, .timedOut)
        }
        waiters[id] = Waiter(promise: promise, deadline: deadline)
        perform(core.submit(id, request, bytes: bytes))
    }

    func giveUp(_ id: ClientCore.RequestID, _ code: DqliteError.Code) {
        perform(core.giveUp(id, code))
    }

    func finish(_ error: DqliteError) {
        perform(core.close(error))
    }

    private func perform(_ directives: [ClientCore.Directive]) {
        for directive in directives {
            switch directive {
            case .send(let bytes):
                context?.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
            case .complete(let id, let result):
                guard let waiter = waiters.removeValue(forKey: id) else { continue }
                waiter.deadline.cancel()
                switch result {
                case .success(let response): waiter.promise.succeed(response)
                case .failure(let error): waiter.promise.fail(error)
                }
            case .close:
                context?.close(promise: nil)
            }
        }
    }
}
