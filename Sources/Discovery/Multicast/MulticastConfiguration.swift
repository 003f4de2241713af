import Crypto
import FoundationEssentials
public import Platform

/// What `--disco-config` says for multicast; every field may be left out.
public struct MulticastConfiguration: Sendable {
    /// "group": the address of the group and its UDP port, which is 8801 when it names none. nil: `defaultGroup`.
    public var group: Group?
    /// "interface": nil for `--iface`.
    public var interface: String?
    /// "ttl": how many routers a datagram may pass, plus one: 1 stays on the LAN. The hop limit for IPv6. 1...255.
    public var timeToLive: UInt8 = 1
    /// "secret": nil for datagrams that anybody on the LAN could invent. A type that does not print what it holds.
    let secret: SymmetricKey?

    public struct Group: Hashable, Sendable, CustomStringConvertible {
        public var address: IPAddress
        public var port: UInt16

        public var description: String { HostPort(host: address.description, port: port).description }
    }

    static let defaultPort: UInt16 = 8801
    /// ip(7): IFNAMSIZ of linux/if.h, 16, counts a byte for the end.
    static let longestInterface = 15

    /// The group when none is configured: of the family of the node's cluster address, because only nodes that share it can
    /// connect to each other. The IPv4 one is of organisation-local scope (RFC 2365 section 6.2), the IPv6 one of
    /// link-local scope (RFC 4291 section 2.7).
    public static func defaultGroup(for family: IPAddress.Family?) -> Group {
        let address =
            family == .v6
            ? IPAddress(bytes: [0xFF, 0x02] + [UInt8](repeating: 0, count: 10) + [0x4D, 0x56, 0, 0x50])
            : IPAddress(bytes: [239, 0x4D, 0x56, 0x50])
        guard let address else { preconditionFailure("4 and 16 bytes are addresses") }
        return Group(address: address, port: defaultPort)
    }

    /// Reads the fields; what is wrong with them is noted there.
    public init(from fields: inout ConfigurationFields) {
        group = Self.group(from: &fields)
        interface = Self.interface(from: &fields)
        if let ttl = fields.integer("ttl", 1...255) { timeToLive = UInt8(clamping: ttl) }
        secret = fields.filledText("secret").map { SymmetricKey(data: Array($0.utf8)) }
    }

    private static func group(from fields: inout ConfigurationFields) -> Group? {
        guard let text = fields.text("group") else { return nil }
        let advice = "give a multicast address, such as \"239.77.86.80:8801\" or \"[ff02::4d56:50]:8801\""
        let group: HostPort
        do throws(HostPort.ParseError) {
            group = try HostPort(parsing: text, defaultPort: defaultPort)
        } catch {
            fields.fault("group", "\(error): \(advice)")
            return nil
        }
        guard let address = group.address, address.isMulticast else {
            fields.fault("group", "\"\(text)\" is not a multicast address: \(advice)")
            return nil
        }
        // RFC 4291 section 2.7: scope 0 is reserved, scope 1 never leaves the host.
        guard address.family == .v4 || address.bytes[1] & 0x0F > 1 else {
            fields.fault("group", "\"\(text)\" has a scope that never leaves the host: \(advice)")
            return nil
        }
        return Group(address: address, port: group.port)
    }

    private static func interface(from fields: inout ConfigurationFields) -> String? {
        guard let name = fields.text("interface") else { return nil }
        guard name.utf8.count <= longestInterface else {
            fields.fault(
                "interface",
                "\"\(name)\" has \(name.utf8.count) bytes, and no interface has more than 15: see `ip link`")
            return nil
        }
        guard name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") }) else {
            fields.fault("interface", "\"\(name)\" has a character that no interface has: see `ip link`")
            return nil
        }
        return name
    }
}
