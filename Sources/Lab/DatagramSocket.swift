import CLinux
import Glibc
import Platform

/// UDP with the address that was asked for, which a responder on 0.0.0.0 or [::] must answer from.
enum DatagramSocket {
    /// The port of the responders.
    static let port: UInt16 = 7777

    struct Datagram {
        var bytes: [UInt8]
        /// A socket address, see ip(7) and ipv6(7).
        var peer: [UInt8]
        /// The local address it was sent to; empty when the kernel did not say.
        var local: [UInt8]
    }

    /// Opens a non-blocking socket in the calling thread's namespace, bound to `port` (0: any) of all addresses.
    static func open(port: UInt16, family: IPAddress.Family = .v4) throws(SystemError) -> Int32 {
        let descriptor = try retryingOnInterrupt("open a UDP socket") {
            socket(
                family.addressFamily,
                Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        }
        do {
            var on: Int32 = 1
            var size: Int32 = 8 << 20
            let length = socklen_t(MemoryLayout<Int32>.size)
            if family == .v6 {
                // Else IPv4 would be answered here, too, and the socket for it could not be bound.
                try retryingOnInterrupt("set IPV6_V6ONLY") {
                    setsockopt(descriptor, ipv6Level, Int32(IPV6_V6ONLY), &on, length)
                }
            }
            try retryingOnInterrupt("ask for the addresses of datagrams") {
                family == .v4
                    ? setsockopt(descriptor, Int32(IPPROTO_IP), Int32(IP_PKTINFO), &on, length)
                    : setsockopt(descriptor, ipv6Level, receiveInformation, &on, length)
            }
            // Datagrams that wait for ARP count as sent bytes: with the usual buffer the probe would block itself.
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, length)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, length)
            let address = socketAddress(nil, family, port: port)
            try retryingOnInterrupt("bind UDP port", "\(port)") {
                withSocketAddress(address) { bind(descriptor, $0, $1) }
            }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// The next datagram; nil when none waits.
    static func receive(_ descriptor: Int32) -> Datagram? {
        var bytes = [UInt8](repeating: 0, count: 64)
        var control = [UInt8](repeating: 0, count: 64)
        var peer = [UInt8](repeating: 0, count: MemoryLayout<sockaddr_in6>.size)
        while true {
            var message = msghdr()
            let count = bytes.withUnsafeMutableBytes { bytes in
                control.withUnsafeMutableBytes { control in
                    peer.withUnsafeMutableBytes { peer in
                        var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                        return withUnsafeMutablePointer(to: &vector) { vector in
                            message.msg_name = peer.baseAddress
                            message.msg_namelen = socklen_t(peer.count)
                            message.msg_iov = vector
                            message.msg_iovlen = 1
                            message.msg_control = control.baseAddress
                            message.msg_controllen = control.count
                            return recvmsg(descriptor, &message, 0)
                        }
                    }
                }
            }
            if count < 0 {
                if Glibc.errno == EINTR { continue }
                return nil
            }
            return Datagram(
                bytes: Array(bytes[..<count]), peer: Array(peer[..<Int(message.msg_namelen)]),
                local: localAddress(control, length: Int(message.msg_controllen)))
        }
    }

    /// Answers a datagram from the address it was sent to. A failure (the address went meanwhile) is a lost answer.
    static func answer(_ datagram: Datagram, with bytes: [UInt8], on descriptor: Int32) {
        // struct cmsghdr of cmsg(3) is { size_t len; int level; int type; }, then struct in_pktinfo of ip(7) or
        // struct in6_pktinfo of ipv6(7): the interface is left to the kernel.
        let isIPv6 = datagram.local.count == 16
        let none = [UInt8](repeating: 0, count: 4)
        let information = isIPv6 ? datagram.local + none : none + datagram.local + none
        var control: [UInt8] = []
        let length = cmsgHeaderLength + information.count
        withUnsafeBytes(of: length) { control.append(contentsOf: $0) }
        withUnsafeBytes(of: isIPv6 ? ipv6Level : Int32(IPPROTO_IP)) { control.append(contentsOf: $0) }
        withUnsafeBytes(of: isIPv6 ? packetInformation : Int32(IP_PKTINFO)) { control.append(contentsOf: $0) }
        control += information
        control.append(contentsOf: [UInt8](repeating: 0, count: -length & 7))
        var bytes = bytes
        var peer = datagram.peer
        _ = bytes.withUnsafeMutableBytes { bytes in
            control.withUnsafeMutableBytes { control in
                peer.withUnsafeMutableBytes { peer in
                    var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                    return withUnsafeMutablePointer(to: &vector) { vector in
                        var message = msghdr()
                        message.msg_name = peer.baseAddress
                        message.msg_namelen = socklen_t(peer.count)
                        message.msg_iov = vector
                        message.msg_iovlen = 1
                        message.msg_control = control.baseAddress
                        message.msg_controllen = control.count
                        return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
                    }
                }
            }
        }
    }

    /// Sends to a socket address; false when the kernel refused.
    static func send(_ bytes: [UInt8], to address: [UInt8], on descriptor: Int32) -> Bool {
        withSocketAddress(address) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) } >= 0
    }

    /// The socket address of an address and a port; without an address the one that stands for all of them.
    static func socketAddress(_ address: IPAddress?, _ family: IPAddress.Family, port: UInt16) -> [UInt8] {
        var result: [UInt8] = []
        withUnsafeBytes(of: sa_family_t(family.addressFamily)) { result.append(contentsOf: $0) }
        result += [UInt8(port >> 8), UInt8(port & 0xFF)]
        let unspecified = [UInt8](repeating: 0, count: family.bits / 8)
        let bytes = address?.bytes ?? unspecified
        // struct sockaddr_in ends with eight bytes of nothing; sockaddr_in6 has flow information before the address, and the
        // scope after it.
        let four = [UInt8](repeating: 0, count: 4)
        return result + (family == .v4 ? bytes + four + four : four + bytes + four)
    }

    static func withSocketAddress<R>(
        _ address: [UInt8], _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        var storage = sockaddr_storage()
        withUnsafeMutableBytes(of: &storage) { $0.copyBytes(from: address.prefix($0.count)) }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(address.count)) }
        }
    }

    private static let cmsgHeaderLength = 16
    private static let ipv6Level = Int32(IPPROTO_IPV6)
    // linux/in6.h: IPV6_RECVPKTINFO and IPV6_PKTINFO.
    private static let receiveInformation: Int32 = 49
    private static let packetInformation: Int32 = 50

    private static func localAddress(_ control: [UInt8], length: Int) -> [UInt8] {
        guard length >= cmsgHeaderLength else { return [] }
        let level = Int32(bitPattern: control.word32(at: 8))
        if level == ipv6Level, length >= cmsgHeaderLength + 20 {
            return Array(control[cmsgHeaderLength..<(cmsgHeaderLength + 16)])
        }
        // struct in_pktinfo: interface, the address to answer from, the address of the header.
        guard length >= cmsgHeaderLength + 12 else { return [] }
        return Array(control[(cmsgHeaderLength + 4)..<(cmsgHeaderLength + 8)])
    }
}

extension sockaddr_in {
    /// An IPv4 socket address; nil is 0.0.0.0.
    init(to address: IPAddress?, port: UInt16) {
        self.init()
        sin_family = sa_family_t(AF_INET)
        sin_port = port.bigEndian
        if let address, address.family == .v4 {
            sin_addr = address.bytes.withUnsafeBytes { $0.loadUnaligned(as: in_addr.self) }
        }
    }
}
