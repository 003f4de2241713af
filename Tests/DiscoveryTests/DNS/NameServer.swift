import Glibc
import Lab
import Platform

@testable import Discovery

/// A dnsmasq on a loopback port, or in a namespace; ended and removed with `stop`.
final class NameServer: Sendable {
    let port: UInt16
    let directory: String
    private let process: ChildProcess

    /// `options` as in dnsmasq(8), without dashes; `hosts`: lines of a hosts file, which is read anew by `setHosts`.
    ///
    /// The server knows everything below "lab" and nothing else, unless an option says otherwise.
    init(
        hosts: [String] = [], _ options: [String] = [], address: String = "127.0.0.1", port: UInt16? = nil,
        in namespace: Namespace? = nil
    ) async throws {
        var template = Array("/tmp/dqlite-vip-dns-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory like", "/tmp/dqlite-vip-dns-") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.port = try port ?? LoopbackPort.free()
        try Self.write(hosts, to: directory + "/hosts")
        let arguments =
            [
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv",
                "--no-hosts", "--bind-interfaces", "--listen-address=\(address)", "--port=\(self.port)",
                "--addn-hosts=\(directory)/hosts", "--local=/lab/", "--log-queries", "--log-facility=\(directory)/log",
            ] + options.map { "--" + $0 }
        process = try ChildProcess(arguments, in: namespace, log: directory + "/output")
        do {
            try await awaitLog("read \(directory)/hosts", times: 1)
        } catch {
            stop()
            throw error
        }
    }

    var resolver: SystemResolver { resolver() }

    func resolver(limit: Duration = .seconds(5)) -> SystemResolver {
        SystemResolver(timeLimit: limit, servers: [endpoint])
    }

    var endpoint: HostPort { HostPort(host: "127.0.0.1", port: port) }

    private static func write(_ lines: [String], to path: String) throws {
        try DurableFile.write(Array((lines.joined(separator: "\n") + "\n").utf8), to: path, mode: 0o644)
    }

    /// Changes the hosts file and has it read.
    func setHosts(_ lines: [String]) async throws {
        let line = "read \(directory)/hosts"
        let before = try count(line)
        try Self.write(lines, to: directory + "/hosts")
        process.signal(SIGHUP)
        try await awaitLog(line, times: before + 1)
    }

    private func awaitLog(_ text: String, times: Int) async throws {
        try await eventually(
            "\"\(text)\" in the log of dnsmasq", within: .seconds(20), every: .milliseconds(2),
            state: { (try? Self.text(of: self.directory + "/output")) ?? "" }
        ) {
            guard self.process.isRunning else {
                throw LabError("dnsmasq ended: \(try Self.text(of: self.directory + "/output"))")
            }
            return try self.count(text) >= times
        }
    }

    /// How many lines of the log have the text. Every query has one: "query[A] NAME from ...".
    func count(_ text: String) throws -> Int {
        try Self.text(of: directory + "/log").split(separator: "\n").count { $0.contains(text) }
    }

    private static func text(of path: String) throws -> String {
        String(decoding: try DurableFile.read(path) ?? [], as: UTF8.self)
    }

    func stop() {
        process.signal(SIGKILL)
        for name in ["hosts", "log", "output"] { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }
}

enum LoopbackPort {
    /// A port that is free for UDP and TCP at this moment.
    static func free() throws -> UInt16 {
        for _ in 0..<100 {
            let datagram = try LoopbackSocket(SOCK_DGRAM)
            let port = try datagram.port()
            if (try? LoopbackSocket(SOCK_STREAM, port: port)) != nil { return port }
        }
        throw SystemError("find a free port", errno: EADDRINUSE)
    }
}

/// A socket at 127.0.0.1, closed with the object.
final class LoopbackSocket: Sendable {
    let descriptor: Int32

    init(_ type: __socket_type, port: UInt16 = 0) throws(SystemError) {
        descriptor = try retryingOnInterrupt("make a socket") {
            socket(AF_INET, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
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

    func port() throws(SystemError) -> UInt16 {
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

/// A name server that does what no good one does: answers over UDP by a function, or not at all; over TCP it accepts and
/// stays silent, or does not listen.
final class BadNameServer: Sendable {
    let port: UInt16
    private let datagrams: LoopbackSocket
    private let stream: LoopbackSocket?

    /// `reply`: nil for silence.
    init(listensOnTCP: Bool = false, reply: @escaping @Sendable ([UInt8]) -> [UInt8]?) throws {
        port = try LoopbackPort.free()
        let datagrams = try LoopbackSocket(SOCK_DGRAM, port: port)
        self.datagrams = datagrams
        stream = listensOnTCP ? try LoopbackSocket(SOCK_STREAM, port: port) : nil
        if let stream { try retryingOnInterrupt("listen") { listen(stream.descriptor, 8) } }
        try BlockingThread.start(named: "bad-dns") {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                var peer = sockaddr_in()
                var size = socklen_t(MemoryLayout<sockaddr_in>.size)
                let count = withUnsafeMutablePointer(to: &peer) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(datagrams.descriptor, &buffer, buffer.count, 0, $0, &size)
                    }
                }
                // The socket was shut down: see stop.
                guard count > 0 else { return }
                guard let answer = reply(Array(buffer[..<count])) else { continue }
                withUnsafePointer(to: &peer) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        _ = sendto(datagrams.descriptor, answer, answer.count, 0, $0, size)
                    }
                }
            }
        }
    }

    var endpoint: HostPort { HostPort(host: "127.0.0.1", port: port) }

    func stop() {
        shutdown(datagrams.descriptor, Int32(SHUT_RDWR))
    }

    /// The query as an answer with these flags, without records.
    static func answer(_ query: [UInt8], flags: UInt16) -> [UInt8] {
        var answer = query
        answer[2] = UInt8(flags >> 8)
        answer[3] = UInt8(flags & 0xFF)
        return answer
    }
}
