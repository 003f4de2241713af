/// A MAC: the address of an Ethernet interface. In JSON it stands as its text.
public struct HardwareAddress: Hashable, Sendable, TextCodable {
    /// Six bytes.
    public let bytes: [UInt8]

    /// - Returns: nil when there are not six bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        self.bytes = Array(bytes)
    }

    /// Takes six bytes as two hexadecimal digits each, with colons between them, as `description` writes them; nil for any other
    /// text.
    public init?(parsing text: some StringProtocol) {
        guard text.utf8.count == 17 else { return nil }
        let parts = text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        let bytes = parts.compactMap { part -> UInt8? in
            // `UInt8(_:radix:)` would take a sign, too.
            let digits = part.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
            return part.count == 2 && digits.count == 2 ? UInt8(digits[0] << 4 | digits[1]) : nil
        }
        guard bytes.count == 6, parts.count == 6 else { return nil }
        self.bytes = bytes
    }

    public init(codedText text: String) throws {
        guard let address = Self(parsing: text) else { throw NotTheText(text: text, expected: "a MAC") }
        self = address
    }

    /// As ip(8) writes it: `02:00:5e:10:20:30`.
    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
