import Platform

/// An ordinary dqlite client, and bytes that none would send: its own encoder, so that the product's cannot hide a
/// mistake. The layouts are those of dqlite's wire protocol, all numbers little endian.
public final class DqliteWire: Sendable {
    public enum Request: UInt8, Sendable {
        case leader = 0
        case client = 1
        case open = 3
        case prepare = 4
        case exec = 5
        case query = 6
        case execSQL = 8
        case querySQL = 9
        case connect = 11
        case add = 12
        case assign = 13
        case remove = 14
        case dump = 15
        case cluster = 16
        case transfer = 17
        case describe = 18
        case weight = 19
    }

    public struct Answer: Sendable {
        public var type: UInt8
        public var body: [UInt8]
        public var isFailure: Bool { type == 0 }
    }

    public static let version = word(1)

    private let connection: TCPConnection

    /// Connects and sends the protocol version; the node does not answer it.
    ///
    /// `limit`: for the whole life of the connection.
    public init(to address: HostPort, in namespace: Namespace, within limit: Duration = .seconds(3)) throws {
        connection = try TCPConnection(to: address, in: namespace, within: limit)
        try connection.send(Self.version)
    }

    public func call(_ request: Request, _ body: [UInt8] = word(0)) throws -> Answer {
        try connection.send(Self.message(request.rawValue, body))
        return try receive()
    }

    /// Sends bytes as they are, whole messages or not.
    public func send(_ bytes: [UInt8]) throws { try connection.send(bytes) }

    public func receive() throws -> Answer {
        let header = try connection.receive(exactly: 8)
        let words = header[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard words <= 1 << 16 else { throw LabError("an answer of \(words) words") }
        return Answer(type: header[4], body: words == 0 ? [] : try connection.receive(exactly: words * 8))
    }

    public static func message(_ type: UInt8, _ body: [UInt8]) -> [UInt8] {
        header(words: UInt32(body.count / 8), type: type) + body
    }

    public static func header(words: UInt32, type: UInt8) -> [UInt8] {
        withUnsafeBytes(of: words.littleEndian) { Array($0) } + [type, 0, 0, 0]
    }

    public static func word(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

    /// UTF-8, a zero byte, and zeros up to a whole word.
    public static func text(_ text: String) -> [UInt8] {
        padded(Array(text.utf8) + [0])
    }

    /// The body of a QuerySQL on the first database, its parameters bound.
    public static func queryBody(_ sql: String, _ parameters: [Parameter] = []) -> [UInt8] {
        word(0) + text(sql) + tuple(parameters)
    }

    /// A value that is bound to a statement.
    public enum Parameter: Sendable {
        case integer(Int64)
        case text(String)
        case blob([UInt8])
    }

    /// The count, a type for each, zeros up to a whole word, and the values; nothing at all for none.
    private static func tuple(_ parameters: [Parameter]) -> [UInt8] {
        if parameters.isEmpty { return [] }
        let types: [UInt8] = parameters.map {
            switch $0 {
            case .integer: 1
            case .text: 3
            case .blob: 4
            }
        }
        let head = [UInt8(truncatingIfNeeded: types.count)] + types
        return parameters.reduce(padded(head)) { bytes, parameter in
            switch parameter {
            case .integer(let value): bytes + word(UInt64(bitPattern: value))
            case .text(let value): bytes + text(value)
            case .blob(let value): bytes + word(UInt64(value.count)) + padded(value)
            }
        }
    }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] { bytes + [UInt8](repeating: 0, count: -bytes.count & 7) }

    public static func openBody(_ database: String) -> [UInt8] { text(database) + word(0) + text("") }

    /// The text at an offset of a body, and the offset after it.
    public static func readText(_ body: [UInt8], at offset: Int) throws -> (text: String, next: Int) {
        guard offset < body.count, let end = body[offset...].firstIndex(of: 0) else {
            throw LabError("a text without an end at \(offset) of \(body.count) bytes")
        }
        return (String(decoding: body[offset..<end], as: UTF8.self), offset + ((end - offset + 8) & ~7))
    }

    public static func readWord(_ body: [UInt8], at offset: Int) throws -> UInt64 {
        guard offset + 8 <= body.count else { throw LabError("no word at \(offset) of \(body.count) bytes") }
        return body[offset..<(offset + 8)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
