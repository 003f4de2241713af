package import Platform

/// A value that nobody can foresee, fresh in each question and given back in its answers. It is what makes an answer that
/// was recorded earlier worthless, without clocks.
package struct MulticastNonce: Hashable, Sendable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    init(using random: inout some RandomNumberGenerator) {
        self.init(high: random.next(), low: random.next())
    }
}

/// One node as its answers describe it.
package struct MulticastRecord: Hashable, Sendable {
    /// The node's UUID, as on its disk: 1...64 bytes.
    package var nodeID: String
    /// Where peers reach its cluster port.
    package var address: HostPort
    /// The node's name for people: at most 64 bytes, may be empty.
    package var name: String
    /// The cluster it belongs to, at most 64 bytes; nil before it has one.
    package var clusterID: String?

    package init(nodeID: String, address: HostPort, name: String, clusterID: String?) {
        self.nodeID = nodeID
        self.address = address
        self.name = name
        self.clusterID = clusterID
    }
}

/// What a datagram says.
package enum MulticastMessage: Hashable, Sendable {
    /// "Who is there?" The id is that of the asking node; empty for one that is none, as `discover` is.
    case question(nonce: MulticastNonce, nodeID: String)
    /// "I am", to all whose nonces it has: 1...16.
    case answer(nonces: [MulticastNonce], MulticastRecord)
    /// "I heard you and may not believe you": lets the sender of datagrams with another secret learn that, too.
    case notice

    /// A datagram has room for so many; with all else at its longest it stays below the 1280 bytes that each IPv6 link
    /// carries (RFC 8200 section 5).
    package static let maximumNonces = 16
}

/// Which datagram cannot be understood, and why.
package enum MulticastDatagramFault: Error, Hashable, Sendable {
    /// Another protocol, or another version of this one.
    case foreign
    /// The reason in words.
    case malformed(String)
}

/// The first 24 bytes of a datagram.
package struct MulticastHeader: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable {
        case question = 1
        case answer = 2
        case notice = 3
    }

    package var kind: Kind
    /// Whether an HMAC-SHA256 of all bytes before it ends the datagram.
    package var isAuthenticated: Bool
    /// 16 bytes that stand for the `--disco-key`.
    package var keyDigest: [UInt8]
}

/// The datagrams of multicast discovery. All numbers are in network byte order; a text is its length in a byte, then UTF-8
/// without control characters.
///
///      0  "dqvm"
///      4  version, 1
///      5  kind: 1 question, 2 answer, 3 notice
///      6  authentication: 0 none, 1 HMAC-SHA256
///      7  0
///      8  digest of the disco key, 16 bytes
///     24  question: nonce (16 bytes), node id or empty text
///         answer:   number of nonces, nonces; node id, cluster address, name, cluster id or empty text
///         notice:   nothing
///     end HMAC-SHA256 of all before it (32 bytes), when authentication says so
///
/// Every datagram has exactly one encoding. Decoding takes any bytes.
package enum MulticastDatagram {
    static let magic: [UInt8] = Array("dqvm".utf8)
    static let version: UInt8 = 1
    static let headerLength = 24
    static let digestLength = 16
    static let codeLength = 32
    static let maximumName = 64
    static let maximumIdentifier = 64
    /// A DNS name of 253 bytes, a colon and a port.
    static let maximumAddress = 255
    /// Above the longest datagram, so that one that fills the receive buffer is known to be none.
    package static let receiveCapacity = 1280

    /// The datagram but for its authentication code; nil when a text is too long or has characters that none may have.
    package static func encode(
        _ message: MulticastMessage, keyDigest: [UInt8], isAuthenticated: Bool
    ) -> [UInt8]? {
        var bytes = magic + [version, 0, isAuthenticated ? 1 : 0, 0] + keyDigest
        switch message {
        case .question(let nonce, let nodeID):
            bytes[5] = MulticastHeader.Kind.question.rawValue
            append(nonce, to: &bytes)
            guard append(nodeID, atMost: maximumIdentifier, to: &bytes) else { return nil }
        case .answer(let nonces, let record):
            guard (1...MulticastMessage.maximumNonces).contains(nonces.count), fault(of: record.address) == nil,
                !record.nodeID.isEmpty, record.clusterID != ""
            else { return nil }
            bytes[5] = MulticastHeader.Kind.answer.rawValue
            bytes.append(UInt8(nonces.count))
            for nonce in nonces { append(nonce, to: &bytes) }
            guard append(record.nodeID, atMost: maximumIdentifier, to: &bytes),
                append(record.address.description, atMost: maximumAddress, to: &bytes),
                append(record.name, atMost: maximumName, to: &bytes),
                append(record.clusterID ?? "", atMost: maximumIdentifier, to: &bytes)
            else { return nil }
        case .notice:
            bytes[5] = MulticastHeader.Kind.notice.rawValue
        }
        return bytes
    }

    private static func append(_ nonce: MulticastNonce, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: (nonce.high.bigEndian, nonce.low.bigEndian)) { bytes.append(contentsOf: $0) }
    }

    private static func append(_ text: String, atMost limit: Int, to bytes: inout [UInt8]) -> Bool {
        guard text.utf8.count <= limit, text.unicodeScalars.allSatisfy(isAllowed) else { return false }
        bytes.append(UInt8(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
        return true
    }

    /// These texts reach logs and terminals: no line ends, no escapes, nothing that turns the direction of writing.
    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    /// A name as it may stand in a record: without what none may have, cut to its longest.
    static func name(from text: String) -> String {
        var name = String(String.UnicodeScalarView(text.unicodeScalars.filter(isAllowed)))
        while name.utf8.count > maximumName { name.removeLast() }
        return name
    }

    /// Why nobody could connect to an address; nil when one could.
    static func fault(of address: HostPort) -> String? {
        guard let ip = address.address else { return nil }
        return ip.isUnspecified || ip.isMulticast || ip.isLimitedBroadcast ? "\(address) is no host's address" : nil
    }

    /// Reads the first 24 bytes, and sees that there is an authentication code when they say so.
    package static func header(of bytes: [UInt8]) throws(MulticastDatagramFault) -> MulticastHeader {
        guard bytes.count >= 5, bytes.starts(with: magic), bytes[4] == version else { throw .foreign }
        guard bytes.count >= headerLength else { throw .malformed("\(bytes.count) bytes are no header") }
        guard let kind = MulticastHeader.Kind(rawValue: bytes[5]) else { throw .malformed("kind \(bytes[5])") }
        guard bytes[6] <= 1, bytes[7] == 0 else { throw .malformed("authentication \(bytes[6]), reserved \(bytes[7])") }
        guard bytes[6] == 0 || bytes.count >= headerLength + codeLength else {
            throw .malformed("\(bytes.count) bytes have no room for the authentication code")
        }
        return MulticastHeader(
            kind: kind, isAuthenticated: bytes[6] == 1, keyDigest: Array(bytes[8..<headerLength]))
    }

    /// Reads a whole datagram. Whether its authentication code is right is not looked at: see `MulticastSeal`.
    package static func decode(
        _ bytes: [UInt8]
    ) throws(MulticastDatagramFault) -> (header: MulticastHeader, message: MulticastMessage) {
        let header = try header(of: bytes)
        var reader = Reader(bytes[headerLength..<(bytes.count - (header.isAuthenticated ? codeLength : 0))])
        let message: MulticastMessage
        switch header.kind {
        case .question:
            message = .question(nonce: try reader.nonce(), nodeID: try reader.text(atMost: maximumIdentifier))
        case .answer:
            let count = Int(try reader.byte())
            guard (1...MulticastMessage.maximumNonces).contains(count) else { throw .malformed("\(count) nonces") }
            var nonces: [MulticastNonce] = []
            for _ in 0..<count { nonces.append(try reader.nonce()) }
            message = .answer(nonces: nonces, try reader.record())
        case .notice:
            message = .notice
        }
        guard reader.rest.isEmpty else { throw .malformed("\(reader.rest.count) bytes too many") }
        return (header, message)
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

        mutating func take(_ count: Int) throws(MulticastDatagramFault) -> ArraySlice<UInt8> {
            guard rest.count >= count else { throw .malformed("it ends \(count - rest.count) bytes too early") }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }

        mutating func byte() throws(MulticastDatagramFault) -> UInt8 {
            guard let byte = try take(1).first else { throw .malformed("it ends too early") }
            return byte
        }

        mutating func nonce() throws(MulticastDatagramFault) -> MulticastNonce {
            let bytes = try take(16)
            func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
            return MulticastNonce(high: number(bytes.prefix(8)), low: number(bytes.suffix(8)))
        }

        mutating func text(atMost limit: Int) throws(MulticastDatagramFault) -> String {
            let length = Int(try byte())
            guard length <= limit else { throw .malformed("a text of \(length) bytes where \(limit) are the limit") }
            guard let text = String(validating: try take(length), as: UTF8.self) else {
                throw .malformed("a text that is not UTF-8")
            }
            guard text.unicodeScalars.allSatisfy(isAllowed) else {
                throw .malformed("a text with control characters")
            }
            return text
        }

        mutating func record() throws(MulticastDatagramFault) -> MulticastRecord {
            let nodeID = try text(atMost: maximumIdentifier)
            guard !nodeID.isEmpty else { throw .malformed("the node id is empty") }
            let address = try address()
            let name = try text(atMost: maximumName)
            let clusterID = try text(atMost: maximumIdentifier)
            return MulticastRecord(
                nodeID: nodeID, address: address, name: name, clusterID: clusterID.isEmpty ? nil : clusterID)
        }

        private mutating func address() throws(MulticastDatagramFault) -> HostPort {
            let text = try text(atMost: maximumAddress)
            let address: HostPort
            do throws(HostPort.ParseError) {
                address = try HostPort(parsing: text)
            } catch {
                throw .malformed(error.description)
            }
            guard address.description == text else { throw .malformed("\"\(text)\" is written in an unusual way") }
            if let fault = fault(of: address) { throw .malformed(fault) }
            return address
        }
    }
}
