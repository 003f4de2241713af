import CLinux
import Glibc
import Platform

/// UDP over IPv4 with the address that was asked for, which a responder on 0.0.0.0 must answer from.
enum DatagramSocket {
    /// The port of the responders.
    static let port: UInt16 = 7777

    struct Datagram {
        var bytes: [UInt8]
        var peer: sockaddr_in
        /// The local address it was sent to; 0 when the kernel did not say.
        var local: in_addr
    }

    /// Opens a non-blocking socket in the calling thread's namespace, bound to 0.0.0.0:`port` (0: any port).
    static func open(port: UInt16) throws(SystemError) -> Int32 {
        let descriptor = try retryingOnInterrupt("open a UDP socket") {
            socket(
                AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        }
        do {
            var on: Int32 = 1
            var size: Int32 = 8 << 20
            let length = socklen_t(MemoryLayout<Int32>.size)
            try retryingOnInterrupt("set IP_PKTINFO") {
                setsockopt(descriptor, Int32(IPPROTO_IP), Int32(IP_PKTINFO), &on, length)
            }
            // Datagrams that wait for ARP count as sent bytes: with the usual buffer the probe would block itself.
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, length)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, length)
            var address = sockaddr_in(to: nil, port: port)
            try retryingOnInterrupt("bind UDP port", "\(port)") {
                withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
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
        var peer = sockaddr_in()
        while true {
            let (count, controlLength) = bytes.withUnsafeMutableBytes { bytes in
                control.withUnsafeMutableBytes { control in
                    withUnsafeMutablePointer(to: &peer) { peer in
                        var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                        return withUnsafeMutablePointer(to: &vector) { vector in
                            var message = msghdr()
                            message.msg_name = UnsafeMutableRawPointer(peer)
                            message.msg_namelen = socklen_t(MemoryLayout<sockaddr_in>.size)
                            message.msg_iov = vector
                            message.msg_iovlen = 1
                            message.msg_control = control.baseAddress
                            message.msg_controllen = control.count
                            return (recvmsg(descriptor, &message, 0), message.msg_controllen)
                        }
                    }
                }
            }
            if count < 0 {
                if Glibc.errno == EINTR { continue }
                return nil
            }
            return Datagram(
                bytes: Array(bytes[..<count]), peer: peer, local: packetInformation(control, length: Int(controlLength))
            )
        }
    }

    /// Answers a datagram from the address it was sent to. A failure (the address went meanwhile) is a lost answer.
    static func answer(_ datagram: Datagram, with bytes: [UInt8], on descriptor: Int32) {
        // struct cmsghdr of cmsg(3) is { size_t len; int level; int type; }, then struct in_pktinfo of ip(7).
        var information = in_pktinfo()
        information.ipi_spec_dst = datagram.local
        var control: [UInt8] = []
        let length = cmsgHeaderLength + MemoryLayout<in_pktinfo>.size
        withUnsafeBytes(of: length) { control.append(contentsOf: $0) }
        withUnsafeBytes(of: Int32(IPPROTO_IP)) { control.append(contentsOf: $0) }
        withUnsafeBytes(of: Int32(IP_PKTINFO)) { control.append(contentsOf: $0) }
        withUnsafeBytes(of: information) { control.append(contentsOf: $0) }
        control.append(contentsOf: [UInt8](repeating: 0, count: -length & 7))
        var bytes = bytes
        var peer = datagram.peer
        _ = bytes.withUnsafeMutableBytes { bytes in
            control.withUnsafeMutableBytes { control in
                withUnsafeMutablePointer(to: &peer) { peer in
                    var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                    return withUnsafeMutablePointer(to: &vector) { vector in
                        var message = msghdr()
                        message.msg_name = UnsafeMutableRawPointer(peer)
                        message.msg_namelen = socklen_t(MemoryLayout<sockaddr_in>.size)
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

    /// Sends to an address; false when the kernel refused.
    static func send(_ bytes: [UInt8], to address: sockaddr_in, on descriptor: Int32) -> Bool {
        var address = address
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        } >= 0
    }

    private static let cmsgHeaderLength = 16

    private static func packetInformation(_ control: [UInt8], length: Int) -> in_addr {
        guard length >= cmsgHeaderLength + MemoryLayout<in_pktinfo>.size else { return in_addr() }
        return control.withUnsafeBytes {
            $0.loadUnaligned(fromByteOffset: cmsgHeaderLength, as: in_pktinfo.self).ipi_spec_dst
        }
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
