import Curl
import Testing

@Suite("libcurl")
struct CurlClientTests {
    @Test("a port on which nobody listens is an error that says so")
    func refused() async throws {
        let failure = await #expect(throws: CurlFailure.self) {
            try await CurlClient().send(CurlRequest("GET", "http://127.0.0.1:1/"))
        }
        #expect(failure?.code == .cannotConnect)
    }
}
