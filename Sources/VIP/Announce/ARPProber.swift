import CLinux
import Dispatch
import Glibc
import Platform

/// What another host said about an address.
public struct ARPSighting: Hashable, Sendable {
    /// The address of which it spoke.
    public var address: IPAddress
    /// Its MAC, as the ARP packet names it.
    public var hardwareAddress: HardwareAddress
    public var claimant: ClaimProbe.Claimant

    /// What a packet says: its sender has its sender address, or, when that is 0.0.0.0, asks for the target address
    /// (RFC 5227 section 2.1.1). nil when it says neither.
    public init?(_ frame: ARPFrame) {
        guard let hardwareAddress = HardwareAddress(frame.senderHardwareAddress) else { return nil }
        self.hardwareAddress = hardwareAddress
        if !frame.senderAddress.isUnspecified {
            (address, claimant) = (frame.senderAddress, .holder)
        } else if frame.operation == .request {
            (address, claimant) = (frame.targetAddress, .rival)
        } else {
            return nil
        }
    }
}

/// Asks an interface for addresses with ARP probes, and takes in what is said about them, over a packet socket (packet(7)).
///
/// It is there only while it is needed. Nobody is woken by what comes in: it is read when a decision is due.
final class ARPProber {
    /// The index of the interface.
    let interface: UInt32
    /// The MACs of this host: what they say does not count.
    private let own: Set<HardwareAddress>
    private let descriptor: Int32
    private var addresses: [IPAddress] = []
    private var isBound = false
    private var buffer = [UInt8](repeating: 0, count: 128)

    /// - Parameter own: all interfaces of this host; another one of them may be on the same LAN.
    /// - Throws: `SystemError`: EPERM without CAP_NET_RAW.
    init(interface: UInt32, own: [LinkState]) throws(SystemError) {
        self.interface = interface
        self.own = Set(own.compactMap { HardwareAddress($0.hardwareAddress) })
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        do {
            // Protocol 0: nothing comes in before the filter is there.
            descriptor = try retryingOnInterrupt("open a packet socket for ARP") { socket(AF_PACKET, kind, 0) }
        } catch {
            throw error.advised(error.errno == EPERM || error.errno == EACCES ? Remedy.netRaw : nil)
        }
    }

    deinit {
        // The kernel waits for all its processors before it lets go of a packet socket: some ms, which nobody has here.
        DispatchQueue.global().async { [descriptor] in close(descriptor) }
    }

    /// Sends a probe, and from now on hears what is said about the address.
    ///
    /// - Throws: `SystemError` with the address and the interface; see `ARPAnnouncer.announce`.
    func probe(_ address: VirtualAddress, on link: LinkState) throws(SystemError) {
        func fail(_ code: Int32) -> SystemError {
            SystemError(
                "ask for", "\(address) on \(link.name)", errno: code,
                remedy: "the address is claimed without knowing whether another host has it")
        }
        guard let frame = ARPFrame(probing: address.address, from: link.hardwareAddress) else {
            throw fail(EAFNOSUPPORT)
        }
        do {
            if !addresses.contains(address.address) { try listen(for: addresses + [address.address]) }
            var target = Self.socketAddress(interface)
            target.sll_halen = 6
            withUnsafeMutableBytes(of: &target.sll_addr) { $0.copyBytes(from: frame.destination) }
            let bytes = frame.bytes
            try retryingOnInterrupt("send") {
                withGeneric(&target) { generic, length in
                    bytes.withUnsafeBytes {
                        sendto(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT), generic, length)
                    }
                }
            }
        } catch {
            throw fail(error.errno)
        }
    }

    /// What came in since the last call; never waits.
    func received() -> [ARPSighting] {
        var sightings: [ARPSighting] = []
        // A flood is taken in pieces, so that nothing else has to wait for it.
        for _ in 0..<1024 {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count < 0 {
                if errno == EINTR { continue }
                // Nothing more, or the interface went down: netlink tells of that.
                if errno == ENETDOWN { continue }
                break
            }
            guard let frame = ARPFrame(decoding: buffer[..<count]), let sighting = ARPSighting(frame),
                !own.contains(sighting.hardwareAddress)
            else { continue }
            sightings.append(sighting)
        }
        return sightings
    }

    private func listen(for addresses: [IPAddress]) throws(SystemError) {
        var program = Self.filter(addresses)
        try retryingOnInterrupt("filter ARP") {
            let count = program.count
            return program.withUnsafeMutableBufferPointer { instructions in
                var description = sock_fprog(len: UInt16(count), filter: instructions.baseAddress)
                return setsockopt(
                    descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &description,
                    socklen_t(MemoryLayout<sock_fprog>.size))
            }
        }
        if !isBound {
            var own = Self.socketAddress(interface)
            try retryingOnInterrupt("listen for ARP") { withGeneric(&own) { bind(descriptor, $0, $1) } }
            isBound = true
        }
        self.addresses = addresses
    }

    /// A classic BPF program (bpf(2), linux/filter.h) for whole Ethernet frames: those pass whose ARP sender address is one
    /// of these or 0.0.0.0. With more of them than a jump is wide all pass, and are told apart here.
    static func filter(_ addresses: [IPAddress]) -> [sock_filter] {
        let values = [0] + addresses.map { $0.bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
        let accept = sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: UInt32(ARPFrame.length))
        guard values.count <= 200 else { return [accept] }
        let load = sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: 28)
        let comparisons = values.enumerated().map { place, value in
            // Over the comparisons that are left and the refusal.
            sock_filter(
                code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: UInt8(values.count - place), jf: 0, k: value)
        }
        return [load] + comparisons + [sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0), accept]
    }

    private static func socketAddress(_ interface: UInt32) -> sockaddr_ll {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = UInt16(ETH_P_ARP).bigEndian
        address.sll_ifindex = Int32(bitPattern: interface)
        return address
    }
}

private func withGeneric<Result>(
    _ address: inout sockaddr_ll, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_ll>.size))
        }
    }
}
