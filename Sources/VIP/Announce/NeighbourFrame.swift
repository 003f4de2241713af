import CLinux
import Platform

/// An Ethernet frame with a Neighbour Solicitation or Advertisement: RFC 4861 sections 4.3 and 4.4.
public struct NeighbourFrame: Hashable, Sendable {
    public enum Message: Hashable, Sendable {
        case solicitation
        case advertisement(isRouter: Bool, isSolicited: Bool, overrides: Bool)
    }

    /// ff02::1, all nodes of the link, and where Ethernet sends it (RFC 2464 section 7).
    public static let allNodes = IPv6Group(suffix: [0, 0, 0, 1])

    /// Ethernet addresses of the frame, 6 bytes each.
    public let destination: [UInt8]
    public let source: [UInt8]
    /// Of the IPv6 header; the source is `::` in a probe.
    public let sourceAddress: IPAddress
    public let destinationAddress: IPAddress
    public let message: Message
    /// The address of which the message speaks.
    public let target: IPAddress
    /// The source or target link-layer address option; nil when there is none.
    public let linkAddress: [UInt8]?

    /// An unsolicited advertisement: it tells every host of the link that `address` is at `hardwareAddress`, whatever they
    /// have cached (RFC 4861 section 7.2.6).
    ///
    /// - Parameter isRouter: as the kernel answers for the interface. A host that sees the flag go forgets the router.
    /// - Returns: nil when `address` is no IPv6 address or `hardwareAddress` no 6 bytes.
    public init?(announcing address: IPAddress, at hardwareAddress: [UInt8], isRouter: Bool) {
        guard address.family == .v6, hardwareAddress.count == 6 else { return nil }
        destination = Self.allNodes.hardwareAddress
        source = hardwareAddress
        sourceAddress = address
        destinationAddress = Self.allNodes.address
        message = .advertisement(isRouter: isRouter, isSolicited: false, overrides: true)
        target = address
        linkAddress = hardwareAddress
    }

    /// The same advertisement for one host alone.
    ///
    /// - Returns: nil when an address is no IPv6 address or `hardwareAddress`, the sender's, no 6 bytes.
    public init?(announcing address: IPAddress, at hardwareAddress: [UInt8], isRouter: Bool, to neighbour: Neighbour) {
        guard address.family == .v6, neighbour.address.family == .v6, hardwareAddress.count == 6,
            let target = neighbour.hardwareAddress
        else { return nil }
        destination = target.bytes
        source = hardwareAddress
        sourceAddress = address
        destinationAddress = neighbour.address
        message = .advertisement(isRouter: isRouter, isSolicited: false, overrides: true)
        self.target = address
        linkAddress = hardwareAddress
    }

    /// A solicitation as of duplicate address detection (RFC 4862 section 5.4.2): it asks who has `address`, and puts nothing
    /// into any cache. Who has it answers to all nodes.
    ///
    /// - Returns: nil when `address` is no IPv6 address or `hardwareAddress`, the asker's, no 6 bytes.
    public init?(probing address: IPAddress, from hardwareAddress: [UInt8]) {
        guard address.family == .v6, hardwareAddress.count == 6,
            let nobody = IPAddress(bytes: [UInt8](repeating: 0, count: 16))
        else { return nil }
        let group = IPv6Group(soliciting: address)
        destination = group.hardwareAddress
        source = hardwareAddress
        sourceAddress = nobody
        destinationAddress = group.address
        message = .solicitation
        target = address
        linkAddress = nil
    }

    /// Decodes a frame as a packet socket delivers it, with the checks of RFC 4861 sections 7.1.1 and 7.1.2; nil when it is no
    /// valid message of these kinds. Padding is ignored.
    public init?(decoding frame: some Collection<UInt8>) {
        let bytes = Array(frame)
        // Ethernet type and version, next header ICMPv6, hop limit 255: no router has passed it on.
        guard bytes.count >= 78, bytes[12] == 0x86, bytes[13] == 0xDD, bytes[14] >> 4 == 6, bytes[20] == 58,
            bytes[21] == 255, let sourceAddress = IPAddress(bytes: bytes[22..<38]),
            let destinationAddress = IPAddress(bytes: bytes[38..<54]), let target = IPAddress(bytes: bytes[62..<78])
        else { return nil }
        let end = 54 + (Int(bytes[18]) << 8 | Int(bytes[19]))
        guard end >= 78, end <= bytes.count, bytes[55] == 0, !target.isMulticast,
            Self.sum(bytes[22..<54], bytes[54..<end]) == 0xFFFF
        else { return nil }
        let wanted: UInt8
        switch bytes[54] {
        case 135: (message, wanted) = (.solicitation, 1)
        case 136:
            let flags = bytes[58]
            message = .advertisement(
                isRouter: flags & 0x80 != 0, isSolicited: flags & 0x40 != 0, overrides: flags & 0x20 != 0)
            wanted = 2
            if destinationAddress.isMulticast && flags & 0x40 != 0 { return nil }
        default: return nil
        }
        guard case .some(let option) = Self.option(wanted, in: bytes[78..<end]) else { return nil }
        if sourceAddress.isUnspecified {
            // Only duplicate address detection asks without an address, and advertisements have one.
            guard message == .solicitation, option == nil,
                destinationAddress == IPv6Group(soliciting: target).address
            else { return nil }
        }
        destination = Array(bytes[0..<6])
        source = Array(bytes[6..<12])
        self.sourceAddress = sourceAddress
        self.destinationAddress = destinationAddress
        self.target = target
        linkAddress = option
    }

    /// The bytes of the frame: 78, and 8 more with the option.
    public var bytes: [UInt8] {
        var payload: [UInt8] = []
        var option: UInt8 = 1
        switch message {
        case .solicitation: payload = [135, 0, 0, 0, 0, 0, 0, 0]
        case .advertisement(let isRouter, let isSolicited, let overrides):
            let flags = (isRouter ? 0x80 : 0) | (isSolicited ? 0x40 : 0) | (overrides ? 0x20 : 0) as UInt8
            payload = [136, 0, 0, 0, flags, 0, 0, 0]
            option = 2
        }
        payload += target.bytes
        if let linkAddress { payload += [option, 1] + linkAddress }
        let addresses = sourceAddress.bytes + destinationAddress.bytes
        let checksum = ~Self.sum(addresses[...], payload[...])
        payload[2] = UInt8(checksum >> 8)
        payload[3] = UInt8(truncatingIfNeeded: checksum)
        let length = UInt16(payload.count)
        return destination + source + [0x86, 0xDD]
            + [0x60, 0, 0, 0, UInt8(length >> 8), UInt8(truncatingIfNeeded: length), 58, 255] + addresses + payload
    }

    /// The one's complement sum over the pseudo-header and the message (RFC 4443 section 2.3, RFC 1071); all ones over a
    /// message with the right checksum.
    private static func sum(_ addresses: ArraySlice<UInt8>, _ message: ArraySlice<UInt8>) -> UInt16 {
        var sum = UInt32(message.count) + 58
        for part in [addresses, message] {
            for (place, byte) in part.enumerated() { sum += UInt32(byte) << (place.isMultiple(of: 2) ? 8 : 0) }
        }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        return UInt16(sum)
    }

    /// The link-layer address option of a type: nil when the options are damaged, `.some(nil)` when there is none.
    private static func option(_ wanted: UInt8, in options: ArraySlice<UInt8>) -> [UInt8]?? {
        var rest = options
        var found: [UInt8]?
        while let type = rest.first {
            guard rest.count >= 2 else { return nil }
            let length = Int(rest[rest.startIndex + 1]) * 8
            guard length > 0, length <= rest.count else { return nil }
            if type == wanted, length == 8 { found = Array(rest.dropFirst(2).prefix(6)) }
            rest = rest.dropFirst(length)
        }
        return .some(found)
    }
}

/// A multicast group of a link, with the Ethernet address to which it is sent: 33:33 and the last four bytes.
public struct IPv6Group: Hashable, Sendable {
    public let address: IPAddress
    public let hardwareAddress: [UInt8]

    /// ff02::… with these last four bytes.
    init(suffix: [UInt8], isSolicitedNode: Bool = false) {
        var bytes: [UInt8] = [0xFF, 0x02] + [UInt8](repeating: 0, count: 10) + suffix
        if isSolicitedNode { (bytes[11], bytes[12]) = (1, 0xFF) }
        // 16 bytes, so that the initialiser does not fail.
        guard bytes.count == 16, let address = IPAddress(bytes: bytes) else {
            preconditionFailure("a group has four bytes of its own, not \(suffix.count)")
        }
        self.address = address
        hardwareAddress = [0x33, 0x33] + bytes[12...]
    }

    /// The solicited-node group of an IPv6 address: RFC 4291 section 2.7.1.
    public init(soliciting address: IPAddress) {
        self.init(suffix: Array(address.bytes.suffix(4)), isSolicitedNode: true)
    }
}
