/// Cuts SQL into tokens as SQLite does (sqlite.org/lang_expr.html, lang_comment.html, lang_keywords.html).
///
/// Where SQLite's own rules have odd corners (a parameter name with parentheses, a byte order mark as a blank) it
/// fails instead of following them: a text must never look different to us than to SQLite.
struct SQLTokenizer {
    enum Token: Equatable {
        /// An unquoted name or keyword, its ASCII letters in lower case.
        case word(String)
        /// A name in "…", `…` or […], its ASCII letters in lower case.
        case quotedName(String)
        case text
        case number
        case parameter
        case semicolon
        case symbol(UInt8)
    }

    struct Failure: Error {
        var reason: String
    }

    private let bytes: [UInt8]
    private var position = 0

    init(_ sql: [UInt8]) {
        bytes = sql
    }

    /// The next token; nil at the end.
    mutating func next() throws(Failure) -> Token? {
        try skipBlanks()
        guard let byte = peek() else { return nil }
        switch byte {
        case UInt8(ascii: ";"):
            position += 1
            return .semicolon
        case UInt8(ascii: "'"):
            _ = try quoted(until: byte)
            return .text
        case UInt8(ascii: "\""), UInt8(ascii: "`"):
            return .quotedName(try quoted(until: byte))
        case UInt8(ascii: "["):
            return .quotedName(try bracketed())
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            skip { Self.isNamePart($0) || $0 == UInt8(ascii: ".") }
            return .number
        case UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "$"), UInt8(ascii: "#"):
            return try parameter()
        case _ where Self.isNameStart(byte):
            guard !isByteOrderMark else { throw Failure(reason: "the SQL text has a byte order mark") }
            let start = position
            skip(Self.isNamePart)
            return .word(Self.lowercased(bytes[start..<position]))
        case _ where Self.symbols.contains(byte):
            position += 1
            return .symbol(byte)
        default:
            throw Failure(reason: "the SQL text has the character code \(byte), which is no SQL")
        }
    }

    private mutating func skipBlanks() throws(Failure) {
        while let byte = peek() {
            if Self.blanks.contains(byte) {
                position += 1
            } else if byte == UInt8(ascii: "-"), peek(1) == UInt8(ascii: "-") {
                skip { $0 != UInt8(ascii: "\n") }
            } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                position += 2
                while peek() != UInt8(ascii: "*") || peek(1) != UInt8(ascii: "/") {
                    guard peek() != nil else { throw Failure(reason: "a comment is not closed") }
                    position += 1
                }
                position += 2
            } else {
                return
            }
        }
    }

    /// A quote inside is written twice.
    private mutating func quoted(until quote: UInt8) throws(Failure) -> String {
        let start = position + 1
        position = start
        while let byte = peek() {
            if byte == quote {
                if peek(1) != quote {
                    position += 1
                    return Self.lowercased(bytes[start..<(position - 1)])
                }
                position += 1
            }
            position += 1
        }
        throw Failure(reason: "a quotation is not closed")
    }

    private mutating func bracketed() throws(Failure) -> String {
        let start = position + 1
        skip { $0 != UInt8(ascii: "]") }
        guard peek() != nil else { throw Failure(reason: "a bracket is not closed") }
        position += 1
        return Self.lowercased(bytes[start..<(position - 1)])
    }

    private mutating func parameter() throws(Failure) -> Token {
        position += 1
        skip(Self.isNamePart)
        if peek() == UInt8(ascii: "(") || peek() == UInt8(ascii: ":") {
            throw Failure(reason: "a parameter name must not be followed by a parenthesis or colon")
        }
        return .parameter
    }

    private mutating func skip(_ condition: (UInt8) -> Bool) {
        while let byte = peek(), condition(byte) { position += 1 }
    }

    private func peek(_ offset: Int = 0) -> UInt8? {
        position + offset < bytes.count ? bytes[position + offset] : nil
    }

    private var isByteOrderMark: Bool { peek() == 0xEF && peek(1) == 0xBB && peek(2) == 0xBF }

    private static func isNameStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), 0x80...:
            true
        default: false
        }
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "$"): true
        default: isNameStart(byte)
        }
    }

    private static func lowercased(_ bytes: ArraySlice<UInt8>) -> String {
        String(
            decoding: bytes.lazy.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    private static let blanks: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0C, 0x0D]
    private static let symbols = Set("()*,.=<>+-/%&|~!".utf8)
}
