/// A JSON text with its environment variables replaced, which still knows where each byte came from.
///
/// `$NAME` and `${NAME}` stand for the value of the variable; `$$` is a dollar; a dollar before anything else stays one.
/// Inside a JSON string the value is escaped, so that quotes and backslashes in it are text; elsewhere it is put in as it
/// is, so that `"port": $PORT` gives a number. Values are not expanded again.
struct ExpandedText {
    private(set) var bytes: [UInt8] = []
    private let original: [UInt8]
    private var pieces: [Piece] = []

    /// A run of bytes of one origin.
    private struct Piece {
        /// Where it begins in `bytes` and in the original; that of the dollar for the value of a variable.
        var start: Int
        var origin: Int
        var variable: String?
    }

    /// - Throws: `ConfigurationFault` that names each variable that is not set and each `${` without a name and a brace, or
    ///   says that the text is longer than `limit` bytes.
    init(_ text: [UInt8], environment: [String: String], limit: Int) throws(ConfigurationFault) {
        original = text
        var faults: [String] = []
        var unset: Set<String> = []
        var isInString = false
        var index = 0
        var copied = 0
        pieces = [Piece(start: 0, origin: 0, variable: nil)]
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\\") where isInString: index += 2
            case UInt8(ascii: "\""):
                isInString.toggle()
                index += 1
            case UInt8(ascii: "$"):
                let dollar = index
                switch Self.reference(in: text, at: dollar) {
                case .none: index += 1
                case .dollar:
                    copy(from: copied, to: dollar + 1)
                    (index, copied) = (dollar + 2, dollar + 2)
                case .unclosed:
                    faults.append(
                        "\(Self.place(of: dollar, in: text)): after \"${\" stands no name with a closing brace: write "
                            + "${NAME}, or $$ for a dollar")
                    index += 2
                case .variable(let name, let end):
                    copy(from: copied, to: dollar)
                    if let value = environment[name] {
                        pieces.append(Piece(start: bytes.count, origin: dollar, variable: name))
                        if isInString { appendEscaped(value) } else { bytes += value.utf8 }
                    } else if unset.insert(name).inserted {
                        faults.append(
                            "\(Self.place(of: dollar, in: text)): the environment variable \(name) is not set: set it, "
                                + "or write $$ for a dollar")
                    }
                    (index, copied) = (end, end)
                }
            default: index += 1
            }
            // Before a short text with long variables has filled the memory.
            guard bytes.count <= limit else { break }
        }
        copy(from: copied, to: text.count)
        guard faults.isEmpty else { throw ConfigurationFault(faults) }
        guard bytes.count <= limit else {
            throw ConfigurationFault(["with its variables it has more than \(limit) bytes"])
        }
    }

    private mutating func copy(from start: Int, to end: Int) {
        guard start < end else { return }
        pieces.append(Piece(start: bytes.count, origin: start, variable: nil))
        bytes += original[start..<end]
    }

    /// RFC 8259 section 7.
    private mutating func appendEscaped(_ value: String) {
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20: bytes += "\\u00\(byte < 0x10 ? "0" : "")\(String(byte, radix: 16))".utf8
            default: bytes.append(byte)
            }
        }
    }

    private enum Reference {
        case none, dollar, unclosed
        case variable(String, end: Int)
    }

    private static func reference(in text: [UInt8], at dollar: Int) -> Reference {
        let next = dollar + 1
        guard next < text.count else { return .none }
        if text[next] == UInt8(ascii: "$") { return .dollar }
        let isBraced = text[next] == UInt8(ascii: "{")
        let start = isBraced ? next + 1 : next
        var end = start
        while end < text.count, isNameByte(text[end], first: end == start) { end += 1 }
        let name = String(decoding: text[start..<end], as: UTF8.self)
        guard isBraced else { return name.isEmpty ? .none : .variable(name, end: end) }
        guard !name.isEmpty, end < text.count, text[end] == UInt8(ascii: "}") else { return .unclosed }
        return .variable(name, end: end + 1)
    }

    /// The names of IEEE Std 1003.1, section 3.216: letters, digits and underscores, not beginning with a digit.
    private static func isNameByte(_ byte: UInt8, first: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): !first
        default: false
        }
    }

    /// Where a byte of the expanded text stands in the original one, in words.
    func place(of offset: Int) -> String {
        let piece = pieces.last { $0.start <= offset }
        guard let piece else { return Self.place(of: offset, in: original) }
        guard let variable = piece.variable else {
            return Self.place(of: piece.origin + offset - piece.start, in: original)
        }
        return Self.place(of: piece.origin, in: original) + ", in the value of the variable \(variable)"
    }

    /// Lines and columns begin with 1; a column is a character, not a byte.
    private static func place(of offset: Int, in text: [UInt8]) -> String {
        let before = text.prefix(offset)
        let line = before.count { $0 == UInt8(ascii: "\n") } + 1
        let start = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        let column = before[start...].count { $0 & 0xC0 != 0x80 } + 1
        return "line \(line), column \(column)"
    }
}
