import Dqlite
import Logging
import NIOCore
import NIOPosix
import Platform
import Synchronization

/// What the cluster port asks of the node behind it. Every call may come from any thread.
protocol ClusterPortDelegate: Sendable {
    /// Answers a request of a peer. The connection waits for it.
    func answer(_ request: PortRequest, from peer: PortPeer) async -> PortReply
    /// Whether it is the address of a member's cluster port. Must not block.
    func isMember(_ address: IPAddress) -> Bool
    /// Whether a peer's raft stream may flow into the local node, and to where.
    ///
    /// - Throws: the refusal, which the peer gets to read.
    func admitRaft(_ handshake: RaftHandshake, from peer: PortPeer) throws(PortFailure) -> RaftAdmission
    /// The local node's socket, for dqlite clients; nil while it does not run.
    var clientSocket: DqliteAddress? { get }
}

/// A raft stream that may flow.
struct RaftAdmission: Sendable {
    var acceptance: RaftAcceptance
    /// Takes the connection over. Called on the connection's event loop when the peer has been told.
    var enter: @Sendable (any Channel, RaftHandshake) -> EventLoopFuture<Void>
}

/// The one TCP port that nodes and dqlite clients connect to (DOC/ARCHITECTURE.md).
///
/// It reads the first eight bytes of each connection and hands it on: peers to `PeerConnectionHandler`, dqlite clients,
/// vetted, to the local node. libdqlite itself listens on an abstract unix socket only, since anybody who can write to
/// its listener can stop it.
final class ClusterPort: Sendable {
    /// Bounds on what strangers can make us keep.
    struct Limits: Sendable {
        /// Connections that have not said yet what they are; the oldest goes for one beyond it.
        var unidentified = 128
        /// The same, from one source address.
        var unidentifiedOfOne = 32
        /// Peers that ask, or are about to. One that has become a raft stream is none of them.
        var peers = Seats<any Channel>.Limits(most: 256, mostOfOne: 32, kept: 64)
        /// dqlite clients.
        var clients = Seats<any Channel>.Limits(most: 64, mostOfOne: 16, kept: 0)
        /// How long a connection may take to say what it is, and each peer request to arrive.
        var patience: TimeAmount = .seconds(5)
        /// How long `listen` waits for a port that is taken.
        var portPatience = Listening.patience
    }

    let group: any EventLoopGroup
    private let logger: Logger
    private let limits: Limits
    private let socketOptions: SocketOptions
    private let delegate: any ClusterPortDelegate
    private let peerSeats: PortSeats
    private let clientSeats: PortSeats
    private let desk: ReaderDesk
    private let decoding = PeerDecoding()
    private let unidentified: Mutex<UnidentifiedConnections<any Channel>>
    private let listener = Mutex<(any Channel)?>(nil)

    init(
        group: any EventLoopGroup, limits: Limits = Limits(), socketOptions: SocketOptions = SocketOptions(),
        delegate: any ClusterPortDelegate, logger: Logger
    ) {
        self.group = group
        self.limits = limits
        peerSeats = PortSeats(limits.peers)
        clientSeats = PortSeats(limits.clients)
        desk = ReaderDesk(loop: group.next())
        unidentified = Mutex(
            UnidentifiedConnections(most: limits.unidentified, mostOfOne: limits.unidentifiedOfOne))
        self.socketOptions = socketOptions
        self.delegate = delegate
        self.logger = logger
    }

    /// Begins to listen; waits a little for a port that is taken.
    ///
    /// - Throws: `SystemError` that names the address and what to do about it.
    /// - Returns: the address bound, with the port the kernel chose when `address` names port 0.
    @discardableResult
    func listen(on address: HostPort) async throws -> HostPort {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture { try self.configure(channel) }
            }
        do {
            let bootstrap = socketOptions.applyToChildren(of: bootstrap)
            let channel = try await Listening.whenFree(
                within: limits.portPatience, errno: { ($0 as? IOError)?.errnoCode }
            ) {
                try await bootstrap.bind(host: address.host, port: Int(address.port)).get()
            }
            listener.withLock { $0 = channel }
            return HostPort(host: address.host, port: UInt16(channel.localAddress?.port ?? Int(address.port)))
        } catch let error as IOError {
            throw SystemError(
                "listen on the cluster port", address.description, errno: error.errnoCode,
                remedy: Self.remedy(for: error.errnoCode, port: address.port))
        }
    }

    func close() async {
        let channel = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        try? await channel?.close().get()
    }

    private static func remedy(for code: Int32, port: UInt16) -> String? {
        let remedy = Listening.remedy(for: code, port: port, flag: "--bind-cluster")
        switch code {
        case EADDRINUSE: return remedy.map { "\($0), the same on every node" }
        case EADDRNOTAVAIL: return remedy.map { "\($0), or leave it out to use the first IPv4 address of --iface" }
        default: return remedy
        }
    }

    private func configure(_ channel: any Channel) throws {
        let address = channel.remoteAddress?.ipAddress.flatMap { IPAddress($0.prefix { $0 != "%" }) }?.unmapped
        let peer = PortPeer(address: address, isMember: address.map(delegate.isMember) ?? false)
        let source = address?.description ?? "unknown"
        let id = ObjectIdentifier(channel)
        if let evicted = unidentified.withLock({ $0.enter(id, channel, from: source, now: BootClock.now) }) {
            evicted.connection.close(promise: nil)
            if evicted.isReported {
                logger.warning(
                    "connections to the cluster port that do not say what they are make room for new ones",
                    metadata: ["peer.address": "\(evicted.source)"])
            }
        }
        let opening = OpeningHandler(patience: limits.patience) { [self] outcome, channel, rest in
            unidentified.withLock { $0.leave(id) }
            switch outcome {
            case .peer: try servePeer(channel, peer, rest)
            case .dqliteClient(let word): try serveClient(channel, peer, word, rest)
            case .http: answerHTTP(channel)
            case .unknown, nil: channel.close(promise: nil)
            }
        }
        try channel.pipeline.syncOperations.addHandler(opening)
    }

    private func servePeer(_ channel: any Channel, _ peer: PortPeer, _ rest: ByteBuffer) throws {
        guard let seat = peerSeats.take(channel, peer) else { return channel.close(promise: nil) }
        let handler = PeerConnectionHandler(
            peer: peer, seat: seat, delegate: delegate, decoding: decoding, patience: limits.patience,
            loop: channel.eventLoop, logger: logger)
        try channel.pipeline.syncOperations.addHandler(handler)
        handler.begin(with: rest)
    }

    private func serveClient(_ channel: any Channel, _ peer: PortPeer, _ word: [UInt8], _ rest: ByteBuffer) throws {
        guard let socket = delegate.clientSocket, let seat = clientSeats.take(channel, peer) else {
            return channel.close(promise: nil)
        }
        try ClientRelay.start(outside: channel, socket: socket, word: word, rest: rest, desk: desk, seat: seat)
    }

    private func answerHTTP(_ channel: any Channel) {
        let text = "This is the cluster port of dqlite-vip. Its API listens on --bind-http (default port 9900).\n"
        let answer =
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: \(text.utf8.count)\r\n"
            + "Connection: close\r\n\r\n" + text
        channel.writeAndFlush(ByteBuffer(string: answer)).whenComplete { _ in channel.close(promise: nil) }
    }
}
