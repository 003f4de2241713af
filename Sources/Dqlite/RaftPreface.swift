/// What opens a raft peer connection: the protocol word and the Connect message of the dialling node.
///
/// The receiver takes the sender's id from here and from nowhere else.
public struct RaftPreface: Sendable {
    /// An address of this length or more is refused, as no node has one.
    private static let bodyLimit = 1024

    /// All bytes consumed so far: what has to be written to a node to open the same connection again.
    public private(set) var bytes: [UInt8] = []
    /// The dialling node, once the preface is complete.
    public private(set) var peer: (id: DqliteNodeID, address: String)?
    private let prefix: Int

    /// `hasProtocolWord` is false when the caller has consumed the first eight bytes of the stream itself.
    public init(hasProtocolWord: Bool = true) {
        prefix = hasProtocolWord ? 8 : 0
    }

    /// Takes in the next bytes of the stream.
    ///
    /// - Returns: how many bytes belonged to the preface; the rest are raft frames. `peer` tells when it is complete.
    /// - Throws: `protocolViolation` when this is not the beginning of a raft connection.
    public mutating func consume(_ input: UnsafeRawBufferPointer) throws(DqliteError) -> Int {
        var used = 0
        while peer == nil, used < input.count {
            // Never beyond the next length that is known: the bytes behind belong to somebody else.
            let count = min(try wanted() - bytes.count, input.count - used)
            bytes.append(contentsOf: input[used..<(used + count)])
            used += count
            if try wanted() == bytes.count { try complete() }
        }
        return used
    }

    /// The preface that the node with this id and address writes.
    public static func encode(id: DqliteNodeID, address: String) throws(DqliteError) -> [UInt8] {
        var word = WireEncoder()
        word.integer(WireRequest.protocolVersion)
        return word.bytes + (try WireRequest.connect(id: id, address: address).encoded())
    }

    /// How many bytes there will be at least, by what the bytes so far say.
    private func wanted() throws(DqliteError) -> Int {
        let header = prefix + 8
        guard bytes.count >= header else { return header }
        var decoder = WireDecoder(Array(bytes))
        if prefix == 8, try decoder.integer(UInt64.self) != WireRequest.protocolVersion {
            throw DqliteError(.protocolViolation, "the connection does not begin with protocol version 1")
        }
        let words = try decoder.integer(UInt32.self)
        let type = try decoder.integer(UInt8.self)
        guard type == WireRequest.MessageType.connect.rawValue else {
            throw DqliteError(.protocolViolation, "the first message is of type \(type), not a Connect (11)")
        }
        guard words >= 2, words <= Self.bodyLimit / 8 else {
            throw DqliteError(.protocolViolation, "a Connect message of \(words) words")
        }
        return header + Int(words) * 8
    }

    private mutating func complete() throws(DqliteError) {
        var body = WireDecoder(Array(bytes[(prefix + 8)...]))
        let id = try body.integer(UInt64.self)
        let address = try body.text()
        try body.end()
        guard id != 0 else { throw DqliteError(.protocolViolation, "a Connect message with node id 0") }
        peer = (id, address)
    }
}
