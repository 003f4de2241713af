/// Writes the fields of a dqlite message: little endian, every message body a whole number of 8-byte words.
public struct WireEncoder: Sendable {
    /// The type codes of values in parameter and row tuples.
    enum ValueType: UInt8 {
        case integer = 1
        case float = 2
        case text = 3
        case blob = 4
        case null = 5
        case unixTime = 9
        case iso8601 = 10
        case boolean = 11
    }

    public private(set) var bytes: [UInt8] = []

    public init() {}

    public mutating func integer(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// NUL-terminated and padded with NUL to a word.
    ///
    /// - Throws: `misuse` when the text contains NUL, which would end it early.
    public mutating func text(_ value: String) throws(DqliteError) {
        guard !value.utf8.contains(0) else {
            throw DqliteError(.misuse, "a text with a NUL character cannot be sent", remedy: "send it as a blob")
        }
        bytes.append(contentsOf: value.utf8)
        bytes.append(0)
        pad()
    }

    public mutating func blob(_ value: [UInt8]) {
        integer(UInt64(value.count))
        bytes.append(contentsOf: value)
        pad()
    }

    /// A parameter tuple of schema 0: count, type codes, padding, values. Nothing at all for no parameters.
    ///
    /// - Throws: `misuse` for more than 255 values, for a kind that exists only in answers, and for a NUL in a text.
    public mutating func parameters(_ values: [DqliteValue]) throws(DqliteError) {
        if values.isEmpty { return }
        guard let count = UInt8(exactly: values.count) else {
            throw DqliteError(.misuse, "\(values.count) parameters: a statement takes 255 at most")
        }
        bytes.append(count)
        for value in values {
            switch value {
            case .integer: bytes.append(ValueType.integer.rawValue)
            case .float: bytes.append(ValueType.float.rawValue)
            case .text: bytes.append(ValueType.text.rawValue)
            case .blob: bytes.append(ValueType.blob.rawValue)
            case .null: bytes.append(ValueType.null.rawValue)
            case .boolean: bytes.append(ValueType.boolean.rawValue)
            case .unixTime, .iso8601:
                throw DqliteError(
                    .misuse, "times of the wire protocol cannot be parameters",
                    remedy: "pass an integer or a text instead")
            }
        }
        pad()
        for value in values {
            switch value {
            case .integer(let number), .unixTime(let number): integer(number)
            case .float(let number): integer(number.bitPattern)
            case .text(let string), .iso8601(let string): try text(string)
            case .blob(let content): blob(content)
            case .null: integer(UInt64(0))
            case .boolean(let flag): integer(UInt64(flag ? 1 : 0))
            }
        }
    }

    /// The whole message: header (length in words, type, schema 0, reserved 0) and body.
    ///
    /// - Precondition: none. An empty body is sent as one zero word, because libdqlite 1.11 aborts on length 0.
    public static func message(type: UInt8, body: WireEncoder) throws(DqliteError) -> [UInt8] {
        var body = body
        if body.bytes.isEmpty { body.integer(UInt64(0)) }
        body.pad()
        guard let words = UInt32(exactly: body.bytes.count / 8) else {
            throw DqliteError(.misuse, "a message of \(body.bytes.count) bytes is too long")
        }
        var message = WireEncoder()
        message.bytes.reserveCapacity(8 + body.bytes.count)
        message.integer(words)
        message.integer(type)
        message.integer(UInt8(0))
        message.integer(UInt16(0))
        message.bytes.append(contentsOf: body.bytes)
        return message.bytes
    }

    /// A Failure answer, as a node would send it.
    public static func failure(code: UInt64, message text: String) -> [UInt8] {
        var body = WireEncoder()
        body.integer(code)
        body.bytes.append(contentsOf: text.utf8.lazy.filter { $0 != 0 })
        body.bytes.append(0)
        body.pad()
        var message = WireEncoder()
        message.integer(UInt32(truncatingIfNeeded: body.bytes.count / 8))
        message.integer(UInt32(0))
        message.bytes.append(contentsOf: body.bytes)
        return message.bytes
    }

    /// A Result answer of a statement that has changed nothing, as a node would send it.
    public static func emptyResult() -> [UInt8] {
        var message = WireEncoder()
        message.integer(UInt32(2))
        message.integer(UInt32(6))
        // The newest row id, and how many rows were changed.
        message.integer(UInt64(0))
        message.integer(UInt64(0))
        return message.bytes
    }

    private mutating func pad() {
        while bytes.count % 8 != 0 { bytes.append(0) }
    }
}
