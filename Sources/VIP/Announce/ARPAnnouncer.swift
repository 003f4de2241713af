import CLinux
import Glibc
import Platform

/// Sends gratuitous ARP over a packet socket (packet(7)). It never waits.
///
/// It sends in the network namespace of the thread that created it, and may be used from any thread.
public final class ARPAnnouncer: Sendable {
    /// What became of an announcement.
    public enum Outcome: Hashable, Sendable {
        /// The request and the reply form were given to the interface.
        case sent
        /// The interface has no use for ARP; the reason in words.
        case skipped(reason: String)
    }

    private let descriptor: Int32

    /// - Throws: `SystemError`: EPERM without CAP_NET_RAW.
    public init() throws(SystemError) {
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        do {
            // Protocol 0: the socket receives nothing, so that no queue fills.
            descriptor = try retryingOnInterrupt("open a packet socket for ARP") { socket(AF_PACKET, kind, 0) }
        } catch {
            throw error.advised(error.errno == EPERM || error.errno == EACCES ? Remedy.netRaw : nil)
        }
    }

    deinit { close(descriptor) }

    /// Sends one announcement: the request form and the reply form.
    ///
    /// - Parameters:
    ///   - address: an IPv4 address that this host holds.
    ///   - link: the interface as it is now; its MAC is the one that is announced. Read it right before.
    /// - Returns: whether frames were sent, or why this interface needs none.
    /// - Throws: `SystemError` with the address and the interface: ENETDOWN when the interface is down, ENODEV or ENXIO when
    ///   it is gone, ENOBUFS or EAGAIN when its queue is full, EAFNOSUPPORT for an IPv6 address.
    public func announce(_ address: VirtualAddress, on link: LinkState) throws(SystemError) -> Outcome {
        func fail(_ code: Int32) -> SystemError {
            SystemError(
                "announce", "\(address) on \(link.name)", errno: code, remedy: Self.remedy(for: code, on: link.name))
        }
        if link.isLoopback { return .skipped(reason: "\(link.name) is a loopback interface") }
        if link.noARP { return .skipped(reason: "\(link.name) does not use ARP (NOARP)") }
        guard link.hardwareType == UInt16(ARPHRD_ETHER) else {
            return .skipped(reason: "\(link.name) is no Ethernet interface (hardware type \(link.hardwareType))")
        }
        guard address.address.family == .v4 else { throw fail(EAFNOSUPPORT) }
        for operation in ARPFrame.Operation.allCases {
            guard let frame = ARPFrame(announcing: address.address, at: link.hardwareAddress, as: operation) else {
                return .skipped(reason: "\(link.name) has no MAC of 6 bytes")
            }
            try send(frame, interface: link.index, failure: fail)
        }
        return .sent
    }

    private func send(
        _ frame: ARPFrame, interface: UInt32, failure: (Int32) -> SystemError
    ) throws(SystemError) {
        var target = sockaddr_ll()
        target.sll_family = UInt16(AF_PACKET)
        target.sll_protocol = UInt16(ETH_P_ARP).bigEndian
        target.sll_ifindex = Int32(bitPattern: interface)
        target.sll_halen = 6
        withUnsafeMutableBytes(of: &target.sll_addr) { $0.copyBytes(from: frame.destination) }
        let bytes = frame.bytes
        let dontWait = Int32(MSG_DONTWAIT)
        do {
            try retryingOnInterrupt("send") {
                withUnsafePointer(to: target) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                        bytes.withUnsafeBytes {
                            sendto(
                                descriptor, $0.baseAddress, $0.count, dontWait, generic,
                                socklen_t(MemoryLayout<sockaddr_ll>.size))
                        }
                    }
                }
            }
        } catch {
            throw failure(error.errno)
        }
    }

    private static func remedy(for code: Int32, on interface: String) -> String? {
        switch code {
        case ENETDOWN:
            "the interface is down; the address is announced when it is up again (`ip link set \(interface) up`)"
        case ENODEV, ENXIO: "the interface is gone; see `ip link`"
        case ENOBUFS, EAGAIN: "the interface's send queue is full; the next announcement follows by itself"
        case EPERM, EACCES: Remedy.netRaw
        case EAFNOSUPPORT: "IPv6 virtual addresses are not supported yet: give an IPv4 address"
        default: nil
        }
    }
}

extension SystemError {
    /// The same error with advice.
    func advised(_ remedy: String?) -> SystemError {
        var error = self
        error.remedy = remedy
        return error
    }
}
