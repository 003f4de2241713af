import NIOCore

/// What passes between two nodes of ours on the cluster port before, or instead of, dqlite's own bytes.
///
/// A connection to the cluster port begins with eight bytes. dqlite's protocol word (1, little endian) makes it a
/// dqlite client; `magic` makes it a peer. A peer then sends frames: a length of four bytes, big endian, and as many
/// bytes of JSON. The answer to a raft handshake is the last frame: after it the connection carries raft, unframed.
enum PeerProtocol {
    /// "DQVIP", two zero bytes, and the version of the peer protocol.
    static let magic: [UInt8] = Array("DQVIP".utf8) + [0, 0, 1]
    /// dqlite's protocol word, DQLITE_PROTOCOL_VERSION.
    static let dqliteWord: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
    /// The protocol word of dqlite before 1.0, which some clients still send.
    static let dqliteLegacyWord: [UInt8] = [0xE5, 0x3F, 0x43, 0x60, 0xD7, 0x4D, 0x10, 0x86]
    /// The longest frame that is read or written, in bytes.
    static let frameLimit = 256 * 1024
    /// The longest that is read of who is no member: a hello with all that it may list.
    static let strangersFrameLimit = 16 * 1024

    /// What the first eight bytes of a connection say that it is.
    enum Opening: Equatable {
        case peer
        case dqliteClient(word: [UInt8])
        /// Somebody pasted the cluster's address where the API's belongs: worth a plain answer.
        case http
        case unknown
    }

    static func opening(of first: [UInt8]) -> Opening {
        if first == magic { return .peer }
        if first == dqliteWord || first == dqliteLegacyWord { return .dqliteClient(word: first) }
        let text = String(decoding: first, as: UTF8.self)
        let methods = ["GET ", "PUT ", "POST ", "DELETE ", "HEAD ", "OPTIONS ", "PATCH ", "CONNECT "]
        return methods.contains { text.hasPrefix($0) } ? .http : .unknown
    }
}

/// Cuts the byte stream of a peer into the JSON of its frames.
struct PeerFrameReader {
    /// A frame that is longer than anything a node of ours sends.
    struct FrameTooLong: Error, CustomStringConvertible {
        var length: UInt32
        var limit: Int
        var description: String { "a frame of \(length) bytes is longer than \(limit)" }
    }

    private let limit: Int
    private var buffer = ByteBuffer()

    /// - Parameter limit: the longest frame, in bytes.
    init(limit: Int = PeerProtocol.frameLimit) {
        self.limit = limit
    }

    mutating func append(_ bytes: ByteBuffer) {
        buffer.writeImmutableBuffer(bytes)
    }

    /// The next whole frame, or nil while it has not arrived.
    mutating func next() throws(FrameTooLong) -> [UInt8]? {
        guard let length: UInt32 = buffer.getInteger(at: buffer.readerIndex) else { return nil }
        guard length <= UInt32(clamping: limit) else { throw FrameTooLong(length: length, limit: limit) }
        guard buffer.readableBytes >= 4 + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        let frame = buffer.readBytes(length: Int(length))
        buffer.discardReadBytes()
        return frame
    }
}

extension ByteBuffer {
    /// A frame: the length, then the bytes.
    init(peerFrame json: [UInt8]) {
        self.init()
        reserveCapacity(4 + json.count)
        writeInteger(UInt32(json.count))
        writeBytes(json)
    }
}
