import Glibc
import NIOCore
import NIOPosix
import Platform

/// What NIO throws when there is no connection, as people know it from the kernel.
enum ConnectFailure {
    /// The error of `connect(2)` behind an error of NIO; the error itself when there is none.
    static func explain(_ error: any Error, _ target: String) -> any Error {
        if let code = code(of: error) { return SystemError("connect to", target, errno: code) }
        return error
    }

    private static func code(of error: any Error) -> Int32? {
        switch error {
        case let error as SystemError: error.errno
        case let error as IOError: error.errnoCode
        case let error as NIOConnectionError: error.connectionErrors.lazy.compactMap { code(of: $0.error) }.first
        case let error as ChannelError:
            if case .connectTimeout = error { ETIMEDOUT } else { nil }
        default: nil
        }
    }
}
