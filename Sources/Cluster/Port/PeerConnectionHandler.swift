import Dqlite
import Logging
import NIOCore
import NIOPosix
import Platform

/// Serves one peer: request, answer, next request; until it asks for raft, when the connection becomes a pipe.
final class PeerConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let peer: PortPeer
    private let seat: PortSeat
    private let delegate: any ClusterPortDelegate
    private let decoding: PeerDecoding
    private let patience: TimeAmount
    private let logger: Logger
    private var frames: PeerFrameReader
    private var isBusy = false
    /// A read that waits until the request in hand is answered, so that nobody can make us hoard requests or answers.
    private var isReadWanted = false
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?

    private let loop: any EventLoop

    init(
        peer: PortPeer, seat: PortSeat, delegate: any ClusterPortDelegate, decoding: PeerDecoding, patience: TimeAmount,
        loop: any EventLoop, logger: Logger
    ) {
        frames = PeerFrameReader(limit: peer.isMember ? PeerProtocol.frameLimit : PeerProtocol.strangersFrameLimit)
        self.peer = peer
        self.seat = seat
        self.decoding = decoding
        self.loop = loop
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

    func read(context: ChannelHandlerContext) {
        if isBusy { isReadWanted = true } else { context.read() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func restartTimer() {
        timer?.cancel()
        timer = context?.eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in
            // Also when it does not take its answer.
            context?.close(promise: nil)
        }
    }

    private func serveNext() {
        guard !isBusy, let context else { return }
        let frame: [UInt8]
        do {
            guard let next = try frames.next() else { return }
            frame = next
        } catch {
            return refuse(error)
        }
        isBusy = true
        seat.serves()
        timer?.cancel()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        decoding.decode(frame, isMember: peer.isMember, on: context.eventLoop).whenComplete { result in
            switch result {
            case .success(let request): bound.value.serve(request)
            case .failure(let error): bound.value.refuse(error)
            }
        }
    }

    private func refuse(_ error: any Error) {
        logger.debug("a peer's request cannot be read", metadata: ["error": "\(error)"])
        let text = "the request cannot be read: do both nodes run the same version?"
        reply(.failed(PortFailure(reason: .malformed, text: text)), thenClose: true)
    }

    private func serve(_ request: PortRequest) {
        guard let context else { return }
        if case .raft(let handshake) = request { return becomeRaft(handshake) }
        let channel = context.channel
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        Task { [delegate, peer] in
            let answer = await delegate.answer(request, from: peer)
            channel.eventLoop.execute {
                bound.value.answer(answer, on: channel, bound)
            }
        }
    }

    /// Sends the answer, and goes on with the next request when the peer has taken it.
    private func answer(_ answer: PortReply, on channel: any Channel, _ bound: NIOLoopBound<PeerConnectionHandler>) {
        restartTimer()
        reply(answer, thenClose: false).whenSuccess {
            let handler = bound.value
            handler.isBusy = false
            handler.seat.waits()
            if handler.isReadWanted {
                handler.isReadWanted = false
                handler.context?.read()
            }
            handler.serveNext()
        }
    }

    @discardableResult
    private func reply(_ reply: PortReply, thenClose: Bool) -> EventLoopFuture<Void> {
        guard let channel = context?.channel else {
            return loop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        do {
            let written = channel.writeAndFlush(ByteBuffer(peerFrame: try PortCoding.encode(reply)))
            if thenClose { written.whenComplete { _ in channel.close(promise: nil) } }
            return written
        } catch {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(error)
        }
    }

    private func becomeRaft(_ handshake: RaftHandshake) {
        guard let channel = context?.channel else { return }
        let admission: RaftAdmission
        do {
            admission = try delegate.admitRaft(handshake, from: peer)
        } catch {
            reply(.failed(error), thenClose: true)
            return
        }
        // Raft streams are bounded by the members.
        seat.leave()
        reply(.raftAccepted(admission.acceptance), thenClose: false)
        channel.pipeline.syncOperations.removeHandler(self).assumeIsolated().whenComplete { [isReadWanted] _ in
            admission.enter(channel, handshake).whenComplete { result in
                if case .failure = result { return channel.close(promise: nil) }
                // The read that this handler held back.
                if isReadWanted { channel.read() }
            }
        }
    }
}
