/// A random UUID (RFC 9562 version 4) that names one thing for ever.
///
/// Held as two words, so that comparing and copying cost nothing; the text form is lower case, and the order of the
/// values is the order of their texts.
public protocol UniqueIdentifier: Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
    /// The first eight bytes, most significant first.
    var high: UInt64 { get }
    /// The last eight bytes, most significant first.
    var low: UInt64 { get }
    /// Takes the 128 bits as they are.
    init(high: UInt64, low: UInt64)
}

extension UniqueIdentifier {
    /// Draws a new identifier.
    public init(using generator: inout some RandomNumberGenerator) {
        let version: UInt64 = 0x4000
        let variant: UInt64 = 0x8000_0000_0000_0000
        self.init(
            high: generator.next() & ~0xF000 | version, low: generator.next() & 0x3FFF_FFFF_FFFF_FFFF | variant)
    }

    /// Parses `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, hexadecimal in either case; nil for anything else.
    public init?(_ text: some StringProtocol) {
        var words: [UInt64] = [0, 0]
        var digits = 0
        var position = 0
        for byte in text.utf8 {
            let isHyphenPlace = position == 8 || position == 13 || position == 18 || position == 23
            position += 1
            if isHyphenPlace {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard digits < 32, let value = Self.digit(byte) else { return nil }
            words[digits / 16] = words[digits / 16] << 4 | value
            digits += 1
        }
        guard digits == 32, position == 36 else { return nil }
        self.init(high: words[0], low: words[1])
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    public var description: String {
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for word in [high, low] {
            for nibble in 0..<16 {
                let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * nibble) & 15)
                text.append(value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10)
                if text.count == 8 || text.count == 13 || text.count == 18 || text.count == 23 {
                    text.append(UInt8(ascii: "-"))
                }
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The first eight digits: enough to tell nodes apart in a message for people.
    public var short: String { String(description.prefix(8)) }

    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.high != rhs.high ? lhs.high < rhs.high : lhs.low < rhs.low
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = Self(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not a UUID"))
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// Names a node for as long as it keeps its disk, whatever its address.
public struct NodeID: UniqueIdentifier {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Names a cluster; minted by its founder before it creates the database.
public struct ClusterID: UniqueIdentifier {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Names one proposal to found a cluster; never used twice.
public struct ProposalID: UniqueIdentifier {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// The numbers by which libdqlite knows its nodes.
public enum DqliteID {
    /// With this id on an empty directory libdqlite founds a cluster of one at start.
    public static let bootstrap: UInt64 = 1
    /// The other id that founds a cluster: the library's own constant BOOTSTRAP_ID.
    public static let libraryBootstrap: UInt64 = 0x2dc1_7185_8c31_55be

    /// Draws an id that does not found a cluster: 2...2^53−1, so that a JSON number keeps it.
    public static func random(using generator: inout some RandomNumberGenerator) -> UInt64 {
        while true {
            // 2^53−1 is below libraryBootstrap, but the check costs nothing and does not rely on that.
            let id = UInt64.random(in: 2...(1 << 53 - 1), using: &generator)
            if id != libraryBootstrap { return id }
        }
    }
}
