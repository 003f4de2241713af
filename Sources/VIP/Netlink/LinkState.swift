import CLinux

/// A network interface as rtnetlink(7) reports it.
public struct LinkState: Hashable, Sendable {
    public var index: UInt32
    public var name: String
    /// ARPHRD_… of linux/if_arp.h: 1 is Ethernet.
    public var hardwareType: UInt16
    /// The MAC; 6 bytes on Ethernet, empty where the interface has none.
    public var hardwareAddress: [UInt8]
    /// IFF_… of netdevice(7).
    public var flags: UInt32

    public init(index: UInt32, name: String, hardwareType: UInt16, hardwareAddress: [UInt8], flags: UInt32) {
        self.index = index
        self.name = name
        self.hardwareType = hardwareType
        self.hardwareAddress = hardwareAddress
        self.flags = flags
    }

    /// Set up by the administrator: IFF_UP.
    public var isUp: Bool { has(UInt32(IFF_UP)) }
    /// Operational: IFF_RUNNING, which is the state of RFC 2863, and also false while dormant.
    public var isRunning: Bool { has(UInt32(IFF_RUNNING)) }
    /// The cable is in, the other end is up: IFF_LOWER_UP.
    public var hasCarrier: Bool { has(1 << 16) }
    public var isLoopback: Bool { has(UInt32(IFF_LOOPBACK)) }
    /// The interface does not speak ARP: IFF_NOARP.
    public var noARP: Bool { has(UInt32(IFF_NOARP)) }
    /// Whether frames can leave now.
    public var canSend: Bool { isUp && hasCarrier }

    private func has(_ bits: UInt32) -> Bool { flags & bits == bits }
}
