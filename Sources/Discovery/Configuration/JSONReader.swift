/// Reads a JSON text (RFC 8259) whose outermost value is an object, and says where and why it is none.
///
/// Foundation's decoder repeats parts of the text in its errors, and takes a field that is there twice without a word.
struct JSONReader {
    /// Why it is no JSON; never what stands there.
    struct Fault: Error, Hashable {
        /// Of the byte that should not be there; the number of bytes when some are missing.
        var offset: Int
        var reason: String
    }

    /// How deep objects and lists may be nested.
    static let mostDepth = 32

    private let bytes: [UInt8]
    private var index = 0

    private init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    static func object(in bytes: [UInt8]) throws(Fault) -> [String: JSONValue] {
        var reader = JSONReader(bytes)
        reader.skipWhitespace()
        guard reader.next == UInt8(ascii: "{") else {
            throw reader.fault(
                bytes.isEmpty ? "it is empty: give an object in braces" : "an object in braces is expected")
        }
        let object = try reader.object(depth: 1)
        reader.skipWhitespace()
        guard reader.next == nil else { throw reader.fault("something stands behind the closing brace") }
        return object
    }

    static func isWhitespace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    private func fault(_ reason: String) -> Fault {
        Fault(offset: index, reason: index < bytes.count || bytes.isEmpty ? reason : "it ends too early: " + reason)
    }

    private mutating func skipWhitespace() {
        while let byte = next, Self.isWhitespace(byte) { index += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    private mutating func value(depth: Int) throws(Fault) -> JSONValue {
        let expected = "a value is expected: a text in double quotes, a number, true, false, null, { or ["
        guard let next else { throw fault(expected) }
        switch next {
        case UInt8(ascii: "{"): return .object(try object(depth: depth + 1))
        case UInt8(ascii: "["): return .array(try array(depth: depth + 1))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default:
            for (word, value) in [("true", JSONValue.bool(true)), ("false", .bool(false)), ("null", .null)]
            where bytes[index...].starts(with: word.utf8) {
                index += word.utf8.count
                return value
            }
            throw fault(expected)
        }
    }

    private mutating func object(depth: Int) throws(Fault) -> [String: JSONValue] {
        try checkDepth(depth)
        index += 1
        var object: [String: JSONValue] = [:]
        skipWhitespace()
        if take("}") { return object }
        while true {
            skipWhitespace()
            guard next == UInt8(ascii: "\"") else { throw fault("the name of a field in double quotes is expected") }
            let start = index
            let name = try string()
            skipWhitespace()
            guard take(":") else { throw fault("a colon is expected after the name of a field") }
            skipWhitespace()
            guard object.updateValue(try value(depth: depth), forKey: name) == nil else {
                throw Fault(offset: start, reason: "a field of this name is there already: keep one")
            }
            skipWhitespace()
            if take("}") { return object }
            guard take(",") else { throw fault("a comma or a closing brace is expected") }
        }
    }

    private mutating func array(depth: Int) throws(Fault) -> [JSONValue] {
        try checkDepth(depth)
        index += 1
        var array: [JSONValue] = []
        skipWhitespace()
        if take("]") { return array }
        while true {
            skipWhitespace()
            array.append(try value(depth: depth))
            skipWhitespace()
            if take("]") { return array }
            guard take(",") else { throw fault("a comma or a closing bracket is expected") }
        }
    }

    private func checkDepth(_ depth: Int) throws(Fault) {
        if depth > Self.mostDepth { throw fault("objects and lists are nested more than \(Self.mostDepth) deep") }
    }

    private mutating func string() throws(Fault) -> String {
        index += 1
        var content: [UInt8] = []
        let start = index
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw Fault(offset: start, reason: "the text that begins here is not UTF-8")
                }
                index += 1
                return text
            case UInt8(ascii: "\\"): try appendEscape(to: &content)
            case 0..<0x20:
                throw fault("a text has a line end or another control character in it: close it, or write \\n")
            default:
                content.append(byte)
                index += 1
            }
        }
        throw fault("a text in double quotes is not closed")
    }

    private mutating func appendEscape(to content: inout [UInt8]) throws(Fault) {
        let start = index
        index += 1
        let byte: UInt8
        switch next {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): byte = bytes[index]
        case UInt8(ascii: "b"): byte = 0x08
        case UInt8(ascii: "f"): byte = 0x0C
        case UInt8(ascii: "n"): byte = 0x0A
        case UInt8(ascii: "r"): byte = 0x0D
        case UInt8(ascii: "t"): byte = 0x09
        case UInt8(ascii: "u"):
            index += 1
            guard let scalar = unicodeEscape() else {
                throw Fault(offset: start, reason: "\\u is not followed by the four hexadecimal digits of a character")
            }
            content += Array(String(scalar).utf8)
            return
        case nil: throw fault("a text in double quotes is not closed")
        default:
            throw Fault(
                offset: start, reason: "a backslash stands before a character that has no such form: write it twice")
        }
        content.append(byte)
        index += 1
    }

    /// The four digits after `\u`, and those of a second half when the first is the first of a surrogate pair.
    private mutating func unicodeEscape() -> Unicode.Scalar? {
        guard let first = fourDigits() else { return nil }
        guard 0xD800...0xDBFF ~= first else { return Unicode.Scalar(first) }
        guard bytes[index...].starts(with: "\\u".utf8) else { return nil }
        index += 2
        guard let second = fourDigits(), 0xDC00...0xDFFF ~= second else { return nil }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    }

    private mutating func fourDigits() -> UInt32? {
        guard index + 4 <= bytes.count else { return nil }
        var value: UInt32 = 0
        for byte in bytes[index..<index + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else { return nil }
            value = value << 4 + UInt32(digit)
        }
        index += 4
        return value
    }

    private mutating func number() throws(Fault) -> JSONValue {
        let start = index
        let bad = Fault(offset: start, reason: "this is no number as JSON has them")
        _ = take("-")
        if !take("0"), !skipDigits() { throw bad }
        var isWhole = true
        if take(".") {
            isWhole = false
            if !skipDigits() { throw bad }
        }
        if take("e") || take("E") {
            isWhole = false
            if !take("+") { _ = take("-") }
            if !skipDigits() { throw bad }
        }
        // "01", "1x": what follows a number is never part of another value.
        if let byte = next, !Self.isWhitespace(byte), !",]}".utf8.contains(byte) { throw bad }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isWhole, let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw bad }
        return .number(number)
    }

    private mutating func skipDigits() -> Bool {
        let start = index
        while let byte = next, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { index += 1 }
        return index > start
    }
}
