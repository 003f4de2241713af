import FoundationEssentials
import Glibc
import Logging
import Platform
import ServiceLifecycle
import Synchronization
import Testing

@testable import API

/// Over real sockets on loopback.
@Suite struct ServerTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Runs a server for the time of `body`, and fails when it does not stop after that.
    private func serve<Value: Sendable>(
        _ control: FakeControlPlane, limits: APILimits = APILimits(), host: String = "127.0.0.1",
        _ body: @Sendable (HostPort) async throws -> Value
    ) async throws -> Value {
        let (addresses, listening) = AsyncStream.makeStream(of: HostPort.self)
        let server = APIServer(
            bind: HostPort(host: host, port: 0), control: control, logger: Self.quiet, limits: limits
        ) { listening.yield($0) }
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: server, successTerminationBehavior: .gracefullyShutdownGroup)],
                logger: Self.quiet))
        async let running: Void = group.run()
        var iterator = addresses.makeAsyncIterator()
        let address = try #require(await iterator.next())
        do {
            let value = try await body(address)
            await group.triggerGracefulShutdown()
            try await running
            return value
        } catch {
            await group.triggerGracefulShutdown()
            throw error
        }
    }

    /// The client library's test, and the command's: status, get, set, clear, refusal.
    @Test("the client gets, sets and clears over a real socket", arguments: ["127.0.0.1", "::1", "localhost"])
    func client(host: String) async throws {
        let control = FakeControlPlane()
        try await serve(control, host: host) { address in
            let client = APIClient(address: address)
            #expect(try await client.status() == StatusReport.example)
            #expect(try await client.statusJSON().hasSuffix("}\n"))
            #expect(try await client.virtualAddresses() == [])
            try await client.setVirtualAddresses(["192.0.2.10/24"])
            #expect(try await client.virtualAddresses() == ["192.0.2.10/24"])
            try await client.clearVirtualAddresses()
            #expect(try await client.health() == HealthReport(isAlive: true))
            control.change { $0.readiness = ReadinessReport(isReady: false, reasons: ["no leader"]) }
            #expect(try await client.readiness() == ReadinessReport(isReady: false, reasons: ["no leader"]))
            control.change { $0.error = ControlError(.unavailable, "no quorum: 1 of 3") }
            let error = await #expect(throws: APIClientError.self) { try await client.setVirtualAddresses(["x"]) }
            #expect(error?.kind == .refused && error?.status == 503 && error?.message == "no quorum: 1 of 3")
        }
        #expect(control.calls == ["set 192.0.2.10/24", "clear"])
    }

    @Test("the seed's curl commands work letter for letter, through a shell")
    func curl() async throws {
        let control = FakeControlPlane()
        try await serve(control) { address in
            let script = """
                VIP="1.2.3.5" SUBNET_PREFIX_LENGTH="24"
                curl -s -XPUT -d '{"vip":"'${VIP}/${SUBNET_PREFIX_LENGTH}'"}' http://localhost:\(address.port)/vip
                curl -s http://localhost:\(address.port)/vip
                curl -s http://localhost:\(address.port)/status | jq -c '[.id, .leader_id, .is_leader, .cluster_members[1]]'
                curl -s -o /dev/null -w '%{http_code}\\n' -XPUT --data-binary @- http://localhost:\(address.port)/vip < /bin/sh
                """
            let output = try await shell(script)
            let lines = output.split(separator: "\n").map(String.init)
            #expect(lines.prefix(2) == [#"{"message":"OK"}"#, #"{"vip":"1.2.3.5/24"}"#])
            // jq 1.6 rounds numbers above 2^53, so only the shape of the first is asserted.
            #expect(lines.dropFirst(2).first?.hasSuffix(#","role":"stand-by"}]"#) == true)
            #expect(lines.last == "413")
        }
        #expect(control.calls == ["set 1.2.3.5/24"])
    }

    @Test("a connection serves many requests, also pipelined ones, and refused ones among them")
    func keepAlive() async throws {
        try await serve(FakeControlPlane()) { address in
            let connection = try RawConnection(to: address)
            let body = #"{"vip":"1.2.3.4/5"}"#
            try connection.send(
                "GET /vip HTTP/1.1\r\nhost: x\r\n\r\n"
                    + "PUT /vip HTTP/1.1\r\nhost: x\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
                    + "GET /none HTTP/1.1\r\nhost: x\r\n\r\n"
                    + "GET /vip HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            let text = try await connection.readToEnd()
            let statuses = text.split(separator: "HTTP/1.1 ").map { String($0.prefix(3)) }
            #expect(statuses == ["200", "202", "404", "200"])
            #expect(text.hasSuffix("{\"vip\":\"1.2.3.4/5\"}\n"))
        }
    }

    @Test("a client that stops in its head or in its body is let go, and one that trickles its body too")
    func slowClients() async throws {
        var limits = APILimits()
        limits.idleTime = .seconds(1)
        limits.requestTime = .milliseconds(500)
        try await serve(FakeControlPlane(), limits: limits) { address in
            let silent = try RawConnection(to: address)
            #expect(try await silent.readToEnd() == "")
            let head = try RawConnection(to: address)
            try head.send("GET /vip HTTP/1.1\r\nhost")
            #expect(try await head.readToEnd() == "")
            let body = try RawConnection(to: address)
            try body.send("PUT /vip HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
            let trickle = Task.detached {
                // Ends when the server has closed the connection: sending fails then.
                while (try? body.send("{")) != nil { try await Task.sleep(for: .milliseconds(50)) }
            }
            let answer = try await body.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 408 ") && answer.contains("the body did not arrive within"))
            _ = await trickle.result
        }
    }

    @Test("an endless body is refused without reading it, with and without an announced length")
    func endlessBody() async throws {
        var limits = APILimits()
        limits.bodyBytes = 1000
        let control = FakeControlPlane()
        try await serve(control, limits: limits) { address in
            for head in ["content-length: 1000000000", "transfer-encoding: chunked"] {
                let connection = try RawConnection(to: address)
                try connection.send("PUT /vip HTTP/1.1\r\nhost: x\r\n\(head)\r\n\r\n")
                let chunk = head.hasPrefix("t") ? "400\r\n" + String(repeating: "x", count: 1024) + "\r\n" : "{{{{"
                for _ in 0..<4 { try? connection.send(chunk) }
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 413 "))
                #expect(answer.contains("the body is larger than 1000 bytes"))
            }
        }
        #expect(control.calls.isEmpty)
    }

    @Test("what is no HTTP, and a head beyond all bounds, end their own connection only")
    func garbage() async throws {
        try await serve(FakeControlPlane()) { address in
            for bytes in [
                "\0\0\0\u{1}\0\0\0\0", "\r\n\r\n\r\nx", "GET\r\n\r\n", "GET /vip HTTP/9.9\r\n\r\n",
                "GET /vip HTTP/1.1\r\nx: " + String(repeating: "y", count: 100_000) + "\r\n\r\n",
                "GET /vip HTTP/1.1\r\n" + String(repeating: "x: y\r\n", count: 1000) + "\r\n",
                "PUT /vip HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "PUT /vip HTTP/1.1\r\ncontent-length: 1e3\r\n\r\n",
                "PUT /vip HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "GET /%zz%00/../vip HTTP/1.1\r\n\r\n",
            ] {
                let connection = try RawConnection(to: address)
                try? connection.send(bytes)
                connection.finishSending()
                let answer = try await connection.readToEnd()
                #expect(!answer.contains(" 200 ") && !answer.contains(" 202 "), "\(bytes.prefix(40)): \(answer)")
            }
            #expect(try await APIClient(address: address).virtualAddresses() == [])
        }
    }

    @Test("more connections than allowed wait, and are served when others end")
    func connections() async throws {
        var limits = APILimits()
        limits.connections = 4
        try await serve(FakeControlPlane(), limits: limits) { address in
            let idle = try (0..<4).map { _ in try RawConnection(to: address) }
            // Each has been accepted once it was answered.
            for connection in idle {
                try connection.send("GET /vip HTTP/1.1\r\nhost: x\r\n\r\n")
                #expect(try await connection.read().hasPrefix("HTTP/1.1 200"))
            }
            let patient = APIClient(address: address, totalTime: .milliseconds(300))
            let error = await #expect(throws: APIClientError.self) { try await patient.status() }
            #expect(error?.kind == .timedOut)
            idle.forEach { $0.close() }
            #expect(try await APIClient(address: address).status().id > 0)
        }
    }

    @Test("a server that is told to stop does not wait for a request that hangs")
    func shutdown() async throws {
        var limits = APILimits()
        limits.drainTime = .milliseconds(100)
        let start = BootClock.now
        try await serve(FakeControlPlane(hangs: .seconds(60)), limits: limits) { address in
            let connection = try RawConnection(to: address)
            try connection.send("PUT /vip HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n{\"vip\":\"x\"}")
            // The server has read the request when it answers another, sent later.
            _ = try await APIClient(address: address).status()
        }
        #expect(start.duration(to: BootClock.now) < .seconds(30))
    }

    @Test("an address in use and an address of another host are named with the remedy")
    func bindErrors() async throws {
        try await serve(FakeControlPlane()) { address in
            let second = APIServer(bind: address, control: FakeControlPlane(), logger: Self.quiet)
            let error = await #expect(throws: APIBindError.self) { try await second.run() }
            #expect(error?.address == address)
            #expect(error?.description.hasPrefix("the API cannot listen on \(address): Address already in use") == true)
            #expect(error?.description.contains("ss -ltnp sport = :\(address.port)") == true)
        }
        for (host, words) in [
            ("192.0.2.77", "this host has no such address"), ("no-such.invalid", "cannot be resolved"),
        ] {
            let server = APIServer(
                bind: HostPort(host: host, port: 9), control: FakeControlPlane(), logger: Self.quiet)
            let error = await #expect(throws: APIBindError.self) { try await server.run() }
            #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        }
    }

    @Test("a port that is free only a moment later is waited for")
    func portFreedLater() async throws {
        let holder = try Listener()
        let (addresses, listening) = AsyncStream.makeStream(of: HostPort.self)
        let server = APIServer(bind: holder.address, control: FakeControlPlane(), logger: Self.quiet) {
            listening.yield($0)
        }
        let running = Task {
            defer { listening.finish() }
            try await server.run()
        }
        try await Task.sleep(for: .milliseconds(300))
        holder.close()
        var iterator = addresses.makeAsyncIterator()
        #expect(await iterator.next() == holder.address)
        #expect(try await APIClient(address: holder.address).virtualAddresses() == [])
        running.cancel()
        try await running.value
    }

    @Test(
        "a server that is cancelled stops as one that is told to stop: in order, and without an error of the framework")
    func cancelled() async throws {
        let log = Mutex<[String]>([])
        let logger = Logger(label: "test") { _ in LinesLogHandler { line in log.withLock { $0.append(line) } } }
        let (addresses, listening) = AsyncStream.makeStream(of: HostPort.self)
        var limits = APILimits()
        limits.drainTime = .milliseconds(100)
        let server = APIServer(
            bind: HostPort(host: "127.0.0.1", port: 0), control: FakeControlPlane(hangs: .seconds(60)), logger: logger,
            limits: limits
        ) { listening.yield($0) }
        let running = Task {
            defer { listening.finish() }
            try await server.run()
        }
        var iterator = addresses.makeAsyncIterator()
        let address = try #require(await iterator.next())
        let hanging = try RawConnection(to: address)
        try hanging.send("PUT /vip HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n{\"vip\":\"x\"}")
        _ = try await APIClient(address: address).status()
        let start = BootClock.now
        running.cancel()
        try await running.value
        #expect(start.duration(to: BootClock.now) < .seconds(30))
        #expect(log.withLock { $0 } == [])
    }

    @Test("nobody listening, a port that speaks something else, a silent one and a foreign server are told apart")
    func clientErrors() async throws {
        let listener = try Listener()
        let client = APIClient(address: listener.address, totalTime: .milliseconds(300))
        let silent = await #expect(throws: APIClientError.self) { try await client.status() }
        #expect(silent?.kind == .timedOut)

        func error(answering bytes: String) async throws -> APIClientError? {
            let listener = try Listener()
            async let answered: Void = listener.answerOne(with: bytes)
            let error = await #expect(throws: APIClientError.self) {
                try await APIClient(address: listener.address).status()
            }
            try await answered
            return error
        }
        let closing = try await error(answering: "")
        #expect(closing?.kind == .notUnderstood && closing?.message.contains("is it the cluster port?") == true)
        let binary = try await error(answering: "\u{1}\0\0\0\0\0\0\0")
        #expect(binary?.kind == .notUnderstood)
        let foreign = try await error(answering: "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")
        #expect(foreign?.kind == .notUnderstood && foreign?.status == 404)
        let other = try await error(answering: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        #expect(other?.kind == .notUnderstood && other?.message.contains("another version") == true)

        let gone = listener.address
        listener.close()
        let refused = await #expect(throws: APIClientError.self) { try await APIClient(address: gone).status() }
        #expect(refused?.kind == .unreachable)
        #expect(
            refused?.message == "cannot reach the API of dqlite-vip at http://\(gone): connection refused: "
                + "is the daemon running? Start it, or name its API with --api HOST:PORT if it listens elsewhere (start --bind-http)"
        )
        let unknown = await #expect(throws: APIClientError.self) {
            try await APIClient(address: HostPort(host: "no-such.invalid", port: 1)).status()
        }
        #expect(unknown?.message.contains("\"no-such.invalid\" cannot be resolved") == true)
    }
}

/// Hands over what is logged as a warning or worse.
private struct LinesLogHandler: LogHandler {
    let write: @Sendable (String) -> Void
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning

    init(_ write: @escaping @Sendable (String) -> Void) { self.write = write }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { write("\(event.level) \(event.message)") }
}
