import Glibc
import Platform
import Synchronization

/// A small HTTP/1.1 server on loopback with a thread for each connection. What it answers depends on the path:
///
/// - `/echo`: the request itself, head and body; also for whole URLs, as a proxy is asked.
/// - `/hold`: nothing until `release` is called.
/// - `/bytes/<n>`: n bytes.
/// - `/garbage`: no HTTP. `/silence`: the connection is closed. `/short`: less than was announced.
/// - `/status/<n>`: that status.
final class HTTPServer: Sendable {
    enum Event: Hashable, Sendable {
        case accepted
        case requested(String)
        /// The client closed a connection that had not been answered.
        case abandoned
    }

    private struct State {
        var accepted = 0
        var connections: Set<Int32> = []
        var requests: [String] = []
        var held: [Int32] = []
        var events: [Event] = []
        var waiters: [(Event, CheckedContinuation<Void, Never>)] = []
    }

    let port: UInt16
    private let listener: Int32
    private let state = Mutex(State())

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard listener >= 0 else { throw SystemError.last("make a socket") }
        self.listener = listener
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 512) == 0 ? getsockname(listener, $0, &length) : -1
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        guard code == 0 else { throw SystemError.last("listen on loopback") }
        try BlockingThread.start(named: "test accept") { [self] in acceptAll() }
    }

    var url: String { "http://127.0.0.1:\(port)" }
    /// How many connections there were so far.
    var accepted: Int { state.withLock { $0.accepted } }
    /// How many there are now.
    var connections: Int { state.withLock { $0.connections.count } }
    /// The heads and bodies of all requests so far.
    var requests: [String] { state.withLock { $0.requests } }

    /// Returns when the event has happened, once for each time that it did.
    func wait(for event: Event) async {
        await withCheckedContinuation { continuation in
            let happened = state.withLock { state in
                guard let index = state.events.firstIndex(of: event) else {
                    state.waiters.append((event, continuation))
                    return false
                }
                state.events.remove(at: index)
                return true
            }
            if happened { continuation.resume() }
        }
    }

    /// Answers all requests that are held.
    func release() {
        let held = state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
        for descriptor in held { write(descriptor, answer(200, "released")) }
    }

    /// Closes all connections from this side.
    func hangUp() {
        state.withLock { state in
            for descriptor in state.connections { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func happen(_ event: Event) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let index = state.waiters.firstIndex(where: { $0.0 == event }) else {
                state.events.append(event)
                return nil
            }
            return state.waiters.remove(at: index).1
        }
        waiter?.resume()
    }

    private func acceptAll() {
        while true {
            let descriptor = accept(listener, nil, nil)
            if descriptor < 0 { break }
            state.withLock { state in
                state.accepted += 1
                state.connections.insert(descriptor)
            }
            happen(.accepted)
            do {
                try BlockingThread.start(named: "test serve", stackSize: 128 << 10) { [self] in serve(descriptor) }
            } catch {
                state.withLock { _ = $0.connections.remove(descriptor) }
                close(descriptor)
            }
        }
        close(listener)
    }

    private func serve(_ descriptor: Int32) {
        defer {
            // Out of the set first: another connection may get the number at once.
            state.withLock { _ = $0.connections.remove(descriptor) }
            close(descriptor)
        }
        while let request = read(descriptor) {
            let path = String(request.split(separator: " ", maxSplits: 2).dropFirst().first ?? "")
            state.withLock { $0.requests.append(request) }
            if path == "/hold" { state.withLock { $0.held.append(descriptor) } }
            happen(.requested(path))
            let number = path.split(separator: "/").last.flatMap { Int($0) } ?? 0
            switch path {
            case "/hold": break
            case _ where request.hasPrefix("CONNECT "): write(descriptor, answer(403, "no tunnels here"))
            case "/garbage":
                write(descriptor, "this is not HTTP\r\n")
                return
            case "/silence": return
            case "/short":
                write(descriptor, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
                return
            case _ where path.hasPrefix("/bytes/"):
                write(descriptor, answer(200, String(repeating: "x", count: number)))
            case _ where path.hasPrefix("/status/"): write(descriptor, answer(number, "status \(number)"))
            default: write(descriptor, answer(200, request))
            }
        }
        let wasHeld = state.withLock { state in
            defer { state.held.removeAll { $0 == descriptor } }
            return state.held.contains(descriptor)
        }
        if wasHeld { happen(.abandoned) }
    }

    private func answer(_ status: Int, _ body: String) -> String {
        "HTTP/1.1 \(status) Status\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    /// A head and the body that it announces; nil at the end of the connection.
    private func read(_ descriptor: Int32) -> String? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let text = String(decoding: bytes, as: UTF8.self)
            let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, parts[1].utf8.count >= contentLength(parts[0]) { return text }
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count <= 0 { return nil }
            bytes += chunk.prefix(count)
        }
    }

    private func contentLength(_ head: Substring) -> Int {
        for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
            return Int(line.drop { $0 != ":" }.dropFirst().drop { $0 == " " }) ?? 0
        }
        return 0
    }

    private func write(_ descriptor: Int32, _ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { return }
            bytes = bytes.dropFirst(count)
        }
    }
}
