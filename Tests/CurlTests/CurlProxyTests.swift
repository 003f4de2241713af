import Curl
import Glibc
import Testing

@Suite("libcurl: proxies", .timeLimit(.minutes(2)))
struct CurlProxyTests {
    @Test("a proxy that is named is asked for the whole URL")
    func named() async throws {
        let proxy = try HTTPServer()
        defer { proxy.stop() }
        let answer = try await CurlClient().send(
            CurlRequest("GET", "http://somewhere.invalid/echo", proxy: .url(proxy.url)))
        #expect(
            String(decoding: answer.body, as: UTF8.self).hasPrefix("GET http://somewhere.invalid/echo HTTP/1.1\r\n"))
    }

    @Test("a proxy that refuses the tunnel to a server of TLS is an error with its status")
    func tunnel() async throws {
        let proxy = try HTTPServer()
        defer { proxy.stop() }
        let request = CurlRequest(
            "GET", "https://somewhere.invalid/echo", headers: [("X-Token", "secret")], proxy: .url(proxy.url))
        let failure = await #expect(throws: CurlFailure.self) { try await CurlClient().send(request) }
        #expect(failure?.code == .cannotConnect)
        #expect(failure?.text.contains("403") == true, "\(String(describing: failure))")
        // What is for the server must not be told to the proxy.
        #expect(proxy.requests.count == 1 && !proxy.requests[0].contains("secret"))
    }

    @Test("the proxy of the environment is used, not for the hosts of no_proxy, and not when none is wanted")
    func environment() async {
        // A process of its own, because no other thread may look at the environment while it is changed.
        await #expect(processExitsWith: .success) {
            let proxy = try HTTPServer()
            setenv("http_proxy", proxy.url, 1)
            let client = CurlClient()
            let url = "http://somewhere.invalid/echo"
            let answer = try await client.send(CurlRequest("GET", url))
            expect(answer.status == 200 && proxy.requests[0].hasPrefix("GET \(url) "))
            for request in [CurlRequest("GET", url, proxy: .none), CurlRequest("GET", url)] {
                setenv("no_proxy", request.proxy == .none ? "" : "somewhere.invalid", 1)
                do {
                    _ = try await client.send(request)
                    expect(false)
                } catch let failure as CurlFailure {
                    expect(failure.code == .unresolvable)
                }
            }
            // This host is no other's business.
            for host in ["127.0.0.1", "localhost"] {
                _ = try await client.send(CurlRequest("GET", "http://\(host):\(proxy.port)/echo"))
                expect(proxy.requests.last?.hasPrefix("GET /echo ") == true)
            }
        }
    }

    @Test("a proxy of the environment that cannot be used is an error without its password")
    func password() async {
        await #expect(processExitsWith: .success) {
            for url in ["nonsense://someone:secret@proxy.invalid:1", "http://someone:sec:ret@proxy.invalid:port"] {
                setenv("http_proxy", url, 1)
                do {
                    _ = try await CurlClient().send(CurlRequest("GET", "http://somewhere.invalid/"))
                    expect(false)
                } catch let failure as CurlFailure {
                    print(failure)
                    expect(!failure.text.contains("sec") && !failure.text.isEmpty)
                }
            }
        }
    }
}

/// Ends the process when it does not hold.
private func expect(_ condition: Bool, line: Int = #line) {
    if !condition { fatalError("line \(line)") }
}
