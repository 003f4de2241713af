/// A complete domain name in the presentation format of RFC 1035 section 5.1: without the last dot, in lower case because
/// upper and lower case are the same (RFC 4343); the root is ".".
package struct DNSName: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// RFC 1035 section 2.3.4, with the lengths of labels and that of the root.
    static let longest = 255
    static let longestLabel = 63

    package let text: String

    static let root = DNSName(text: ".")

    private init(text: String) {
        self.text = text
    }

    /// Of labels as they stand in a message; bytes that are no visible ASCII become `\ddd`.
    init(labels: some Sequence<ArraySlice<UInt8>>) {
        var text: [UInt8] = []
        for label in labels {
            if !text.isEmpty { text.append(UInt8(ascii: ".")) }
            for byte in label { Self.append(byte, to: &text) }
        }
        self.text = text.isEmpty ? "." : String(decoding: text, as: UTF8.self)
    }

    /// Of a name that somebody wrote, with or without the last dot; `fault` says whether it is one.
    init(written text: some StringProtocol) {
        let complete = text.hasSuffix(".") ? text.dropLast() : text[...]
        self.text = complete.isEmpty ? "." : complete.lowercased()
    }

    private static func append(_ byte: UInt8, to text: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"):
            text.append(byte + 0x20)
        case UInt8(ascii: "."), UInt8(ascii: "\\"):
            text += [UInt8(ascii: "\\"), byte]
        case 0x21...0x7E:
            text.append(byte)
        default:
            text.append(UInt8(ascii: "\\"))
            text += [byte / 100, byte / 10 % 10, byte % 10].map { UInt8(ascii: "0") + $0 }
        }
    }

    package var description: String { text }

    package static func < (lhs: DNSName, rhs: DNSName) -> Bool { lhs.text < rhs.text }

    /// Why a text that somebody wrote is no host or service name, with what to do; nil when it is one.
    static func fault(in text: String) -> String? {
        let complete = text.hasSuffix(".") ? text.dropLast() : text[...]
        if let odd = complete.unicodeScalars.first(where: { !isUsual($0) }) {
            let hint = odd.isASCII ? "" : ", in the ASCII form of international names (xn--...)"
            return "\"\(text)\" has a character that no host name has, \"\(odd)\": "
                + "give letters, digits, \"-\", \"_\" and dots\(hint)"
        }
        let labels = complete.split(separator: ".", omittingEmptySubsequences: false)
        if labels.contains(where: \.isEmpty) { return "\"\(text)\" has nothing before, after or between dots" }
        if let long = labels.first(where: { $0.utf8.count > longestLabel }) {
            return "\"\(long)\" has \(long.utf8.count) characters: between dots there are at most \(longestLabel)"
        }
        // A length before each label, and that of the root.
        if complete.utf8.count + 2 > longest {
            return "the name has \(complete.utf8.count) characters: at most \(longest - 2) are possible"
        }
        return nil
    }

    private static func isUsual(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "-", "_", ".": true
        default: false
        }
    }
}
