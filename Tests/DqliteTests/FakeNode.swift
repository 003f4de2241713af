import Dqlite
import Glibc
import NIOCore
import NIOPosix
import Platform
import Synchronization

/// A server on an abstract socket that answers as it is told, chunk by chunk; for what a real node does not do.
final class FakeNode: Sendable {
    enum Step: Sendable {
        /// Reads that many bytes; the test fails by its time-out when they do not come.
        case read(Int)
        case write([UInt8])
        case close
    }

    let address: DqliteAddress
    private let listener: Int32
    private let threads = NIOThreadPool(numberOfThreads: 1)
    private let received = Mutex<[UInt8]>([])

    /// Serves one connection after the other, each with its own steps; each stays open until the client goes, or `close`.
    init(_ connections: [[Step]]) throws {
        let name = "dqlite-fake-\(getpid())-\(UInt64.random(in: .min ... .max))"
        address = .abstractSocket(name)
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var socketAddress = sockaddr_un()
        socketAddress.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &socketAddress.sun_path) { path in
            for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
        }
        let length = socklen_t(3 + name.utf8.count)
        let result = withUnsafePointer(to: &socketAddress) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) }
        }
        guard result == 0, listen(listener, 8) == 0 else { throw SystemError.last("listen on", name) }
        self.listener = listener
        threads.start()
        threads.submit { [self] _ in
            for steps in connections {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                perform(steps, connection)
            }
        }
    }

    var bytes: [UInt8] { received.withLock { $0 } }

    deinit {
        close(listener)
        threads.shutdownGracefully { _ in }
    }

    private func perform(_ steps: [Step], _ connection: Int32) {
        defer { close(connection) }
        for step in steps {
            switch step {
            case .read(let count):
                var left = count
                var chunk = [UInt8](repeating: 0, count: count)
                while left > 0 {
                    let count = read(connection, &chunk, left)
                    guard count > 0 else { return }
                    received.withLock { $0.append(contentsOf: chunk[..<count]) }
                    left -= count
                }
            case .write(let bytes):
                _ = bytes.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            case .close: return
            }
        }
        // Until the client goes.
        var byte: UInt8 = 0
        while read(connection, &byte, 1) > 0 {}
    }
}

/// A whole message from a node.
func message(_ type: UInt8, _ body: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: UInt32(body.count / 8).littleEndian) { Array($0) } + [type, 0, 0, 0] + body
}
