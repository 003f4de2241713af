import Curl
import Glibc
import Lab
import Platform
import Testing

@Suite("libcurl", .timeLimit(.minutes(2)))
struct CurlClientTests {
    private func failure(_ request: CurlRequest) async -> CurlFailure? { await failure(CurlClient(), request) }

    private func failure(_ client: CurlClient, _ request: CurlRequest) async -> CurlFailure? {
        await #expect(throws: CurlFailure.self) { try await client.send(request) }
    }

    /// The threads of this process with the name of clients' threads.
    private func clientThreads() -> Int {
        guard let directory = opendir("/proc/self/task") else { return 0 }
        defer { closedir(directory) }
        var count = 0
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            let comm = try? DurableFile.read("/proc/self/task/\(name)/comm")
            if comm.map({ String(decoding: $0, as: UTF8.self) }) == "curl\n" { count += 1 }
        }
        return count
    }

    @Test("method, headers, body and credentials arrive, and the status and body of the answer come back")
    func request() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let request = CurlRequest(
            "PUT", server.url + "/echo?a=b", headers: [("X-One", "1"), ("X-Empty", "")], body: Array("a body".utf8),
            credentials: .init(username: "someone", password: "with:colon"))
        let answer = try await CurlClient().send(request)
        #expect(answer.status == 200)
        let lines = String(decoding: answer.body, as: UTF8.self).split(
            separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.first == "PUT /echo?a=b HTTP/1.1")
        #expect(lines.contains("X-One: 1"))
        #expect(lines.contains("X-Empty:"))
        // printf someone:with:colon | base64
        #expect(lines.contains("Authorization: Basic c29tZW9uZTp3aXRoOmNvbG9u"))
        #expect(lines.contains("Content-Length: 6"))
        #expect(!lines.contains { $0.lowercased().hasPrefix("expect") || $0.lowercased().hasPrefix("content-type") })
        #expect(lines.last == "a body")
    }

    @Test("a body of no bytes is sent as such, and HEAD is answered without one")
    func emptyBodies() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        let empty = try await client.send(CurlRequest("PUT", server.url + "/echo", body: []))
        #expect(String(decoding: empty.body, as: UTF8.self).contains("Content-Length: 0\r\n"))
        let head = try await client.send(CurlRequest("HEAD", server.url + "/status/204"))
        #expect(head == CurlAnswer(status: 204, body: []))
    }

    @Test("statuses of failure and redirects are answers: nothing is followed")
    func statuses() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        for status in [301, 404, 500] {
            let answer = try await client.send(CurlRequest("GET", "\(server.url)/status/\(status)"))
            #expect(answer == CurlAnswer(status: status, body: Array("status \(status)".utf8)))
        }
        #expect(server.requests.count == 3)
    }

    @Test("requests one after the other share a connection")
    func keepsConnection() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        for _ in 0..<20 { _ = try await client.send(CurlRequest("GET", server.url + "/echo")) }
        #expect(server.accepted == 1)
    }

    @Test("a hundred requests are under way at once, on one thread, and few connections stay")
    func concurrent() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        let before = clientThreads()
        let statuses = try await withThrowingTaskGroup { group in
            for _ in 0..<100 {
                group.addTask { try await client.send(CurlRequest("GET", server.url + "/hold")).status }
            }
            for _ in 0..<100 { await server.wait(for: .requested("/hold")) }
            // Clients of other tests may come and go meanwhile, but not fifty.
            #expect(clientThreads() < before + 50)
            server.release()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 200, count: 100))
        #expect(server.accepted == 100)
        try await eventually("end of most connections", within: .seconds(10)) { server.connections <= 8 }
    }

    @Test("a cancelled request ends at once, its connection is closed, and the others go on")
    func cancellation() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        let url = server.url + "/hold"
        let other = Task { try await client.send(CurlRequest("GET", url)) }
        await server.wait(for: .requested("/hold"))
        let cancelled = Task { try await client.send(CurlRequest("GET", url)) }
        await server.wait(for: .requested("/hold"))
        let start = BootClock.now
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        await server.wait(for: .abandoned)
        #expect(start.duration(to: BootClock.now) < .seconds(2))
        server.release()
        #expect(try await other.value.status == 200)
    }

    @Test("a task that is cancelled before it asks sends nothing")
    func cancelledBefore() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        let url = server.url
        let task = Task {
            // Ends with the cancellation below, whichever comes first.
            try? await Task.sleep(for: .seconds(60))
            return try await client.send(CurlRequest("GET", url + "/echo"))
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        _ = try await client.send(CurlRequest("GET", url + "/status/200"))
        #expect(!server.requests.contains { $0.contains("/echo") })
    }

    @Test("an answer that does not come ends the request when its time is over, and no other")
    func timeLimit() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        let url = server.url + "/hold"
        let patient = Task { try await client.send(CurlRequest("GET", url)) }
        await server.wait(for: .requested("/hold"))
        let start = BootClock.now
        let failure = await failure(client, CurlRequest("GET", url, totalTime: .milliseconds(200)))
        let took = start.duration(to: BootClock.now)
        #expect(failure?.code == .timedOut)
        #expect(took >= .milliseconds(190) && took < .seconds(3), "\(took)")
        await server.wait(for: .abandoned)
        server.release()
        #expect(try await patient.value.status == 200)
    }

    @Test("an answer is taken up to its limit, and given up beyond")
    func sizeLimit() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        let whole = try await client.send(CurlRequest("GET", server.url + "/bytes/100000", answerBytes: 100_000))
        #expect(whole.body.count == 100_000)
        let failure = await failure(client, CurlRequest("GET", server.url + "/bytes/100001", answerBytes: 100_000))
        #expect(failure?.code == .answerTooLong)
        #expect(failure?.text.contains("100000 bytes") == true)
    }

    @Test("a port on which nobody listens is an error that says so, with the errno")
    func refused() async throws {
        let failure = await failure(CurlRequest("GET", "http://127.0.0.1:1/"))
        #expect(failure?.code == .cannotConnect)
        #expect(failure?.errno == ECONNREFUSED)
        #expect(failure?.text.contains("127.0.0.1") == true)
        #expect(failure?.text.contains("Connection refused") == true)
    }

    @Test("a name that nobody has is an error that names it")
    func unresolvable() async throws {
        // RFC 6761: no such name exists.
        let failure = await failure(CurlRequest("GET", "http://nobody.invalid/", proxy: .none))
        #expect(failure?.code == .unresolvable)
        #expect(failure?.text.contains("nobody.invalid") == true)
    }

    @Test("what is not HTTP, or breaks off, is told apart", arguments: ["/garbage", "/silence", "/short"])
    func notHTTP(path: String) async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let failure = await failure(CurlRequest("GET", server.url + path))
        #expect(failure?.code == .notHTTP, "\(String(describing: failure))")
    }

    @Test(
        "only http and https are spoken", arguments: ["ftp://127.0.0.1/", "file:///etc/hostname", "no URL at all", ""])
    func otherSchemes(url: String) async throws {
        #expect(await failure(CurlRequest("GET", url))?.code == .other)
    }

    @Test("what would forge a header or cut a text is refused, and no value is repeated")
    func forgery() async throws {
        let url = "http://127.0.0.1:1/"
        let requests = [
            CurlRequest("GET", url, headers: [("X-Token", "secret\r\nX-Other: 1")]),
            CurlRequest("GET", url, headers: [("X-Token", "secret\0")]),
            CurlRequest("GET", url, headers: [("X Token", "secret")]),
            CurlRequest("GET / HTTP/1.1\r\nX:", url), CurlRequest("GET", url + "\0secret"),
            CurlRequest("GET", url, credentials: .init(username: "a:b", password: "secret")),
            CurlRequest("GET", url, credentials: .init(username: "a", password: "secret\n")),
        ]
        for request in requests {
            let failure = await failure(request)
            #expect(failure?.code == .other, "\(String(describing: failure))")
            #expect(failure?.text.contains("secret") == false)
        }
    }

    @Test("a connection that the server closed meanwhile is replaced without an error")
    func staleConnection() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient()
        _ = try await client.send(CurlRequest("GET", server.url + "/echo"))
        server.hangUp()
        #expect(try await client.send(CurlRequest("GET", server.url + "/echo")).status == 200)
        #expect(server.accepted == 2)
    }

    @Test("the thread ends when it was idle for long, and its connections with it; the next request starts another")
    func idle() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let client = CurlClient(idleTime: .milliseconds(50))
        _ = try await client.send(CurlRequest("GET", server.url + "/echo"))
        try await eventually("end of the connection", within: .seconds(10)) { server.connections == 0 }
        _ = try await client.send(CurlRequest("GET", server.url + "/echo"))
        #expect(server.accepted == 2)
    }

    @Test("a client that is gone leaves neither thread nor connection behind, also after a cancelled request")
    func gone() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let url = server.url + "/hold"
        var client: CurlClient? = CurlClient(idleTime: .seconds(3600))
        let task = Task { [client] in try await client?.send(CurlRequest("GET", url)) }
        await server.wait(for: .requested("/hold"))
        _ = try await client?.send(CurlRequest("GET", server.url + "/echo"))
        client = nil
        task.cancel()
        _ = await task.result
        try await eventually("end of the connections", within: .seconds(10)) { server.connections == 0 }
    }
}
