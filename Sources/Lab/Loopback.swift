import CLinux
import Glibc
import Platform

/// Ports for servers of tests.
public enum LoopbackPort {
    /// A port that is free for UDP and TCP at this moment.
    public static func free() throws -> UInt16 {
        for _ in 0..<100 {
            let datagram = try LoopbackSocket(.datagram)
            let port = try datagram.port()
            if (try? LoopbackSocket(.stream, port: port)) != nil { return port }
        }
        throw SystemError("find a free port", errno: EADDRINUSE)
    }
}

/// A socket at 127.0.0.1, closed with the object.
public final class LoopbackSocket: Sendable {
    public let descriptor: Int32

    public enum Kind: Sendable {
        case datagram, stream
    }

    /// `port`: 0 takes any that is free.
    public init(_ kind: Kind, port: UInt16 = 0) throws(SystemError) {
        descriptor = try retryingOnInterrupt("make a socket") {
            socket(
                AF_INET, Int32((kind == .stream ? SOCK_STREAM : SOCK_DGRAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let descriptor = descriptor
        try retryingOnInterrupt("bind a socket") {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }

    public func port() throws(SystemError) -> UInt16 {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try retryingOnInterrupt("ask for the address of a socket") {
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}
