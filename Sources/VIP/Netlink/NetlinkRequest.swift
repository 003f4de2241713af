import CLinux
import Platform

/// What we ask of the kernel's rtnetlink(7), as values with an encoding.
enum NetlinkRequest: Hashable, Sendable {
    /// `ip address replace ADDRESS dev INTERFACE valid_lft V preferred_lft P noprefixroute proto 0xd7`
    case setAddress(SetAddress)
    /// `ip address delete ADDRESS dev INTERFACE`
    case deleteAddress(VirtualAddress, interface: UInt32)
    /// `ip address show [dev INTERFACE]`; interface 0 is all.
    case dumpAddresses(interface: UInt32)
    /// `ip link show`
    case dumpLinks
    /// `ip neighbour show dev INTERFACE`
    case dumpNeighbours(IPAddress.Family, interface: UInt32)
    /// `ip link show dev NAME`
    case link(name: String)

    struct SetAddress: Hashable, Sendable {
        var address: VirtualAddress
        var interface: UInt32
        /// Seconds, at least 1: the kernel refuses 0.
        var validLifetime: UInt32
        /// Seconds, at most the valid lifetime.
        var preferredLifetime: UInt32
        /// Fail with EEXIST instead of refreshing an address that is there already.
        var exclusive: Bool
        /// Let the kernel add the connected route of the subnet.
        var prefixRoute: Bool
    }

    /// The message as the kernel wants it.
    func encode(sequence: UInt32) -> [UInt8] {
        let acknowledged = UInt16(NLM_F_REQUEST | NLM_F_ACK)
        let dump = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        switch self {
        case .setAddress(let request):
            let mode = UInt16(request.exclusive ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_CREATE | NLM_F_REPLACE)
            var writer = NetlinkWriter(type: UInt16(RTM_NEWADDR), flags: acknowledged | mode, sequence: sequence)
            writer.addressHeader(request.address, interface: request.interface)
            // struct ifa_cacheinfo: preferred, valid, and two time stamps that only reports carry.
            var lifetime: [UInt8] = []
            for part in [request.preferredLifetime, request.validLifetime, 0, 0] {
                withUnsafeBytes(of: part) { lifetime.append(contentsOf: $0) }
            }
            writer.attribute(UInt16(IFA_CACHEINFO), lifetime)
            writer.attribute(UInt16(IFA_FLAGS), integer: request.flags)
            writer.attribute(UInt16(IFA_PROTO), [virtualAddressProtocolTag])
            return writer.finish()
        case .deleteAddress(let address, let interface):
            var writer = NetlinkWriter(type: UInt16(RTM_DELADDR), flags: acknowledged, sequence: sequence)
            writer.addressHeader(address, interface: interface)
            return writer.finish()
        case .dumpAddresses(let interface):
            var writer = NetlinkWriter(type: UInt16(RTM_GETADDR), flags: dump, sequence: sequence)
            // Kernels with NETLINK_GET_STRICT_CHK (4.20) filter by the index; older ones ignore it and send all.
            writer.put([UInt8(AF_UNSPEC), 0, 0, 0])
            writer.put(interface)
            return writer.finish()
        case .dumpLinks:
            var writer = NetlinkWriter(type: UInt16(RTM_GETLINK), flags: dump, sequence: sequence)
            writer.emptyLinkHeader()
            return writer.finish()
        case .dumpNeighbours(let family, let interface):
            var writer = NetlinkWriter(type: UInt16(RTM_GETNEIGH), flags: dump, sequence: sequence)
            // struct ndmsg, all zero but for the family; the interface is named by an attribute.
            writer.put([UInt8(family.addressFamily)] + [UInt8](repeating: 0, count: 11))
            writer.attribute(UInt16(NDA_IFINDEX), integer: interface)
            return writer.finish()
        case .link(let name):
            var writer = NetlinkWriter(type: UInt16(RTM_GETLINK), flags: acknowledged, sequence: sequence)
            writer.emptyLinkHeader()
            // Names of 16 bytes and more are alternative names: ip-link(8), "altname".
            let type = name.utf8.count < Int(IFNAMSIZ) ? UInt16(IFLA_IFNAME) : NetlinkConstant.alternativeName
            writer.attribute(type, Array(name.utf8) + [0])
            return writer.finish()
        }
    }
}

extension NetlinkRequest.SetAddress {
    /// IFA_F_…: no connected route of the subnet unless wanted, and for IPv6 no wait for duplicate address detection.
    fileprivate var flags: UInt32 {
        (prefixRoute ? 0 : UInt32(IFA_F_NOPREFIXROUTE))
            | (address.address.family == .v6 ? UInt32(IFA_F_NODAD) : 0)
    }
}

extension NetlinkWriter {
    fileprivate mutating func put(_ values: [UInt8]) {
        for value in values { put(value) }
    }

    /// `struct ifaddrmsg` and the two attributes that name an address beyond doubt.
    ///
    /// Without IFA_ADDRESS the kernel deletes the first address that equals IFA_LOCAL, whatever its prefix length.
    fileprivate mutating func addressHeader(_ address: VirtualAddress, interface: UInt32) {
        put([
            UInt8(address.address.family.addressFamily), address.prefixLength, 0, UInt8(RT_SCOPE_UNIVERSE.rawValue),
        ])
        put(interface)
        attribute(UInt16(IFA_LOCAL), address.address.bytes)
        attribute(UInt16(IFA_ADDRESS), address.address.bytes)
    }

    /// `struct ifinfomsg` of a query, which must be all zero.
    fileprivate mutating func emptyLinkHeader() {
        put([UInt8](repeating: 0, count: 16))
        attribute(UInt16(IFLA_EXT_MASK), integer: NetlinkConstant.skipStatistics)
    }
}

/// What the headers of Debian 12 spell in a way that Swift cannot import, or lack.
enum NetlinkConstant {
    /// IFLA_ALT_IFNAME of linux/if_link.h, Linux 5.5.
    static let alternativeName: UInt16 = 53
    /// RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
    static let skipStatistics: UInt32 = 1 << 3
}
