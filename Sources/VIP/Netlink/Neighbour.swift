import CLinux
import Platform

/// An entry of the kernel's neighbour table: arp(7), ip-neighbour(8).
public struct Neighbour: Hashable, Sendable {
    public var interfaceIndex: UInt32
    public var address: IPAddress
    /// The MAC; nil while it is not known, or when the host did not answer.
    public var hardwareAddress: HardwareAddress?
    /// NUD_… of linux/neighbour.h.
    public var state: UInt16

    public init(interfaceIndex: UInt32, address: IPAddress, hardwareAddress: HardwareAddress?, state: UInt16) {
        self.interfaceIndex = interfaceIndex
        self.address = address
        self.hardwareAddress = hardwareAddress
        self.state = state
    }

    /// It was heard a moment ago, or is being asked: a host that is in use.
    public var isFresh: Bool { has(NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT) }

    /// Whether it is one host of the link that can be written to: its MAC is known, and it is no group.
    public var isHost: Bool {
        guard let hardwareAddress, !has(NUD_NOARP), !address.isMulticast else { return false }
        // The lowest bit of the first byte marks groups, the broadcast address among them.
        return hardwareAddress.bytes[0] & 1 == 0 && hardwareAddress.bytes.contains { $0 != 0 }
    }

    private func has(_ states: Int32) -> Bool { Int32(state) & states != 0 }
}
