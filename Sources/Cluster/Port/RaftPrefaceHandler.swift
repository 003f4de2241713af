import Dqlite
import NIOCore

/// Lets a peer's connection into libdqlite only when it begins as raft does, and under the id that the peer has given.
///
/// Without it whoever speaks the peer protocol could send any client request after the handshake, past the vetting.
final class RaftPrefaceHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let peer: DqliteNodeID
    private var preface = RaftPreface()

    init(peer: DqliteNodeID) {
        self.peer = peer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if preface.peer != nil { return context.fireChannelRead(data) }
        var bytes = unwrapInboundIn(data)
        do {
            let used = try bytes.withUnsafeReadableBytes { try preface.consume($0) }
            guard let sender = preface.peer else { return }
            guard sender.id == peer else { return context.close(promise: nil) }
            bytes.moveReaderIndex(forwardBy: used)
            var whole = ByteBuffer(bytes: preface.bytes)
            whole.writeBuffer(&bytes)
            context.fireChannelRead(wrapInboundOut(whole))
        } catch {
            context.close(promise: nil)
        }
    }
}
