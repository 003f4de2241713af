import Lease
import NIOCore
import Platform

/// What two relays say to each other on a connection that carries one direction of raft, after the handshake.
///
/// Each message has a head of 24 bytes, little endian: length of the body (u32), kind (u8), flags (u8), two zero bytes, and
/// two words. The body of a frame is raft's own, untouched.
enum RelayMessage: Equatable {
    /// The first message: what libdqlite wrote to open the connection (`RaftPreface`).
    case preface(ByteBuffer)
    /// One whole raft frame. `sentAt` is the sender's clock and means something to the sender alone.
    case frame(ByteBuffer, sentAt: BootInstant, wantsPromise: Bool)
    /// Bytes of a stream that cannot be read as frames.
    case raw(ByteBuffer)
    /// What relays say of leases and elections. An acknowledgement and `silent` come from the node that was dialled; an
    /// acknowledgement also from the node that dials, with its node's answer.
    case said(PeerMessage)

    init(_ message: PeerMessage) { self = .said(message) }

    private enum Kind: UInt8 {
        case preface = 1
        case frame
        case raw
        case released
        case acknowledged
        case asked
        case silent
        case stands
        case declined
    }

    /// Longer than any snapshot of our small database; libraft sends one in one frame.
    static let bodyLimit = 64 << 20
    private static let headLength = 24

    func write(to buffer: inout ByteBuffer) {
        switch self {
        case .preface(let bytes): Self.write(.preface, body: bytes, to: &buffer)
        case .frame(let bytes, let sentAt, let wantsPromise):
            Self.write(.frame, flags: wantsPromise ? 1 : 0, sentAt.nanoseconds, body: bytes, to: &buffer)
        case .raw(let bytes): Self.write(.raw, body: bytes, to: &buffer)
        case .said(.released(let sentAt, let successor)):
            Self.write(.released, sentAt.nanoseconds, successor ?? 0, to: &buffer)
        case .said(.acknowledged(let term, let sentAt)):
            Self.write(.acknowledged, sentAt.nanoseconds, term, to: &buffer)
        case .said(.asked(let term, let sentAt)): Self.write(.asked, sentAt.nanoseconds, term, to: &buffer)
        case .said(.silent(let term)): Self.write(.silent, 0, term, to: &buffer)
        case .said(.stands(let term)): Self.write(.stands, 0, term, to: &buffer)
        case .said(.declined(let term)): Self.write(.declined, 0, term, to: &buffer)
        }
    }

    private static func write(
        _ kind: Kind, flags: UInt8 = 0, _ first: Int64 = 0, _ second: UInt64 = 0, body: ByteBuffer = ByteBuffer(),
        to buffer: inout ByteBuffer
    ) {
        buffer.writeInteger(UInt32(body.readableBytes), endianness: .little)
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(flags)
        buffer.writeInteger(UInt16(0))
        buffer.writeInteger(first, endianness: .little)
        buffer.writeInteger(second, endianness: .little)
        buffer.writeImmutableBuffer(body)
    }

    /// Cuts a stream into messages.
    struct Reader {
        /// Why a stream is none of messages.
        struct Failure: Error, CustomStringConvertible {
            var description: String
        }

        private var buffer = ByteBuffer()

        mutating func append(_ bytes: ByteBuffer) {
            if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeImmutableBuffer(bytes) }
        }

        /// The next whole message; nil while it has not arrived.
        mutating func next() throws(Failure) -> RelayMessage? {
            guard buffer.readableBytes >= headLength,
                let length = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self)
            else { return nil }
            guard length <= UInt32(bodyLimit) else { throw Failure(description: "a message of \(length) bytes") }
            guard buffer.readableBytes >= headLength + Int(length) else { return nil }
            guard var head = buffer.readSlice(length: headLength), let body = buffer.readSlice(length: Int(length))
            else { return nil }
            defer { if buffer.readableBytes == 0 { buffer = ByteBuffer() } else { buffer.discardReadBytes() } }
            return try RelayMessage(head: &head, body: body)
        }
    }

    private init(head: inout ByteBuffer, body: ByteBuffer) throws(Reader.Failure) {
        head.moveReaderIndex(forwardBy: 4)
        let number = head.readInteger(as: UInt8.self) ?? 0
        let flags = head.readInteger(as: UInt8.self) ?? 0
        head.moveReaderIndex(forwardBy: 2)
        let first = BootInstant(nanoseconds: head.readInteger(endianness: .little) ?? 0)
        let second: UInt64 = head.readInteger(endianness: .little) ?? 0
        switch Kind(rawValue: number) {
        case .preface: self = .preface(body)
        case .frame: self = .frame(body, sentAt: first, wantsPromise: flags & 1 != 0)
        case .raw: self = .raw(body)
        case .released: self = .said(.released(upTo: first, successor: second == 0 ? nil : second))
        case .acknowledged: self = .said(.acknowledged(term: second, sentAt: first))
        case .asked: self = .said(.asked(term: second, sentAt: first))
        case .silent: self = .said(.silent(term: second))
        case .stands: self = .said(.stands(term: second))
        case .declined: self = .said(.declined(term: second))
        case nil: throw Reader.Failure(description: "a message of the unknown kind \(number)")
        }
    }
}
