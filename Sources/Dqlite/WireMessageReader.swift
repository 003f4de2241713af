import NIOCore

/// Cuts the byte stream from a node into messages.
struct WireMessageReader {
    /// The longest body accepted, in bytes.
    let limit: Int
    private var buffer = ByteBuffer()

    init(limit: Int) {
        self.limit = limit
    }

    mutating func append(_ bytes: ByteBuffer) {
        var bytes = bytes
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.discardReadBytes()
            buffer.writeBuffer(&bytes)
        }
    }

    /// The next whole message; nil while it is not all there.
    ///
    /// - Throws: `protocolViolation` for a length beyond the limit, before that many bytes are waited for.
    mutating func next() throws(DqliteError) -> WireMessage? {
        guard let words = buffer.getInteger(at: buffer.readerIndex, endianness: .little, as: UInt32.self),
            let type = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt8.self),
            buffer.readableBytes >= 8
        else { return nil }
        let length = Int(words) * 8
        guard length <= limit else {
            throw DqliteError(
                .protocolViolation, "a message of \(length) bytes is longer than the limit of \(limit)")
        }
        guard buffer.readableBytes >= 8 + length else { return nil }
        buffer.moveReaderIndex(forwardBy: 8)
        return WireMessage(type: type, body: buffer.readBytes(length: length) ?? [])
    }
}
