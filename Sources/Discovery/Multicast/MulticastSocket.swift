import CLinux
import Glibc
import Platform

/// A UDP socket that is a member of a multicast group on one interface, in the network namespace of the thread that
/// opens it; closed with its last owner. It needs no privilege and never waits.
///
/// It is bound to the group itself, so that nothing that is sent to the host's own addresses arrives, and sends with the
/// interface's address and the group's port as its source (ip(7), ipv6(7)).
final class MulticastSocket: Sendable {
    struct Datagram {
        var bytes: [UInt8]
        var source: IPAddress
    }

    let descriptor: Int32
    /// The index of the interface, which another one of the same name does not have.
    let interface: UInt32
    private let group: MulticastConfiguration.Group

    /// - Throws: `SystemError`: ENODEV when the interface does not have the group's family.
    init(_ group: MulticastConfiguration.Group, interface: UInt32, timeToLive: UInt8) throws(SystemError) {
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = try retryingOnInterrupt("open a UDP socket") {
            socket(group.address.family.addressFamily, kind, 0)
        }
        do throws(SystemError) {
            try Self.configure(descriptor, group, interface, timeToLive)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.interface = interface
        self.group = group
    }

    deinit { close(descriptor) }

    private static func configure(
        _ descriptor: Int32, _ group: MulticastConfiguration.Group, _ interface: UInt32, _ timeToLive: UInt8
    ) throws(SystemError) {
        func set<Value>(_ what: String, _ level: Int, _ name: Int32, _ value: Value) throws(SystemError) {
            try retryingOnInterrupt(what, "\(group)") {
                withUnsafeBytes(of: value) {
                    setsockopt(descriptor, Int32(level), name, $0.baseAddress, socklen_t($0.count))
                }
            }
        }
        // With it several sockets get a copy each of what comes for the group: two daemons on one host, or `discover`
        // beside a daemon. SO_REUSEPORT would do so only for processes of one user.
        try set("share the port of", Int(SOL_SOCKET), SO_REUSEADDR, Int32(1))
        switch group.address.family {
        case .v4:
            let level = Int(IPPROTO_IP)
            let here = ip_mreqn(
                imr_multiaddr: in_addr(group.address), imr_address: in_addr(), imr_ifindex: Int32(bitPattern: interface)
            )
            try set("choose the interface for", level, IP_MULTICAST_IF, here)
            try set("limit the reach to", level, IP_MULTICAST_TTL, Int32(timeToLive))
            try set("hear this host's own datagrams to", level, IP_MULTICAST_LOOP, Int32(1))
            // Without it the socket would hear what any other program of the host has joined the group for.
            try set("hear only the interface for", level, Int32(IP_MULTICAST_ALL), Int32(0))
            try set("ask for the interface of datagrams to", level, Int32(IP_PKTINFO), Int32(1))
            try bind(descriptor, group, interface)
            try set("join the multicast group", level, IP_ADD_MEMBERSHIP, here)
        case .v6:
            let level = Int(IPPROTO_IPV6)
            try set("use only IPv6 for", level, IPV6_V6ONLY, Int32(1))
            try set("choose the interface for", level, IPV6_MULTICAST_IF, interface)
            try set("limit the reach to", level, IPV6_MULTICAST_HOPS, Int32(timeToLive))
            try set("hear this host's own datagrams to", level, IPV6_MULTICAST_LOOP, Int32(1))
            // Since Linux 4.20; what older kernels let through, `receive` does not.
            try? set("hear only the interface for", level, Int32(IPV6_MULTICAST_ALL), Int32(0))
            try set("ask for the interface of datagrams to", level, Int32(IPV6_RECVPKTINFO), Int32(1))
            try bind(descriptor, group, interface)
            try set(
                "join the multicast group", level, IPV6_JOIN_GROUP,
                ipv6_mreq(ipv6mr_multiaddr: in6_addr(group.address), ipv6mr_interface: interface))
        }
    }

    private static func bind(
        _ descriptor: Int32, _ group: MulticastConfiguration.Group, _ interface: UInt32
    ) throws(SystemError) {
        try retryingOnInterrupt("bind to", "\(group)") {
            withSocketAddress(of: group, interface) { Glibc.bind(descriptor, $0, $1) }
        }
    }

    /// Sends to the group. It may be lost, as any datagram.
    func send(_ bytes: [UInt8]) throws(SystemError) {
        try retryingOnInterrupt("send to", "\(group)") {
            Self.withSocketAddress(of: group, interface) {
                sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, $1)
            }
        }
    }

    /// The next datagram that came over the interface; nil when none waits.
    func receive(into buffer: inout [UInt8]) throws(SystemError) -> Datagram? {
        // Room for in6_pktinfo, the longer one, and for what other options may add some day.
        var control = [UInt8](repeating: 0, count: 256)
        while true {
            var source = sockaddr_storage()
            var controlLength = 0
            let count = buffer.withUnsafeMutableBytes { bytes in
                control.withUnsafeMutableBytes { control in
                    withUnsafeMutablePointer(to: &source) { source in
                        var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                        return withUnsafeMutablePointer(to: &vector) { vector in
                            var message = msghdr()
                            message.msg_name = UnsafeMutableRawPointer(source)
                            message.msg_namelen = socklen_t(MemoryLayout<sockaddr_storage>.size)
                            message.msg_iov = vector
                            message.msg_iovlen = 1
                            message.msg_control = control.baseAddress
                            message.msg_controllen = control.count
                            let count = recvmsg(descriptor, &message, 0)
                            controlLength = message.msg_controllen
                            return count
                        }
                    }
                }
            }
            if count < 0 {
                let code = errno
                if code == EINTR { continue }
                if code == EAGAIN { return nil }
                throw SystemError("receive from", "\(group)", errno: code)
            }
            guard Self.interface(in: control[..<controlLength]) == interface, let address = IPAddress(source) else {
                continue
            }
            return Datagram(bytes: Array(buffer[..<count]), source: address)
        }
    }

    /// The index of the interface in struct in_pktinfo (ip(7)) or struct in6_pktinfo (RFC 3542 section 6.1), which Swift
    /// does not see: an address of 16 bytes, then the index.
    static func interface(in control: ArraySlice<UInt8>) -> UInt32? {
        // struct cmsghdr of cmsg(3) is { size_t length of all; int level; int type; }, each at a multiple of size_t.
        let header = MemoryLayout<Int>.size + 8
        var rest = control
        func number(at offset: Int) -> UInt32 {
            rest.dropFirst(offset).withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
        }
        while rest.count >= header {
            let length = rest.withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
            guard length >= header, length <= rest.count else { return nil }
            let level = Int32(bitPattern: number(at: header - 8))
            let type = Int32(bitPattern: number(at: header - 4))
            if level == Int32(IPPROTO_IP), type == Int32(IP_PKTINFO), length >= header + 4 { return number(at: header) }
            if level == Int32(IPPROTO_IPV6), type == Int32(IPV6_PKTINFO), length >= header + 20 {
                return number(at: header + 16)
            }
            let alignment = MemoryLayout<Int>.alignment
            rest = rest.dropFirst((length + alignment - 1) / alignment * alignment)
        }
        return nil
    }

    private static func withSocketAddress<Result>(
        of group: MulticastConfiguration.Group, _ interface: UInt32,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        func generic<Address>(_ address: Address) -> Result {
            var address = address
            let size = MemoryLayout<Address>.size
            return withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
            }
        }
        switch group.address.family {
        case .v4:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = group.port.bigEndian
            address.sin_addr = in_addr(group.address)
            return generic(address)
        case .v6:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = group.port.bigEndian
            address.sin6_addr = in6_addr(group.address)
            // The kernel takes it for link-local scope, and ignores it for a larger one.
            address.sin6_scope_id = interface
            return generic(address)
        }
    }
}

extension in_addr {
    fileprivate init(_ address: IPAddress) {
        self = address.bytes.withUnsafeBytes { $0.loadUnaligned(as: in_addr.self) }
    }
}

extension in6_addr {
    fileprivate init(_ address: IPAddress) {
        self = address.bytes.withUnsafeBytes { $0.loadUnaligned(as: in6_addr.self) }
    }
}

extension IPAddress {
    fileprivate init?(_ address: sockaddr_storage) {
        let bytes = withUnsafeBytes(of: address) { Array($0) }
        switch Int32(address.ss_family) {
        // sin_addr of sockaddr_in and sin6_addr of sockaddr_in6: ip(7), ipv6(7).
        case AF_INET: self.init(bytes: bytes[4..<8])
        case AF_INET6: self.init(bytes: bytes[8..<24])
        default: return nil
        }
    }
}
