import Platform

/// Why a text or an address is no virtual address. The message names the value, the fault, and what to write instead.
public struct VirtualAddressError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was given, unchanged.
    public var text: String
    /// What is wrong with it and what to write instead; no full stop at the end.
    public var reason: String

    public init(text: String, reason: String) {
        self.text = text
        self.reason = reason
    }

    public var description: String { "\"\(text)\" is not a virtual address: \(reason)" }
}

/// An address that moves between hosts, with the prefix length of its subnet: `192.0.2.10/24`.
///
/// Only addresses that a host can own and a client can reach come into being; see `init(address:prefixLength:)`.
public struct VirtualAddress: Hashable, Sendable, CustomStringConvertible {
    public let address: IPAddress
    /// 1...32 for IPv4, 1...128 for IPv6.
    public let prefixLength: UInt8

    /// Parses `address/prefix-length`.
    ///
    /// - Throws: `VirtualAddressError` for a wrong syntax, a missing or impossible prefix length, and every address that
    ///   `init(address:prefixLength:)` refuses.
    public init(parsing text: some StringProtocol) throws(VirtualAddressError) {
        let text = String(text)
        func fail(_ reason: String) -> VirtualAddressError { VirtualAddressError(text: text, reason: reason) }

        guard !text.isEmpty else { throw fail("it is empty; write an address and a prefix length, like 192.0.2.10/24") }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2 else { throw fail("it has more than one slash; write it like 192.0.2.10/24") }
        let host = parts[0]
        guard let address = IPAddress(host) else {
            if host.contains("%") {
                throw fail("an address with a zone (\"%\") cannot move between hosts; write it without one")
            }
            throw fail("\"\(host)\" is no IPv4 or IPv6 address; write it like 192.0.2.10/24")
        }
        let example = address.family == .v4 ? 24 : 64
        guard parts.count == 2, !parts[1].isEmpty else {
            throw fail(
                "the prefix length is missing; write \(address)/\(example) when its subnet is a /\(example), "
                    + "or \(address)/\(address.family.bits) for this one address")
        }
        let digits = parts[1]
        guard digits.utf8.count <= 3, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(digits)
        else {
            throw fail(
                "\"\(digits)\" is no prefix length; write the number of network bits, like \(address)/\(example)")
        }
        guard length >= 1, length <= address.family.bits else {
            throw fail(
                "the prefix length \(length) is not in 1...\(address.family.bits); write it like \(address)/\(example)")
        }
        if let reason = Self.refusal(of: address, prefixLength: length) { throw fail(reason) }
        self.address = address
        prefixLength = UInt8(length)
    }

    /// Takes an address and the prefix length of its subnet.
    ///
    /// - Throws: `VirtualAddressError` when the length is out of range, or when the address is unspecified, loopback,
    ///   multicast, limited broadcast, in 0.0.0.0/8 or 240.0.0.0/4, IPv6 link-local or IPv4-mapped, or the network or
    ///   broadcast address of its prefix (RFC 1122 section 3.2.1.3, RFC 4291 section 2.6.1; a /31 and a /127 have
    ///   neither: RFC 3021, RFC 6164).
    public init(address: IPAddress, prefixLength: UInt8) throws(VirtualAddressError) {
        try self.init(parsing: "\(address)/\(prefixLength)")
    }

    /// The first address of the prefix.
    public var network: IPAddress { address.network(prefixLength: Int(prefixLength)) }

    /// The last address of an IPv4 prefix of at most 30 bits; nil where there is no broadcast.
    public var broadcast: IPAddress? {
        guard address.family == .v4, prefixLength <= 30 else { return nil }
        return address.replacingHostBits(after: Int(prefixLength), with: 0xFF)
    }

    /// Whether `other` is of the same family and lies in the prefix.
    public func contains(_ other: IPAddress) -> Bool {
        other.family == address.family
            && other.network(prefixLength: Int(prefixLength)) == network
    }

    /// Whether the address must bring the connected route of its subnet (`prefixRoute` of `NetlinkSession.set`).
    ///
    /// With a host address in the same subnet the route is there already, and must stay when ours goes. Without one the host
    /// could not answer the clients of that subnet: measured on Linux 6.18, not even a ping comes back.
    ///
    /// - Parameter addresses: those of the interface, with the addresses of the host; ours among them do not count.
    /// - Returns: false also for a /32 and a /128, which have no subnet.
    public func needsPrefixRoute(among addresses: [InterfaceAddress]) -> Bool {
        Int(prefixLength) < address.family.bits
            && !addresses.contains { other in
                !other.isTagged && !other.matches(self) && other.address.family == address.family
                    && other.prefixLength <= prefixLength
                    && address.network(prefixLength: Int(other.prefixLength)) == other.network
            }
    }

    public var description: String { "\(address)/\(prefixLength)" }

    private static func refusal(of address: IPAddress, prefixLength: Int) -> String? {
        let instead = "write the address that clients shall use, like 192.0.2.10/24"
        if address.isUnspecified { return "\(address) is the unspecified address; \(instead)" }
        if address.isLoopback { return "\(address) is a loopback address, which no other host can reach; \(instead)" }
        if address.isMulticast { return "\(address) is a multicast address, which no host can own; \(instead)" }
        if address.isLimitedBroadcast { return "\(address) is the limited broadcast address; \(instead)" }
        switch address.family {
        case .v4:
            if address.bytes[0] == 0 { return "\(address) is in 0.0.0.0/8, which no host can own; \(instead)" }
            if address.bytes[0] >= 240 {
                return "\(address) is in 240.0.0.0/4, which is reserved and which routers drop; \(instead)"
            }
        case .v6:
            if address.isLinkLocal {
                return "\(address) is a link-local address, which is bound to its link; write a global or unique "
                    + "local address, like fd00::10/64"
            }
            if address.bytes.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]) {
                return "\(address) is an IPv4 address in IPv6 notation; write the IPv4 address itself"
            }
        }
        // A prefix with at most one host bit has no network and no broadcast address: RFC 3021, RFC 6164.
        guard address.family.bits - prefixLength >= 2 else { return nil }
        let advice = "write a host address of that subnet, or \(address)/\(address.family.bits) for this one address"
        if address == address.network(prefixLength: prefixLength) {
            let name = address.family == .v4 ? "network address" : "subnet-router anycast address"
            return "\(address) is the \(name) of its /\(prefixLength); \(advice)"
        }
        if address.family == .v4, address == address.replacingHostBits(after: prefixLength, with: 0xFF) {
            return "\(address) is the broadcast address of its /\(prefixLength); \(advice)"
        }
        return nil
    }
}

extension VirtualAddress: TextCodable {
    /// Decodes the text form, with all the checks of `init(parsing:)`.
    public init(codedText text: String) throws { try self.init(parsing: text) }
}
