/// Reads the fields of a message body. Total: any bytes give a value or an error.
///
/// A declared length is compared with what is there before anything is allocated for it.
public struct WireDecoder: Sendable {
    private let bytes: [UInt8]
    /// The offset of the next field; never beyond the end.
    private var position = 0

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// How many bytes are left.
    public var remaining: Int { bytes.count - position }

    public mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws(DqliteError) -> T {
        let size = T.bitWidth / 8
        guard remaining >= size else { throw Self.truncated("an integer of \(size) bytes") }
        let value = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: position, as: T.self) }
        position += size
        return T(littleEndian: value)
    }

    public mutating func float() throws(DqliteError) -> Double {
        Double(bitPattern: try integer())
    }

    /// The bytes of a text without its NUL.
    public mutating func textBytes() throws(DqliteError) -> ArraySlice<UInt8> {
        guard let end = bytes[position...].firstIndex(of: 0) else {
            throw DqliteError(.protocolViolation, "a text at offset \(position) of the body has no end")
        }
        let text = bytes[position..<end]
        try skip(padded(text.count + 1), "the padding of a text")
        return text
    }

    /// A text; what is not UTF-8 in it is replaced by U+FFFD.
    public mutating func text() throws(DqliteError) -> String {
        String(decoding: try textBytes(), as: UTF8.self)
    }

    public mutating func blob() throws(DqliteError) -> [UInt8] {
        let content = try raw(try integer(UInt64.self), "a blob")
        try skip(padded(content.count) - content.count, "the padding of a blob")
        return content
    }

    /// `count` bytes without padding.
    public mutating func raw(_ count: UInt64, _ what: String = "a field") throws(DqliteError) -> [UInt8] {
        guard let count = Int(exactly: count), count <= remaining else {
            throw Self.truncated("\(what) of \(count) bytes")
        }
        let content = Array(bytes[position..<(position + count)])
        position += count
        return content
    }

    /// A value of a tuple by its type code.
    public mutating func value(type: UInt8) throws(DqliteError) -> DqliteValue {
        guard let type = WireEncoder.ValueType(rawValue: type) else {
            throw DqliteError(.protocolViolation, "no value has the type code \(type)")
        }
        switch type {
        case .integer: return .integer(try integer())
        case .float: return .float(try float())
        case .text: return .text(try text())
        case .blob: return .blob(try blob())
        case .null:
            try skip(8, "a null")
            return .null
        case .unixTime: return .unixTime(try integer())
        case .iso8601: return .iso8601(try text())
        case .boolean: return .boolean(try integer(UInt64.self) != 0)
        }
    }

    /// A parameter tuple of schema 0; empty when the body has ended.
    ///
    /// - Throws: also for the codes that a node does not take as parameters.
    public mutating func parameters() throws(DqliteError) -> [DqliteValue] {
        if remaining == 0 { return [] }
        let count = Int(try integer(UInt8.self))
        guard count > 0 else { throw DqliteError(.protocolViolation, "a parameter tuple without parameters") }
        let types = try raw(UInt64(count), "the types of \(count) parameters")
        try skip(padded(1 + count) - 1 - count, "the padding of the types")
        var values: [DqliteValue] = []
        values.reserveCapacity(count)
        for type in types {
            guard type != WireEncoder.ValueType.unixTime.rawValue else {
                throw DqliteError(.protocolViolation, "the type code \(type) cannot be a parameter")
            }
            values.append(try value(type: type))
        }
        return values
    }

    /// The body of one Rows message: columns, rows, and whether another message follows.
    public mutating func rows() throws(DqliteError) -> (rows: DqliteRows, isLast: Bool) {
        let count = try integer(UInt64.self)
        // Each column name takes a word at least.
        guard count <= UInt64(remaining / 8) else { throw Self.truncated("the names of \(count) columns") }
        var result = DqliteRows(columns: [], rows: [])
        for _ in 0..<count { result.columns.append(try text()) }
        let columns = result.columns.count
        let headerLength = padded((columns + 1) / 2)
        while true {
            let word = try integer(UInt64.self)
            if word == .max { return (result, true) }
            if word == 0xEEEE_EEEE_EEEE_EEEE { return (result, false) }
            guard columns > 0 else { throw DqliteError(.protocolViolation, "a row without columns") }
            position -= 8
            let header = try raw(UInt64(headerLength), "the header of a row")
            var row: [DqliteValue] = []
            row.reserveCapacity(columns)
            for column in 0..<columns {
                let pair = header[column / 2]
                row.append(try value(type: column % 2 == 0 ? pair & 0x0F : pair >> 4))
            }
            result.rows.append(row)
        }
    }

    /// - Throws: when anything is left.
    public func end() throws(DqliteError) {
        guard remaining == 0 else {
            throw DqliteError(.protocolViolation, "\(remaining) bytes follow the last field")
        }
    }

    private mutating func skip(_ count: Int, _ what: @autoclosure () -> String) throws(DqliteError) {
        guard count <= remaining else { throw Self.truncated(what()) }
        position += count
    }

    private static func truncated(_ what: String) -> DqliteError {
        DqliteError(.protocolViolation, "the body ends inside \(what)")
    }
}

/// `count` rounded up to whole words. Counts come from arrays in memory, so they are far from overflow.
private func padded(_ count: Int) -> Int { (count + 7) & ~7 }
