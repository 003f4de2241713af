import CLinux
import Platform

/// The value of IFA_PROTO that marks an address as set by dqlite-vip; `ip address` of iproute2 6.3
/// and later shows it as `proto 0xd7`.
///
/// Kernels from 5.18 keep and report it; older ones ignore it (see `NetlinkSession.reportsProtocolTags`). The kernel itself
/// uses 1...3 (linux/if_addr.h) and iproute2 names no others (rt_addrprotos); 0xD7 is an arbitrary choice far from them.
public let virtualAddressProtocolTag: UInt8 = 0xD7

/// An address of an interface as rtnetlink(7) reports it.
public struct InterfaceAddress: Hashable, Sendable {
    public var interfaceIndex: UInt32
    /// The local address: IFA_LOCAL where there is one (IPv4, point-to-point), IFA_ADDRESS otherwise.
    public var address: IPAddress
    public var prefixLength: UInt8
    /// IFA_F_… of linux/if_addr.h.
    public var flags: UInt32
    /// RT_SCOPE_… of linux/rtnetlink.h: 0 is global, 253 link, 254 host.
    public var scope: UInt8
    /// IFA_PROTO: who set the address. nil when nobody said so, or when the kernel is older than 5.18.
    public var proto: UInt8?
    /// Seconds for which the address will stay, as of the report; `UInt32.max` is for ever.
    public var validLifetime: UInt32
    /// Seconds for which the host may choose it as a source address; `UInt32.max` is for ever.
    public var preferredLifetime: UInt32

    public init(
        interfaceIndex: UInt32, address: IPAddress, prefixLength: UInt8, flags: UInt32 = 0, scope: UInt8 = 0,
        proto: UInt8? = nil, validLifetime: UInt32 = .max, preferredLifetime: UInt32 = .max
    ) {
        self.interfaceIndex = interfaceIndex
        self.address = address
        self.prefixLength = prefixLength
        self.flags = flags
        self.scope = scope
        self.proto = proto
        self.validLifetime = validLifetime
        self.preferredLifetime = preferredLifetime
    }

    /// Whether it carries our tag, so that it is ours to remove.
    public var isTagged: Bool { proto == virtualAddressProtocolTag }
    /// Whether other hosts can reach it beyond the link.
    public var isGlobal: Bool { scope == UInt8(RT_SCOPE_UNIVERSE.rawValue) }
    /// Whether another address of the interface with the same subnet and prefix length came first.
    public var isSecondary: Bool { flags & UInt32(IFA_F_SECONDARY) != 0 }

    /// Whether the kernel does not serve it, because duplicate address detection failed or goes on (RFC 4862 section 5.4).
    public var isUnusable: Bool { flags & UInt32(IFA_F_DADFAILED | IFA_F_TENTATIVE) != 0 }

    /// The subnet's first address, as the kernel computes it for the connected route.
    public var network: IPAddress { address.network(prefixLength: Int(prefixLength)) }

    /// Whether this is the very address and prefix length of `virtual`.
    public func matches(_ virtual: VirtualAddress) -> Bool {
        address == virtual.address && prefixLength == virtual.prefixLength
    }
}
