import Testing
import VIP

@Suite("guard: requests to stop")
struct ShutdownRequestsTests {
    @Test("one request that comes on both ways is still one")
    func once() {
        var requests = ShutdownRequests()
        #expect(requests.urgency == .none)
        #expect(requests.record(.signal) == .graceful)
        #expect(requests.record(.guardProcess) == .graceful)
    }

    @Test("the second request on any way is immediate", arguments: [ShutdownRequests.Source.signal, .guardProcess])
    func twice(source: ShutdownRequests.Source) {
        var requests = ShutdownRequests()
        _ = requests.record(source)
        #expect(requests.record(source) == .immediate)
    }
}
