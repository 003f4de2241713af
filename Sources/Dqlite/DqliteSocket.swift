import CDqlite
import Glibc
import Platform

/// Blocking and half-blocking socket work that NIO and Foundation have no words for.
public enum DqliteSocket {
    /// Calls `body` with the sockaddr of an abstract name: exactly 2 + 1 + length bytes, because every byte within
    /// the length is part of the name (unix(7)).
    ///
    /// - Throws: `SystemError` ENAMETOOLONG above 107 bytes.
    static func withAbstractAddress<T>(
        _ name: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T
    ) throws(SystemError) -> T {
        var address = sockaddr_un()
        let bytes = Array(name.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError("use the abstract socket", "@" + name, errno: ENAMETOOLONG)
        }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            // The first byte stays NUL: the abstract namespace.
            for (index, byte) in bytes.enumerated() { path[index + 1] = byte }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + bytes.count)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// Opens a non-blocking, close-on-exec stream socket to an abstract name.
    ///
    /// A unix connect does not wait, except for room in the listener's queue: then it answers EAGAIN.
    ///
    /// - Throws: `SystemError`; ECONNREFUSED when nobody listens there.
    public static func connect(abstractName name: String) throws(SystemError) -> Int32 {
        let subject = "@" + name
        let descriptor = try retryingOnInterrupt("open a socket to", subject) {
            socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | sockNonBlocking | sockCloseOnExec, 0)
        }
        do throws(SystemError) {
            var result: Int32 = 0
            repeat {
                result = try withAbstractAddress(name) { Glibc.connect(descriptor, $0, $1) }
            } while result != 0 && errno == EINTR
            if result != 0 { throw SystemError.last("connect to", subject) }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Opens a non-blocking, close-on-exec TCP connection, blocking until it stands or `deadline` has passed.
    ///
    /// - Throws: `SystemError`; EINVAL when the host is a name, ETIMEDOUT at the deadline.
    public static func connect(tcp address: HostPort, until deadline: BootInstant) throws(SystemError) -> Int32 {
        let subject = address.description
        guard let host = address.address else {
            throw SystemError("connect to", subject, errno: EINVAL, remedy: "give an IP address, not a name")
        }
        let descriptor = try retryingOnInterrupt("open a socket to", subject) {
            socket(host.family.addressFamily, Int32(SOCK_STREAM.rawValue) | sockNonBlocking | sockCloseOnExec, 0)
        }
        do throws(SystemError) {
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            if connectInet(descriptor, host, address.port) != 0 {
                guard errno == EINPROGRESS || errno == EINTR else { throw SystemError.last("connect to", subject) }
                guard try wait(descriptor, for: Int16(POLLOUT), until: deadline, subject) else {
                    throw SystemError("connect to", subject, errno: ETIMEDOUT)
                }
                var failure: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length)
                if failure != 0 { throw SystemError("connect to", subject, errno: failure) }
            }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Waits until the descriptor is ready for `events`, has failed or was closed.
    ///
    /// - Returns: false when the deadline passed first.
    static func wait(
        _ descriptor: Int32, for events: Int16, until deadline: BootInstant, _ subject: @autoclosure () -> String
    ) throws(SystemError) -> Bool {
        while true {
            let remaining = max(0, BootClock.now.duration(to: deadline).inNanoseconds)
            let count = cdqlite_wait(descriptor, events, remaining)
            if count > 0 { return true }
            if count == 0 { return false }
            if errno != EINTR { throw SystemError.last("wait for", subject()) }
        }
    }

    private static func connectInet(_ descriptor: Int32, _ host: IPAddress, _ port: UInt16) -> Int32 {
        switch host.family {
        case .v4:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: host.bytes) }
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        case .v6:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: host.bytes) }
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
    }

    private static let sockNonBlocking = Int32(SOCK_NONBLOCK.rawValue)
    private static let sockCloseOnExec = Int32(SOCK_CLOEXEC.rawValue)
}
