import CLinux
import Glibc
import Platform

/// What another host said about an address.
public struct AddressSighting: Hashable, Sendable {
    /// The address of which it spoke.
    public var address: IPAddress
    /// Its MAC, as the message names it.
    public var hardwareAddress: HardwareAddress
    /// The MAC from which the frame came. A host that answers for itself names the same in the message.
    public var source: HardwareAddress
    public var claimant: ClaimProbe.Claimant

    /// - Parameter source: nil for the MAC that the message names.
    public init(
        address: IPAddress, hardwareAddress: HardwareAddress, source: HardwareAddress? = nil,
        claimant: ClaimProbe.Claimant
    ) {
        self.address = address
        self.hardwareAddress = hardwareAddress
        self.source = source ?? hardwareAddress
        self.claimant = claimant
    }

    /// What a packet says: its sender has its sender address, or, when that is 0.0.0.0, asks for the target address
    /// (RFC 5227 section 2.1.1). nil when it says neither.
    public init?(_ frame: ARPFrame) {
        guard let hardwareAddress = HardwareAddress(frame.senderHardwareAddress) else { return nil }
        let source = HardwareAddress(frame.source)
        if !frame.senderAddress.isUnspecified {
            self.init(
                address: frame.senderAddress, hardwareAddress: hardwareAddress, source: source, claimant: .holder)
        } else if frame.operation == .request {
            self.init(
                address: frame.targetAddress, hardwareAddress: hardwareAddress, source: source, claimant: .rival)
        } else {
            return nil
        }
    }

    /// What a message says: an advertisement, that its sender has the target; a solicitation, that its sender has its source
    /// address, or, when that is `::`, asks for the target (RFC 4862 section 5.4.3). nil when there is no MAC.
    public init?(_ frame: NeighbourFrame) {
        guard let hardwareAddress = HardwareAddress(frame.linkAddress ?? frame.source) else { return nil }
        let source = HardwareAddress(frame.source)
        switch frame.message {
        case .advertisement:
            self.init(address: frame.target, hardwareAddress: hardwareAddress, source: source, claimant: .holder)
        case .solicitation where frame.sourceAddress.isUnspecified:
            self.init(address: frame.target, hardwareAddress: hardwareAddress, source: source, claimant: .rival)
        case .solicitation:
            self.init(
                address: frame.sourceAddress, hardwareAddress: hardwareAddress, source: source, claimant: .holder)
        }
    }
}

/// Asks an interface for addresses, and takes in what is said about them: ARP for IPv4, Neighbour Discovery for IPv6.
///
/// It is there only while it is needed. Nobody is woken by what comes in: it is read when a decision is due.
final class AddressProber {
    /// The index of the interface.
    let interface: UInt32
    private var arp: Ear?
    private var neighbours: Ear?
    private var buffer = [UInt8](repeating: 0, count: 2048)
    /// The MACs of this host: what they say does not count, because another interface may be on the same LAN.
    private var own: Set<HardwareAddress>
    private let early: EarlyDescriptors?
    /// At the last `received` some of what was said was lost, or left for the next time.
    private(set) var hasMissed = false

    /// One socket, and the addresses for which it listens.
    private struct Ear {
        let socket: PacketSocket
        var addresses: Set<IPAddress> = []
        var isBound = false
    }

    /// - Parameters:
    ///   - interface: the index of the interface.
    ///   - own: all interfaces of this host.
    ///   - early: numbers for the descriptors of its sockets.
    init(interface: UInt32, own: [LinkState], early: EarlyDescriptors? = nil) {
        self.interface = interface
        self.early = early
        self.own = Self.addresses(own)
    }

    /// Takes note of the interfaces of this host, as they are now.
    func update(own links: [LinkState]) {
        own = Self.addresses(links)
    }

    /// Whether another host said it.
    func isForeign(_ sighting: AddressSighting) -> Bool { !own.contains(sighting.hardwareAddress) }

    /// From now on hears what is said about these addresses, and about no others.
    ///
    /// - Throws: `SystemError`: EPERM without CAP_NET_RAW.
    func listen(for addresses: Set<IPAddress>) throws(SystemError) {
        try hear(addresses.filter { $0.family == .v4 }, with: &arp, of: .v4)
        try hear(addresses.filter { $0.family == .v6 }, with: &neighbours, of: .v6)
    }

    /// Sends a probe, and from now on hears what is said about the address.
    ///
    /// - Throws: `SystemError` with the address and the interface; see `AddressAnnouncer.announce`.
    func probe(_ address: VirtualAddress, on link: LinkState) throws(SystemError) {
        let virtual = address.address
        let frame =
            switch virtual.family {
            case .v4: ARPFrame(probing: virtual, from: link.hardwareAddress)?.bytes
            case .v6: NeighbourFrame(probing: virtual, from: link.hardwareAddress)?.bytes
            }
        do throws(SystemError) {
            guard let frame else { throw SystemError("ask", errno: EAFNOSUPPORT) }
            switch virtual.family {
            case .v4:
                try hear((arp?.addresses ?? []).union([virtual]), with: &arp, of: .v4)
                try arp?.socket.send(frame, interface: interface)
            case .v6:
                try hear((neighbours?.addresses ?? []).union([virtual]), with: &neighbours, of: .v6)
                try neighbours?.socket.send(frame, interface: interface)
            }
        } catch {
            throw SystemError(
                "ask for", "\(address) on \(link.name)", errno: error.errno,
                remedy: "the address is claimed without knowing whether another host has it")
        }
    }

    /// What other hosts said since the last call; never waits.
    func received() -> [AddressSighting] {
        var sightings: [AddressSighting] = []
        let isAllARP = arp?.socket.receive(into: &buffer) { bytes in
            if let sighting = ARPFrame(decoding: bytes).flatMap(AddressSighting.init) { sightings.append(sighting) }
        }
        let isAllOfNeighbours = neighbours?.socket.receive(into: &buffer) { bytes in
            if let sighting = NeighbourFrame(decoding: bytes).flatMap(AddressSighting.init) {
                sightings.append(sighting)
            }
        }
        hasMissed = isAllARP == false || isAllOfNeighbours == false
        return sightings.filter { sighting in
            isForeign(sighting) && [arp, neighbours].contains { $0?.addresses.contains(sighting.address) == true }
        }
    }

    private func hear(
        _ addresses: Set<IPAddress>, with ear: inout Ear?, of family: IPAddress.Family
    ) throws(SystemError) {
        guard addresses != ear?.addresses ?? [] else { return }
        if addresses.isEmpty {
            ear = nil
            return
        }
        var open: Ear
        if let ear {
            open = ear
        } else {
            open = Ear(socket: try PacketSocket(for: "what others say of addresses", early: early))
        }
        let isV4 = family == .v4
        if !isV4 {
            // Who asks for an address as we do sends to its solicited-node group. Whoever has it answers to all nodes.
            let (before, after) = (Self.groups(open.addresses), Self.groups(addresses))
            for group in after.subtracting(before) { try open.socket.membership(true, of: group, interface: interface) }
            for group in before.subtracting(after) {
                try open.socket.membership(false, of: group, interface: interface)
            }
        }
        try open.socket.listen(
            interface: interface, type: UInt16(isV4 ? ETH_P_ARP : ETH_P_IPV6),
            program: isV4
                ? ClaimFilter.arp(addresses, interface: interface)
                : ClaimFilter.neighbours(addresses, interface: interface), isFirst: !open.isBound)
        open.isBound = true
        open.addresses = addresses
        ear = open
    }

    private static func addresses(_ links: [LinkState]) -> Set<HardwareAddress> {
        Set(links.compactMap { HardwareAddress($0.hardwareAddress) })
    }

    private static func groups(_ addresses: Set<IPAddress>) -> Set<[UInt8]> {
        Set(addresses.map { IPv6Group(soliciting: $0).hardwareAddress })
    }
}
