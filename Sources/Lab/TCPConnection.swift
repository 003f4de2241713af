import CLinux
import Glibc
import Platform

/// A blocking TCP connection out of a namespace, with one deadline for everything that happens on it.
public final class TCPConnection: Sendable {
    private let descriptor: Int32
    private let deadline: BootInstant
    private let address: HostPort

    /// Connects to an IPv4 address.
    ///
    /// - Throws: `SystemError`: ECONNREFUSED, ETIMEDOUT (also when `limit` is over) and so on; see connect(2).
    public init(to address: HostPort, in namespace: Namespace, within limit: Duration) throws {
        guard let host = address.address, host.family == .v4 else {
            throw LabError("\(address): the laboratory connects to IPv4 addresses only")
        }
        self.address = address
        deadline = BootClock.now.advanced(by: limit)
        descriptor = try namespace.perform {
            try retryingOnInterrupt("open a TCP socket") {
                socket(
                    AF_INET,
                    Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            }
        }
        // When this throws, deinit runs all the same and closes the descriptor.
        try connect(host)
    }

    private func connect(_ host: IPAddress) throws {
        var destination = sockaddr_in(to: host, port: address.port)
        let result = withUnsafePointer(to: &destination) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result == 0 { return }
        guard Glibc.errno == EINPROGRESS else { throw SystemError.last("connect to", "\(address)") }
        try wait(for: POLLOUT)
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        guard code == 0 else { throw SystemError("connect to", "\(address)", errno: code) }
    }

    /// Sends everything.
    public func send(_ bytes: [UInt8]) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if Glibc.errno == EAGAIN {
                try wait(for: POLLOUT)
            } else if Glibc.errno != EINTR {
                throw SystemError.last("send to", "\(address)")
            }
        }
    }

    /// Up to `count` bytes, at least one; empty when the other side has closed.
    public func receive(upTo count: Int) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        while true {
            let received = recv(descriptor, &buffer, count, 0)
            if received >= 0 { return Array(buffer[..<received]) }
            if Glibc.errno == EAGAIN {
                try wait(for: POLLIN)
            } else if Glibc.errno != EINTR {
                throw SystemError.last("receive from", "\(address)")
            }
        }
    }

    /// Exactly `count` bytes.
    ///
    /// - Throws: `LabError` when the other side closes before.
    public func receive(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let part = try receive(upTo: count - bytes.count)
            if part.isEmpty {
                throw LabError("\(address) closed the connection after \(bytes.count) of \(count) bytes")
            }
            bytes += part
        }
        return bytes
    }

    /// Everything until the other side closes.
    ///
    /// - Throws: `SystemError` with EMSGSIZE above `limit` bytes.
    public func receiveToEnd(limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let part = try receive(upTo: 65536)
            if part.isEmpty { return bytes }
            bytes += part
            if bytes.count > limit { throw SystemError("receive from", "\(address)", errno: EMSGSIZE) }
        }
    }

    /// Whether the other side has closed or reset it. What it has sent and nobody has received hides that; nothing is waited for.
    public var hasEnded: Bool {
        var byte: UInt8 = 0
        let count = recv(descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        return count == 0 || count < 0 && Glibc.errno != EAGAIN && Glibc.errno != EINTR
    }

    private func wait(for event: Int32) throws(SystemError) {
        while true {
            let remaining = BootClock.now.duration(to: deadline).inMilliseconds
            guard remaining > 0 else { throw SystemError("wait for", "\(address)", errno: ETIMEDOUT) }
            var polled = pollfd(fd: descriptor, events: Int16(event), revents: 0)
            if poll(&polled, 1, Int32(clamping: remaining)) > 0 { return }
        }
    }

    deinit { Glibc.close(descriptor) }
}
