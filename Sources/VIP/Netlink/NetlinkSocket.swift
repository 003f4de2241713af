import CLinux
import Glibc
import Platform

/// A socket to the kernel's rtnetlink(7), in the network namespace of the thread that opens it; closed with its last owner.
final class NetlinkSocket: Sendable {
    let descriptor: Int32
    /// The netlink port that the kernel gave us; it stands in each answer.
    let port: UInt32

    /// Larger than any datagram of the kernel: a dump comes in pieces of at most 32 KiB.
    static let receiveCapacity = 65536

    /// - Parameters:
    ///   - groups: RTMGRP_… to subscribe to; 0 for none.
    ///   - receiveBuffer: bytes of SO_RCVBUF to ask for; the limit of net.core.rmem_max is exceeded where we may.
    ///   - timeout: how long a receive waits; nil for a socket that never waits.
    /// - Throws: `SystemError` when the socket cannot be opened or bound.
    init(groups: UInt32 = 0, receiveBuffer: Int32 = 1 << 20, timeout: Duration? = .seconds(2)) throws(SystemError) {
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let nonBlocking = timeout == nil ? Int32(SOCK_NONBLOCK.rawValue) : 0
        let descriptor = try retryingOnInterrupt("open a netlink socket") {
            socket(AF_NETLINK, kind | nonBlocking, NETLINK_ROUTE)
        }
        do {
            port = try Self.configure(descriptor, groups: groups, receiveBuffer: receiveBuffer, timeout: timeout)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    private static func configure(
        _ descriptor: Int32, groups: UInt32, receiveBuffer: Int32, timeout: Duration?
    ) throws(SystemError) -> UInt32 {
        func option(_ level: Int32, _ name: Int32, _ value: some BitwiseCopyable) -> Bool {
            withUnsafeBytes(of: value) {
                setsockopt(descriptor, level, name, $0.baseAddress, socklen_t($0.count)) == 0
            }
        }
        // SO_RCVBUFFORCE needs CAP_NET_ADMIN; SO_RCVBUF silently takes what net.core.rmem_max allows.
        if !option(SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer) { _ = option(SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        // Explanations in errors, short errors, filtered dumps: each is a help that older kernels may refuse.
        for name in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            _ = option(SOL_NETLINK, Int32(name), Int32(1))
        }
        if let timeout {
            let nanoseconds = timeout.inNanoseconds
            let value = timeval(
                tv_sec: Int(nanoseconds / 1_000_000_000), tv_usec: Int(nanoseconds % 1_000_000_000 / 1000))
            guard option(SOL_SOCKET, SO_RCVTIMEO, value) else {
                throw SystemError.last("set the time limit of a netlink socket")
            }
        }
        var local = sockaddr_nl()
        local.nl_family = sa_family_t(AF_NETLINK)
        local.nl_groups = groups
        var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
        let size = length
        let result = withUnsafeMutablePointer(to: &local) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, size) == 0 ? getsockname(descriptor, generic, &length) : -1
            }
        }
        guard result == 0 else { throw SystemError.last("bind a netlink socket") }
        return local.nl_pid
    }

    /// Throws away the answers that an earlier exchange did not read, without waiting.
    ///
    /// The kernel has one dump at a time for a socket, and refuses the next one (EBUSY) until this one is read to its end.
    func discardAnswers(using buffer: inout [UInt8]) {
        while true {
            let count = buffer.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
            }
            if count < 0 && errno != EINTR { return }
        }
    }

    /// Sends one request to the kernel.
    func send(_ request: [UInt8]) throws(SystemError) {
        try retryingOnInterrupt("send a netlink request") {
            request.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, 0) }
        }
    }

    /// The next datagram of the kernel, decoded.
    ///
    /// - Throws: EAGAIN after the time limit, or at once on a socket that never waits; ENOBUFS when events were lost.
    func receive(into buffer: inout [UInt8]) throws(SystemError) -> [NetlinkMessage] {
        while true {
            var sender = sockaddr_nl()
            var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
            let count = try retryingOnInterrupt("receive from netlink") {
                buffer.withUnsafeMutableBytes { raw in
                    withUnsafeMutablePointer(to: &sender) { pointer in
                        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                            // MSG_TRUNC: the true length also of a datagram that did not fit.
                            recvfrom(descriptor, raw.baseAddress, raw.count, Int32(MSG_TRUNC), generic, &length)
                        }
                    }
                }
            }
            guard count <= buffer.count else {
                throw SystemError("receive from netlink", "\(count) bytes at once", errno: EMSGSIZE)
            }
            // Port 0 is the kernel; a process with privileges may write to us too, and is not listened to.
            if sender.nl_pid == 0 { return NetlinkMessage.decode(buffer[..<count]) }
        }
    }
}
