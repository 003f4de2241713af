import Dqlite
import NIOCore
import Platform

/// Carries an ordinary dqlite client's connection to the local node and vets every request on the way
/// (DOC/ARCHITECTURE.md): a malformed one would stop libdqlite, and writes and membership changes are not for strangers.
enum ClientRelay {
    /// How much of the node's answers may wait for one client that does not read; see `ReaderDesk.mostUntaken`.
    static let answerLimit = 8 << 20
    /// How long a client may say nothing.
    static let idleLimit: TimeAmount = .minutes(10)
    /// How long it may take nothing of an answer.
    static let takingLimit: TimeAmount = .seconds(5)

    /// - Parameter seat: told when a request has come, so that a client that asks makes room for others last.
    static func start(
        outside: any Channel, socket: DqliteAddress, word: [UInt8], rest: ByteBuffer, desk: ReaderDesk,
        seat: PortSeat
    ) throws {
        let client = ClientHandler(word: word, rest: rest, desk: desk, seat: seat)
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

/// The client's side: lets whole, sound, allowed requests through in their turn, answers refused ones itself, and ends the
/// connection of anybody else. While a request waits or is with the node, nothing more is read.
final class ClientHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let word: [UInt8]
    private let desk: ReaderDesk
    private let seat: PortSeat
    private var early: ByteBuffer
    private var vetter = ClientRequestVetter(databases: [Schema.database], tables: Schema.readableTables)
    private var node: (any Channel)?
    private var context: ChannelHandlerContext?
    private var untaken = 0
    private var idle: Scheduled<Void>?
    /// It has asked for its turn, or has it.
    private var isAtDesk = false
    /// A read that waits until the request in hand is answered and the answer taken.
    private var isReadWanted = false

    init(word: [UInt8], rest: ByteBuffer, desk: ReaderDesk, seat: PortSeat) {
        self.word = word
        self.desk = desk
        self.seat = seat
        early = rest
    }

    private var id: ReaderDesk.ID { ObjectIdentifier(self) }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        restartTimer()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        idle?.cancel()
        desk.leaves(id)
        _ = desk.note(untaken: -untaken)
        untaken = 0
        node?.close(promise: nil)
        node = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // A client that is not read cannot make us hoard its requests.
    func read(context: ChannelHandlerContext) {
        if mayRead { context.read() } else { isReadWanted = true }
    }

    private var mayRead: Bool { node != nil && !isAtDesk && untaken == 0 }

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
        vetter.consume(early.readableBytesView)
        early.clear()
        goOn()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if node == nil { early.writeImmutableBuffer(bytes) } else { vetter.consume(bytes.readableBytesView) }
        restartTimer()
        goOn()
    }

    /// Asks for a turn when there is a message to be looked at, and for more bytes when not.
    private func goOn() {
        guard let context, node != nil, !isAtDesk else { return }
        if vetter.hasMessage {
            isAtDesk = true
            seat.waits()
            desk.asks(NIOLoopBound(self, eventLoop: context.eventLoop), id)
        } else if isReadWanted, mayRead {
            isReadWanted = false
            context.read()
        }
    }

    /// Looks at the next message, which takes time too: so it is part of the turn.
    private func takeNext() {
        guard let context, let node else { return }
        switch vetter.next() {
        case .forward(let request): node.writeAndFlush(ByteBuffer(bytes: request), promise: nil)
        case .answer(let bytes):
            write(ByteBuffer(bytes: bytes))
            leaveDesk()
        case .close: context.close(promise: nil)
        case nil: leaveDesk()
        }
    }

    private func leaveDesk() {
        isAtDesk = false
        desk.ends(id)
        goOn()
    }

    /// Passes on what the node answers, and cuts a client that does not take it.
    fileprivate func answered(_ bytes: ByteBuffer) {
        guard context != nil else { return }
        let answer = vetter.consumeAnswer(bytes.readableBytesView)
        if !answer.isEmpty { write(ByteBuffer(answer)) }
        guard !vetter.isBusy, isAtDesk else { return }
        // What had to come before the request is answered: the request itself is still part of this turn.
        if vetter.isHalfway { takeNext() } else { leaveDesk() }
    }

    private func write(_ bytes: ByteBuffer) {
        guard let context else { return }
        let count = bytes.readableBytes
        untaken += count
        guard desk.note(untaken: count), untaken <= ClientRelay.answerLimit else { return context.close(promise: nil) }
        restartTimer()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.channel.writeAndFlush(bytes).whenComplete { _ in bound.value.taken(count) }
    }

    private func taken(_ count: Int) {
        // What has ended has given back all.
        guard untaken >= count else { return }
        untaken -= count
        _ = desk.note(untaken: -count)
        restartTimer()
        goOn()
    }

    fileprivate func nodeClosed() {
        node = nil
        // What it still answered, a failure perhaps, is on its way out.
        context?.channel.writeAndFlush(ByteBuffer()).whenComplete { [channel = context?.channel] _ in
            channel?.close(promise: nil)
        }
    }

    private func restartTimer() {
        idle?.cancel()
        let limit = untaken > 0 ? ClientRelay.takingLimit : ClientRelay.idleLimit
        idle = context?.eventLoop.assumeIsolated().scheduleTask(in: limit) { [self] in
            context?.close(promise: nil)
        }
    }
}

extension ClientHandler: WaitingReader {
    func hasTurn() { takeNext() }

    func isTurnedAway() {
        guard context != nil else { return }
        isAtDesk = false
        write(ByteBuffer(bytes: vetter.postponed()))
        goOn()
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
