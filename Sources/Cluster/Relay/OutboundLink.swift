import Dqlite
import Lease
import Logging
import NIOCore
import NIOPosix
import Platform

/// The way from the local node to one peer: a socket pair, of which libdqlite keeps one end for as long as it likes, and a
/// connection to the peer's cluster port, which is made anew whenever it ends.
///
/// libdqlite notices the end of a connection only when it writes, loses that message (a vote, say), and then waits a
/// second; here it never notices. What it writes while there is no connection is lost, as raft allows.
///
/// Confined to the relay's event loop.
final class OutboundLink {
    /// What is told to a member before raft flows; nil while this node belongs to no cluster.
    typealias Handshake = @Sendable (_ member: DqliteNodeID) -> RaftHandshake?
    /// Where to try to reach a member, the likeliest first.
    typealias Places = @Sendable (_ member: DqliteNodeID) -> [HostPort]

    /// The member that this leads to, wherever it is.
    let peer: DqliteNodeID
    private let relay: RaftRelay
    private let group: any EventLoopGroup
    private let places: Places
    /// Which place is tried next.
    private var turn = 0
    /// The process that answered last, where it says so.
    private var incarnation: UInt64?
    private let timeout: Duration
    private let socketOptions: SocketOptions
    private let handshake: Handshake
    private var local: (any Channel)?
    private var remote: (any Channel)?
    private var isConnecting = false
    /// The attempt under way was begun before something better was known.
    private var startsOver = false
    private var isClosed = false
    private var retry: Scheduled<Void>?
    private var failures = 0
    /// What has failed since the last success, so that it is said once.
    private var reported: Set<String> = []
    private var preface: ByteBuffer?
    /// What was written before the first connection stood: the first votes of a new candidate, say.
    private var waiting: [RelayMessage] = []

    init(
        peer: DqliteNodeID, relay: RaftRelay, group: any EventLoopGroup, timeout: Duration,
        socketOptions: SocketOptions, places: @escaping Places, handshake: @escaping Handshake
    ) {
        self.peer = peer
        self.relay = relay
        self.group = group
        self.places = places
        self.timeout = timeout
        self.socketOptions = socketOptions
        self.handshake = handshake
    }

    // MARK: - The local node's side

    /// Takes our end of a socket pair whose other end libdqlite has got; it replaces an earlier one.
    func attach(_ descriptor: Int32) -> EventLoopFuture<Void> {
        ClientBootstrap(group: relay.loop)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.autoRead, value: false)
            .withConnectedSocket(descriptor)
            .assumeIsolated()
            .flatMapThrowing { [self] channel in
                local?.close(promise: nil)
                local = channel
                try channel.pipeline.syncOperations.addHandler(LocalStreamHandler(link: self))
                try channel.syncOptions?.setOption(.autoRead, value: true)
                connect()
            }
            .nonisolated()
    }

    /// libdqlite has closed its end: the member is gone, or the node stops.
    fileprivate func localEnded(_ channel: any Channel) {
        guard local === channel else { return }
        local = nil
        waiting = []
        relay.readable(self)
    }

    fileprivate func opened(by bytes: ByteBuffer) {
        preface = bytes
        write(.preface(bytes))
    }

    /// - Returns: false when the frame names voters that cannot be understood: then the stream cannot be read any further.
    fileprivate func take(_ frame: RaftFrame, _ bytes: ByteBuffer) -> Bool {
        switch bytes.namedConfiguration(in: frame) {
        case .none: relay.send(frame, bytes, names: nil, on: self)
        case .configuration(let configuration, let index):
            relay.names.saw(configuration, now: BootClock.now)
            relay.send(frame, bytes, names: NamedVoters(voters: configuration.voters, index: index), on: self)
        case .undecodable: return false
        }
        return true
    }

    fileprivate func takeRaw(_ bytes: ByteBuffer) { relay.sendRaw(bytes, on: self) }

    /// Ends the connections, so that both sides begin anew.
    func reset() {
        local?.close(promise: nil)
        remote?.close(promise: nil)
    }

    fileprivate func isUnreadable() { relay.unreadable(self, "the member \(peer)") }

    /// Whether libdqlite holds its end.
    var isInUse: Bool { local != nil }

    // MARK: - The peer's side

    /// Whether the peer can be told something now.
    var isConnected: Bool { remote?.isActive == true }

    /// Passes a message on, or drops it when there is no connection; `second` goes with it.
    func write(_ message: RelayMessage, and second: RelayMessage? = nil) {
        guard let remote, remote.isActive else {
            if isConnecting, failures == 0, waiting.count < 16 { waiting.append(message) }
            return
        }
        var buffer = remote.allocator.buffer(capacity: 128)
        message.write(to: &buffer)
        second?.write(to: &buffer)
        remote.writeAndFlush(buffer, promise: nil)
        // A peer that takes nothing: the connection is given up rather than memory.
        if !remote.isWritable, let queued = try? remote.syncOptions?.getOption(.bufferedWritableBytes),
            queued > RelayMessage.bodyLimit
        {
            remote.close(promise: nil)
        }
    }

    /// Makes the connection, if there is none; also before libdqlite asks for it, so that a first vote need not wait.
    func connect() {
        guard !isClosed, remote == nil, !isConnecting, retry == nil else { return }
        var places = places(peer)
        // A leader that this node's configuration does not know yet is where it connects from, whatever else is forgotten.
        if let met = relay.place(of: peer), !places.contains(met) { places.append(met) }
        guard !places.isEmpty, let handshake = handshake(peer),
            let request = try? PortCoding.encode(PortRequest.raft(handshake))
        else { return retryLater() }
        let target = places[turn % places.count]
        let address = target.description
        isConnecting = true
        let opening = ByteBuffer(bytes: PeerProtocol.magic + Array(ByteBuffer(peerFrame: request).readableBytesView))
        let accepted = relay.loop.makePromise(of: RaftAcceptance.self)
        let limit = TimeAmount.nanoseconds(timeout.inNanoseconds)
        let expiry = relay.loop.scheduleTask(in: limit) {
            accepted.fail(SystemError("connect to", address, errno: ETIMEDOUT))
        }
        let connected = socketOptions.apply(to: ClientBootstrap(group: relay.loop))
            .connectTimeout(limit)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        RaftOpeningHandler(opening: opening, accepted: accepted))
                }
            }
            .connect(host: target.host, port: Int(target.port))
        connected.whenFailure { accepted.fail($0) }
        accepted.futureResult.and(connected).assumeIsolated().whenComplete { [self] result in
            expiry.cancel()
            isConnecting = false
            switch result {
            case .success((let acceptance, let channel)): established(channel, acceptance, at: address)
            case .failure(let error):
                connected.whenSuccess { $0.close(promise: nil) }
                failed(error, at: address)
            }
        }
    }

    /// The member is known to be at a place that has not been tried, or back: tries at once.
    func connectNow() {
        retry?.cancel()
        retry = nil
        failures = 0
        turn = 0
        startsOver = isConnecting
        connect()
    }

    /// A process of the member has connected to this node. A connection that another one had is dead, although the kernel
    /// may not know it yet.
    func met(_ process: UInt64) {
        if let remote, let incarnation, incarnation != process { remoteEnded(remote) }
        if remote == nil { connectNow() }
    }

    private func established(_ channel: any Channel, _ acceptance: RaftAcceptance, at address: String) {
        guard !isClosed, channel.isActive else {
            channel.close(promise: nil)
            return failed(SystemError("connect to", address, errno: ECONNRESET), at: address)
        }
        guard acceptance.dqliteID == peer else {
            channel.close(promise: nil)
            let text = "\(address) is node \(acceptance.dqliteID), and not \(peer)"
            return failed(PortFailure(reason: .wrongNode, text: text), at: address)
        }
        incarnation = acceptance.incarnation
        remote = channel
        do {
            try channel.pipeline.syncOperations.addHandler(
                RelayStreamHandler(take: { [self] message, _ in try take(message) }, ended: remoteEnded))
        } catch {
            return remoteEnded(channel)
        }
        if !reported.isEmpty {
            relay.logger.info(
                "a peer is reachable again",
                metadata: ["peer.address": "\(address)", "peer.dqlite_id": "\(peer)"])
            reported = []
            relay.onReturn()
        }
        failures = 0
        let early = waiting
        waiting = []
        if let preface { write(.preface(preface)) }
        for message in early {
            if case .preface = message { continue }
            write(message)
        }
    }

    private func failed(_ failure: any Error, at address: String) {
        waiting = []
        let text = "\(ConnectFailure.explain(failure, address))"
        if !reported.contains(text), reported.count < 16, !isClosed {
            reported.insert(text)
            relay.logger.info(
                "a peer is not reachable",
                metadata: ["peer.address": "\(address)", "peer.dqlite_id": "\(peer)", "error": "\(text)"])
        }
        if startsOver {
            startsOver = false
            return connect()
        }
        failures += 1
        turn += 1
        retryLater()
    }

    private func remoteEnded(_ channel: any Channel) {
        guard remote === channel else { return }
        remote = nil
        channel.close(promise: nil)
        retryLater()
    }

    /// Quickly at first: a process that was restarted is back within a moment; then twice a second.
    private func retryLater() {
        // Nobody waits for who is no member; it is tried again when it becomes one, or connects.
        guard !isClosed, retry == nil, relay.expects(peer) else { return }
        let delay: TimeAmount = .milliseconds(min(500, 10 << Int64(min(failures, 6))))
        retry = relay.loop.assumeIsolated().scheduleTask(in: delay) { [self] in
            retry = nil
            connect()
        }
    }

    private func take(_ message: RelayMessage) throws {
        switch message {
        case .said(.acknowledged), .said(.silent):
            guard case .said(let said) = message else { return }
            relay.told(said, by: VoteGate.LeaderProcess(voter: peer, incarnation: incarnation ?? 0))
        case .preface, .frame, .raw, .said:
            throw RelayMessage.Reader.Failure(description: "what only the node that dialled may say")
        }
    }

    func close() {
        isClosed = true
        retry?.cancel()
        local?.close(promise: nil)
        remote?.close(promise: nil)
        local = nil
        remote = nil
    }
}

/// Reads what libdqlite writes: the preface, then whole frames.
private final class LocalStreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let link: OutboundLink
    private var preface = RaftPreface()
    private var scanner = RaftFrameScanner()
    /// The bytes of the frame that is not whole yet.
    private var pending = ByteBuffer()
    private var isUnreadable = false

    init(link: OutboundLink) {
        self.link = link
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if isUnreadable { return link.takeRaw(bytes) }
        if preface.peer == nil {
            do {
                let used = try bytes.withUnsafeReadableBytes { try preface.consume($0) }
                bytes.moveReaderIndex(forwardBy: used)
                guard preface.peer != nil else { return }
                link.opened(by: ByteBuffer(bytes: preface.bytes))
            } catch {
                return context.close(promise: nil)
            }
        }
        guard bytes.readableBytes > 0 else { return }
        let before = pending.readableBytes
        if before == 0 { pending = bytes } else { pending.writeImmutableBuffer(bytes) }
        var frames: [(RaftFrame, Int)] = []
        bytes.withUnsafeReadableBytes { raw in scanner.consume(raw) { frames.append(($0, before + $0.end)) } }
        var start = 0
        var isUnderstood = true
        for (frame, end) in frames {
            guard let whole = pending.readSlice(length: end - start) else { break }
            start = end
            guard link.take(frame, whole) else {
                isUnderstood = false
                pending = ByteBuffer(bytes: Array(whole.readableBytesView) + Array(pending.readableBytesView))
                break
            }
        }
        if pending.readableBytes == 0 { pending = ByteBuffer() } else { pending.discardReadBytes() }
        if scanner.isLost || !isUnderstood {
            isUnreadable = true
            link.isUnreadable()
            link.takeRaw(pending)
            pending = ByteBuffer()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        link.localEnded(context.channel)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
