import Dqlite
import Lease
import NIOCore
import Platform

/// The way from one peer to the local node: the peer's connection, and one to libdqlite, which outlives it.
///
/// libdqlite takes a frame for that peer's which comes on a connection that the peer's Connect message has opened. So that
/// connection is kept when the peer's own ends: a successor is told to stand through it, and when the peer comes back its
/// frames go on where they ended, since only whole frames are passed.
///
/// Confined to the relay's event loop.
final class InboundLink {
    private(set) var peer: VoteGate.LeaderProcess
    /// The peer's cluster port.
    private(set) var address: HostPort
    private let relay: RaftRelay
    private var outside: (any Channel)?
    private var inside: any Channel
    private var preface: [UInt8]?
    /// The address by which libdqlite knows the peer on this link.
    private(set) var name: String?
    private var isReadable = true

    init(
        peer: VoteGate.LeaderProcess, address: HostPort, relay: RaftRelay, inside: any Channel
    ) throws {
        self.peer = peer
        self.address = address
        self.relay = relay
        self.inside = inside
        try inside.pipeline.syncOperations.addHandler(InsideHandler(link: self))
        try inside.syncOptions?.setOption(.autoRead, value: true)
    }

    /// Whether libdqlite still holds its side.
    var isOpen: Bool { inside.isActive }
    /// Whether the peer is connected.
    var isConnected: Bool { outside != nil }

    /// Goes on with a new connection of the peer; one that is still there belongs to a process that is gone.
    func attach(_ channel: any Channel, process: VoteGate.LeaderProcess, address: HostPort) throws {
        let old = outside
        outside = nil
        old?.close(promise: nil)
        peer = process
        self.address = address
        outside = channel
        try channel.pipeline.syncOperations.addHandler(RelayStreamHandler(take: take, ended: outsideEnded))
    }

    private func take(_ message: RelayMessage, on channel: any Channel) throws {
        guard channel === outside else { return }
        switch message {
        case .preface(let bytes):
            try open(Array(bytes.readableBytesView))
        case .raw(let bytes):
            if isReadable {
                isReadable = false
                relay.unreadable(self, "\(address)")
            }
            inside.writeAndFlush(bytes, promise: nil)
        case .frame(let bytes, let sentAt, let wantsPromise):
            guard preface != nil, let frame = bytes.raftFrame else {
                throw RelayMessage.Reader.Failure(description: "not one whole raft frame")
            }
            switch relay.receive(frame, bytes, wantsPromise: wantsPromise, sentAt: sentAt, from: self) {
            case .hand(let acknowledges):
                inside.writeAndFlush(bytes, promise: nil)
                if acknowledges { answer(.said(.acknowledged(term: frame.term, sentAt: sentAt)), on: channel) }
            case .drop: break
            }
        case .said(.silent):
            throw RelayMessage.Reader.Failure(description: "an answer in the wrong direction")
        case .said(let message):
            relay.told(message, by: peer)
        }
    }

    /// Says something on the connection of the peer.
    func answer(_ message: RelayMessage) {
        if let outside { answer(message, on: outside) }
    }

    private func answer(_ message: RelayMessage, on channel: any Channel) {
        var buffer = channel.allocator.buffer(capacity: 24)
        message.write(to: &buffer)
        channel.writeAndFlush(buffer, promise: nil)
    }

    /// The peer says who it is, as libdqlite wants to hear it. The same words again open nothing anew.
    private func open(_ bytes: [UInt8]) throws {
        var parsed = RaftPreface()
        let used = try bytes.withUnsafeBytes { try parsed.consume($0) }
        guard used == bytes.count, let given = parsed.peer, given.id == peer.voter else {
            throw RelayMessage.Reader.Failure(description: "a Connect message of another node")
        }
        let name = relay.introduction(of: peer.voter, as: given.address)
        let words = try RaftPreface.encode(id: peer.voter, address: name)
        if let preface {
            // Under another address libdqlite has to hear it on a connection of its own.
            if preface != words { inside.close(promise: nil) }
            return
        }
        preface = words
        self.name = name
        inside.writeAndFlush(ByteBuffer(bytes: words), promise: nil)
    }

    /// The configuration knows the peer by that address: libdqlite must not know it by another, which may be another member's
    /// by now. The peer connects again at once.
    func rename(_ address: String) {
        if let name, name != address { inside.close(promise: nil) }
    }

    /// Tells the local node to stand, in the leader's name: where its log ended by the newest frame of that term.
    func inject(term: UInt64, _ position: LogPosition) {
        guard isReadable else { return }
        let frame = RaftFrame.timeoutNow(term: term, lastIndex: position.index, lastTerm: position.term)
        inside.writeAndFlush(ByteBuffer(bytes: frame), promise: nil)
    }

    private func outsideEnded(_ channel: any Channel) {
        guard channel === outside else { return }
        outside = nil
        relay.lost(self)
    }

    fileprivate func insideEnded() {
        outside?.close(promise: nil)
        outside = nil
        relay.ended(self)
    }

    fileprivate func insideIsWritable(_ writable: Bool) {
        try? outside?.syncOptions?.setOption(.autoRead, value: writable)
    }

    func close() {
        outside?.close(promise: nil)
        outside = nil
        inside.close(promise: nil)
    }
}

/// The connection to libdqlite, on which nothing ever comes back.
private final class InsideHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let link: InboundLink

    init(link: InboundLink) {
        self.link = link
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        link.insideIsWritable(context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        link.insideEnded()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
