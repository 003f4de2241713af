import Glibc
import Platform
import Synchronization

/// A TCP connection that sends whatever it is told, for what no proper client would send.
final class RawConnection: Sendable {
    private let descriptor: Mutex<Int32>

    init(to address: HostPort) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError.last("make a socket") }
        self.descriptor = Mutex(descriptor)
        var peer = loopback(address.port)
        try retryingOnInterrupt("connect to", address.description) {
            withUnsafePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        // So that a server that never answers fails a test and does not hang it.
        var limit = timeval(tv_sec: 15, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        var offset = 0
        let descriptor = descriptor.withLock { $0 }
        while offset < bytes.count {
            offset += try retryingOnInterrupt("send") {
                bytes.withUnsafeBytes {
                    Glibc.send(
                        descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset,
                        Int32(MSG_NOSIGNAL))
                }
            }
        }
    }

    func finishSending() {
        _ = shutdown(descriptor.withLock { $0 }, Int32(SHUT_WR))
    }

    /// What comes next; "" when the peer has closed, also when it did so by a reset.
    func read() async throws -> String {
        let descriptor = descriptor.withLock { $0 }
        return try await BlockingThread.run(named: "test read") {
            var buffer = [UInt8](repeating: 0, count: 65536)
            do throws(SystemError) {
                let count = try retryingOnInterrupt("read") { recv(descriptor, &buffer, buffer.count, 0) }
                return String(decoding: buffer.prefix(count), as: UTF8.self)
            } catch {
                if error.errno == ECONNRESET { return "" }
                throw error
            }
        }
    }

    func readToEnd() async throws -> String {
        var text = ""
        while true {
            let part = try await read()
            if part.isEmpty { return text }
            text += part
        }
    }

    func close() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }
    }
}

/// A listening socket on loopback that is no HTTP server.
final class Listener: Sendable {
    let address: HostPort
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError.last("make a socket") }
        self.descriptor = descriptor
        var own = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) | listen(descriptor, 8) | getsockname(descriptor, $0, &length)
            }
        }
        guard code == 0 else { throw SystemError.last("listen") }
        address = HostPort(host: "127.0.0.1", port: UInt16(bigEndian: own.sin_port))
    }

    /// Accepts one connection, reads something, sends the bytes, closes.
    func answerOne(with text: String) async throws {
        let descriptor = descriptor
        try await BlockingThread.run(named: "test listener") {
            let peer = try retryingOnInterrupt("accept") { accept(descriptor, nil, nil) }
            defer { Glibc.close(peer) }
            var buffer = [UInt8](repeating: 0, count: 4096)
            try retryingOnInterrupt("read") { recv(peer, &buffer, buffer.count, 0) }
            let bytes = Array(text.utf8)
            try retryingOnInterrupt("send") { Glibc.send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }
        }
    }

    func close() { Glibc.close(descriptor) }
}

private func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
}

/// Runs a script with /bin/sh and gives back what it wrote to standard output.
func shell(_ script: String) async throws -> String {
    try await BlockingThread.run(named: "test shell") {
        guard let pipe = popen(script, "r") else { throw SystemError.last("run", "/bin/sh") }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            if count == 0 { break }
            output += buffer.prefix(count)
        }
        pclose(pipe)
        return String(decoding: output, as: UTF8.self)
    }
}
