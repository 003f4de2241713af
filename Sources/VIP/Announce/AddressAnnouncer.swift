import CLinux
import Glibc
import Platform

/// Announces addresses: IPv4 by gratuitous ARP, IPv6 by unsolicited Neighbour Advertisements. It never waits.
///
/// It sends in the network namespace of the thread that created it. It may be used from any thread of that namespace.
public final class AddressAnnouncer: Sendable {
    /// What became of an announcement.
    public enum Outcome: Hashable, Sendable {
        /// Every form was given to the interface.
        case sent
        /// The interface has no use for it; the reason in words.
        case skipped(reason: String)
    }

    private let socket: PacketSocket

    /// - Throws: `SystemError`: EPERM without CAP_NET_RAW.
    public init() throws(SystemError) {
        socket = try PacketSocket(for: "announcements")
    }

    /// Sends one announcement of each address: the request form and the reply form of ARP, or the advertisement; all in one
    /// batch.
    ///
    /// - Parameters:
    ///   - addresses: addresses that this host holds.
    ///   - link: the interface as it is now; its MAC is the one that is announced. Read it right before.
    /// - Returns: whether frames were sent, or why this interface needs none.
    /// - Throws: `SystemError` with the addresses and the interface: ENETDOWN when the interface is down, ENODEV or ENXIO when
    ///   it is gone, ENOBUFS or EAGAIN when its queue is full before all were sent.
    public func announce(_ addresses: [VirtualAddress], on link: LinkState) throws(SystemError) -> Outcome {
        let isRouter = Self.isRouter(addresses, on: link)
        let frames = addresses.flatMap { Self.frames($0.address, on: link, isRouter: isRouter) }
        return try send(frames, addresses, on: link)
    }

    public func announce(_ address: VirtualAddress, on link: LinkState) throws(SystemError) -> Outcome {
        try announce([address], on: link)
    }

    /// Tells one host of one address, for each notice; all in one batch. As `announce` otherwise.
    public func announce(_ notices: [NeighbourNotice], on link: LinkState) throws(SystemError) -> Outcome {
        let addresses = notices.map(\.address)
        let isRouter = Self.isRouter(addresses, on: link)
        let frames = notices.compactMap { notice in
            let (address, neighbour) = (notice.address.address, notice.neighbour)
            return switch address.family {
            case .v4: ARPFrame(announcing: address, at: link.hardwareAddress, to: neighbour)?.bytes
            case .v6:
                NeighbourFrame(announcing: address, at: link.hardwareAddress, isRouter: isRouter, to: neighbour)?.bytes
            }
        }
        return try send(frames, addresses, on: link)
    }

    private func send(
        _ frames: [[UInt8]], _ addresses: [VirtualAddress], on link: LinkState
    ) throws(SystemError) -> Outcome {
        if let reason = link.silence { return .skipped(reason: reason) }
        let code: Int32
        do {
            let count = try socket.send(frames, interface: link.index)
            if count == frames.count { return .sent }
            code = ENOBUFS
        } catch {
            code = error.errno
        }
        let names = Set(addresses).map(\.description).sorted().joined(separator: ", ")
        throw SystemError(
            "announce", "\(names) on \(link.name)", errno: code, remedy: Self.remedy(for: code, on: link.name))
    }

    private static func isRouter(_ addresses: [VirtualAddress], on link: LinkState) -> Bool {
        addresses.contains { $0.address.family == .v6 } && IPv6Forwarding.isOn(interface: link.name)
    }

    private static func frames(_ address: IPAddress, on link: LinkState, isRouter: Bool) -> [[UInt8]] {
        switch address.family {
        case .v4:
            ARPFrame.Operation.allCases.compactMap {
                ARPFrame(announcing: address, at: link.hardwareAddress, as: $0)?.bytes
            }
        case .v6:
            [NeighbourFrame(announcing: address, at: link.hardwareAddress, isRouter: isRouter)].compactMap { $0?.bytes }
        }
    }

    private static func remedy(for code: Int32, on interface: String) -> String? {
        switch code {
        case ENETDOWN:
            "the interface is down; the address is announced when it is up again (`ip link set \(interface) up`)"
        case ENODEV, ENXIO: "the interface is gone; see `ip link`"
        case ENOBUFS, EAGAIN: "the interface's send queue is full; the next announcement follows by itself"
        case EPERM, EACCES: Remedy.netRaw
        default: nil
        }
    }
}

extension LinkState {
    /// Why nobody can be asked or told about addresses on this interface, in words; nil when it can be done.
    var silence: String? {
        if isLoopback { return "\(name) is a loopback interface" }
        if noARP { return "\(name) does not use ARP (NOARP)" }
        if hardwareType != UInt16(ARPHRD_ETHER) {
            return "\(name) is no Ethernet interface (hardware type \(hardwareType))"
        }
        if hardwareAddress.count != 6 { return "\(name) has no MAC of 6 bytes" }
        return nil
    }
}

/// Whether the kernel forwards what comes in on an interface, and so calls itself a router in Neighbour Advertisements.
enum IPv6Forwarding {
    /// False also when it cannot be read: a host without IPv6 routes nothing.
    static func isOn(interface: String) -> Bool {
        guard let content = try? DurableFile.read("/proc/sys/net/ipv6/conf/\(interface)/forwarding") else {
            return false
        }
        return content.first.map { $0 != 0x30 } ?? false
    }
}
