import Glibc

/// An IPv4 or IPv6 address, without prefix length, port or zone.
public struct IPAddress: Hashable, Sendable, Comparable, CustomStringConvertible {
    public enum Family: UInt8, Sendable, Hashable, Codable {
        case v4 = 4
        case v6 = 6

        /// The number of bits of an address: 32 or 128.
        public var bits: Int { self == .v4 ? 32 : 128 }
        /// AF_INET or AF_INET6.
        public var addressFamily: Int32 { self == .v4 ? AF_INET : AF_INET6 }
    }

    public let family: Family
    /// The address in network byte order: 4 or 16 bytes.
    public let bytes: [UInt8]

    /// Takes 4 (IPv4) or 16 (IPv6) bytes in network order; nil for any other number.
    public init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4: family = .v4
        case 16: family = .v6
        default: return nil
        }
        self.bytes = Array(bytes)
    }

    /// Parses the textual forms of inet_pton(3): dotted decimal with four parts, or RFC 4291 section 2.2. No zone.
    public init?(_ text: some StringProtocol) {
        let string = String(text)
        guard !string.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, string, &v4) == 1 {
            self.init(bytes: withUnsafeBytes(of: v4) { Array($0) })
        } else if inet_pton(AF_INET6, string, &v6) == 1 {
            self.init(bytes: withUnsafeBytes(of: v6) { Array($0) })
        } else {
            return nil
        }
    }

    public var description: String {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        bytes.withUnsafeBytes { raw in
            _ = inet_ntop(family.addressFamily, raw.baseAddress, &buffer, socklen_t(buffer.count))
        }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    public static func < (lhs: IPAddress, rhs: IPAddress) -> Bool {
        (lhs.family.rawValue, lhs.bytes.count) == (rhs.family.rawValue, rhs.bytes.count)
            ? lhs.bytes.lexicographicallyPrecedes(rhs.bytes) : lhs.family.rawValue < rhs.family.rawValue
    }

    /// An IPv4 address in the form of an IPv6 one (RFC 4291 section 2.5.5.2) as what it is, and any other as it is.
    public var unmapped: IPAddress {
        guard family == .v6, bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF else {
            return self
        }
        return IPAddress(bytes: bytes.suffix(4)) ?? self
    }

    /// The first address of the prefix of this length.
    public func network(prefixLength: Int) -> IPAddress { replacingHostBits(after: prefixLength, with: 0x00) }

    /// The address with every bit after the prefix taken from `fill`.
    public func replacingHostBits(after length: Int, with fill: UInt8) -> IPAddress {
        let changed = bytes.enumerated().map { position, byte in
            let networkBits = min(max(length - position * 8, 0), 8)
            let hostMask = UInt8(truncatingIfNeeded: 0xFF >> networkBits)
            return byte & ~hostMask | fill & hostMask
        }
        // The number of bytes is unchanged, so the initialiser does not fail.
        return IPAddress(bytes: changed) ?? self
    }

    public var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
    /// 127.0.0.0/8 (RFC 1122 3.2.1.3) or ::1 (RFC 4291 2.5.3).
    public var isLoopback: Bool {
        family == .v4 ? bytes[0] == 127 : bytes.last == 1 && bytes.dropLast().allSatisfy { $0 == 0 }
    }
    /// 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 2.7).
    public var isMulticast: Bool { family == .v4 ? bytes[0] & 0xF0 == 0xE0 : bytes[0] == 0xFF }
    /// 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 2.5.6).
    public var isLinkLocal: Bool {
        family == .v4 ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80
    }
    /// 255.255.255.255 (RFC 919 section 7).
    public var isLimitedBroadcast: Bool { family == .v4 && bytes.allSatisfy { $0 == 255 } }
}

extension IPAddress: TextCodable {
    public init(codedText text: String) throws {
        guard let address = IPAddress(text) else { throw NotTheText(text: text, expected: "an IP address") }
        self = address
    }
}
