import Logging
import NIOCore
import NIOPosix
import Platform

/// Serves one peer: request, answer, next request; until it asks for raft, when the connection becomes a pipe.
final class PeerConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let delegate: any ClusterPortDelegate
    private let patience: TimeAmount
    private let logger: Logger
    private var frames = PeerFrameReader()
    private var isBusy = false
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?

    init(delegate: any ClusterPortDelegate, patience: TimeAmount, logger: Logger) {
        self.delegate = delegate
        self.patience = patience
        self.logger = logger
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        restartTimer()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        self.context = nil
    }

    /// Takes what the opening handler had read beyond the first eight bytes.
    func begin(with rest: ByteBuffer) {
        frames.append(rest)
        serveNext()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        frames.append(unwrapInboundIn(data))
        serveNext()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func restartTimer() {
        timer?.cancel()
        timer = context?.eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in
            if !isBusy { context?.close(promise: nil) }
        }
    }

    private func serveNext() {
        guard !isBusy, let context else { return }
        let request: PortRequest
        do {
            guard let frame = try frames.next() else { return }
            request = try PortCoding.decode(PortRequest.self, from: frame)
        } catch {
            logger.debug("a peer's request cannot be read", metadata: ["error": "\(error)"])
            let text = "the request cannot be read: do both nodes run the same version?"
            reply(.failed(PortFailure(reason: .malformed, text: text)), thenClose: true)
            return
        }
        if case .raft(let handshake) = request {
            return becomeRaft(handshake)
        }
        isBusy = true
        timer?.cancel()
        let channel = context.channel
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        Task { [delegate] in
            let answer = await delegate.answer(request)
            channel.eventLoop.execute {
                bound.value.isBusy = false
                bound.value.reply(answer, thenClose: false)
                bound.value.restartTimer()
                bound.value.serveNext()
            }
        }
    }

    private func reply(_ reply: PortReply, thenClose: Bool) {
        guard let channel = context?.channel else { return }
        do {
            let written = channel.writeAndFlush(ByteBuffer(peerFrame: try PortCoding.encode(reply)))
            if thenClose { written.whenComplete { _ in channel.close(promise: nil) } }
        } catch {
            channel.close(promise: nil)
        }
    }

    private func becomeRaft(_ handshake: RaftHandshake) {
        guard let channel = context?.channel else { return }
        let admission: RaftAdmission
        do {
            admission = try delegate.admitRaft(handshake)
        } catch {
            return reply(.failed(error), thenClose: true)
        }
        isBusy = true
        timer?.cancel()
        let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
        let loop = channel.eventLoop
        LocalSocket.connect(to: admission.socket, on: loop).hop(to: loop).whenComplete { result in
            switch result {
            case .success(let inside):
                bound.value.join(channel, inside, tap: admission.tap)
            case .failure(let error):
                let text = "the node is not ready for raft: \(error)"
                bound.value.reply(.failed(PortFailure(reason: .notReady, text: text)), thenClose: true)
            }
        }
    }

    private func join(_ outside: any Channel, _ inside: any Channel, tap: @escaping GlueHandler.Tap) {
        guard outside.isActive else { return inside.close(promise: nil) }
        reply(.raftAccepted, thenClose: false)
        do {
            let outer = GlueHandler(tap: tap)
            let inner = GlueHandler()
            GlueHandler.join(outer, inner)
            outside.pipeline.syncOperations.removeHandler(self, promise: nil)
            try outside.pipeline.syncOperations.addHandler(outer)
            try inside.pipeline.syncOperations.addHandler(inner)
            try inside.syncOptions?.setOption(.autoRead, value: true)
            outer.resumeReading()
        } catch {
            outside.close(promise: nil)
            inside.close(promise: nil)
        }
    }
}
