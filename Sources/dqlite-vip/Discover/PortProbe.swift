import Glibc
import Platform

/// What answers at an address where the cluster port of another node should be.
struct PortFinding: Hashable, Sendable {
    enum State: String, Sendable, Encodable {
        /// The cluster port of a dqlite-vip node.
        case clusterPort = "cluster-port"
        /// It accepts connections and does not say what it is.
        case accepted
        /// An HTTP server: the API of a node, most likely.
        case http
        case refused
        case noAnswer = "no-answer"
        /// There is no way there.
        case failed
    }

    var state: State
    /// For a person: what it means and what to do.
    var detail: String
}

/// Looks what listens at an address, without pretending to be a node.
///
/// A cluster port answers an HTTP request with a sentence that says what it is, and so do API ports answer in their way:
/// one plain request tells them apart, and no node takes note of it.
enum PortProbe {
    /// How long one address may take, connecting and answering together.
    static let limit: Duration = .seconds(1)
    private static let atOnce = 64

    /// All addresses, up to 64 at a time.
    static func probe(_ addresses: [HostPort]) async -> [PortFinding] {
        var findings: [PortFinding] = []
        for start in stride(from: 0, to: addresses.count, by: atOnce) {
            let part = addresses[start..<min(start + atOnce, addresses.count)]
            findings += await withTaskGroup(of: (Int, PortFinding).self) { group in
                for (index, address) in part.enumerated() {
                    group.addTask {
                        do {
                            return (index, try await BlockingThread.run(named: "probe") { finding(address) })
                        } catch {
                            return (index, PortFinding(state: .failed, detail: "\(error)"))
                        }
                    }
                }
                var found = [PortFinding](repeating: PortFinding(state: .failed, detail: ""), count: part.count)
                for await (index, finding) in group { found[index] = finding }
                return found
            }
        }
        return findings
    }

    /// One address; blocks for `limit` at most.
    static func finding(_ address: HostPort, limit: Duration = limit) -> PortFinding {
        guard let host = address.address else {
            return PortFinding(state: .failed, detail: "\"\(address.host)\" is not an IP address")
        }
        let deadline = BootClock.now.advanced(by: limit)
        do throws(SystemError) {
            let descriptor = try open(host.family, SOCK_STREAM)
            defer { close(descriptor) }
            try connect(descriptor, to: host, address.port, until: deadline)
            return Self.finding(in: answer(descriptor, address, until: deadline))
        } catch {
            return switch error.errno {
            case ECONNREFUSED:
                PortFinding(state: .refused, detail: "nothing listens there: is dqlite-vip started on that machine?")
            case ETIMEDOUT:
                PortFinding(
                    state: .noAnswer,
                    detail: "no answer within \(limit): is the machine up, and does no firewall drop the packets?")
            default: PortFinding(state: .failed, detail: SystemError.text(of: error.errno))
            }
        }
    }

    /// What the answer to an HTTP request says about who gave it.
    static func finding(in answer: [UInt8]) -> PortFinding {
        let text = String(decoding: answer, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            return text.contains("cluster port of dqlite-vip")
                ? PortFinding(state: .clusterPort, detail: "a dqlite-vip node")
                : PortFinding(
                    state: .http,
                    detail: "it speaks HTTP: an API port (--bind-http); give the cluster port, 8800 by default")
        }
        return PortFinding(
            state: .accepted, detail: "it accepts connections, but does not answer as a cluster port of dqlite-vip")
    }

    /// Whether an address is one of this host's own: then it is what packets to it would be sent from.
    static func isOwn(_ address: IPAddress) -> Bool {
        guard let descriptor = try? open(address.family, SOCK_DGRAM) else { return false }
        defer { close(descriptor) }
        // Connecting a datagram socket sends nothing.
        let result = withSocketAddress(address, 9) { Glibc.connect(descriptor, $0, $1) }
        guard result == 0 else { return false }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let bytes = withUnsafeMutableBytes(of: &storage) { raw -> [UInt8] in
            guard let base = raw.baseAddress,
                getsockname(descriptor, base.assumingMemoryBound(to: sockaddr.self), &length) == 0
            else { return [] }
            return Array(raw)
        }
        let offset =
            address.family == .v4
            ? MemoryLayout<sockaddr_in>.offset(of: \.sin_addr) : MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)
        return bytes.dropFirst(offset ?? 0).starts(with: address.bytes)
    }

    // MARK: - Sockets

    private static func open(_ family: IPAddress.Family, _ type: __socket_type) throws(SystemError) -> Int32 {
        try retryingOnInterrupt("open a socket") {
            socket(
                family.addressFamily,
                Int32(type.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        }
    }

    private static func connect(
        _ descriptor: Int32, to host: IPAddress, _ port: UInt16, until deadline: BootInstant
    ) throws(SystemError) {
        let result = withSocketAddress(host, port) { Glibc.connect(descriptor, $0, $1) }
        if result == 0 { return }
        guard errno == EINPROGRESS else { throw SystemError.last("connect") }
        guard wait(descriptor, POLLOUT, until: deadline) else { throw SystemError("connect", errno: ETIMEDOUT) }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        guard code == 0 else { throw SystemError("connect", errno: code) }
    }

    /// What comes back until the other side closes, there is enough of it, or the time is over. An error ends it: what
    /// came before is the answer.
    private static func answer(_ descriptor: Int32, _ address: HostPort, until deadline: BootInstant) -> [UInt8] {
        let request = Array("GET / HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n\r\n".utf8)
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return [] }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 2048)
        while answer.count < 8192, wait(descriptor, POLLIN, until: deadline) {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            answer += chunk[..<count]
        }
        return answer
    }

    private static func wait(_ descriptor: Int32, _ event: Int32, until deadline: BootInstant) -> Bool {
        while true {
            // Looked at once at least: a process that was not run for a while finds the answer there all the same.
            let left = max(0, BootClock.now.duration(to: deadline).inMilliseconds)
            var polled = pollfd(fd: descriptor, events: Int16(event), revents: 0)
            if poll(&polled, 1, Int32(clamping: left)) > 0 { return true }
            if left == 0 { return false }
        }
    }

    private static func withSocketAddress<R>(
        _ host: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        func pass<Address>(_ address: Address) -> R {
            withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<Address>.size))
                }
            }
        }
        switch host.family {
        case .v4:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin_addr) { $0.copyBytes(from: host.bytes) }
            return pass(address)
        case .v6:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: host.bytes) }
            return pass(address)
        }
    }
}
