import Platform
import Testing

@testable import Lease

@Suite("What a message takes at least")
struct LeastDelayTests {
    @Test("clocks that drift apart do not make every message an old one")
    func drift() {
        var delay = LeastDelay()
        for second in 0..<10_000 {
            let now = BootInstant(nanoseconds: Int64(second) * 1_000_000_000)
            // 1 ms, and 20 millionths of all that has passed.
            let difference = 1_000_000 + Int64(second) * 20_000
            delay.sees(difference, now: now)
            #expect(difference - (delay.least ?? 0) <= 22 * 20_000)
        }
    }

    @Test("the quickest of the last seconds counts, not that of one slow one")
    func least() {
        var delay = LeastDelay()
        #expect(delay.least == nil)
        for (second, difference) in [(0, 5), (1, 3), (2, 9), (11, 8), (12, 7)] as [(Int64, Int64)] {
            delay.sees(difference, now: BootInstant(nanoseconds: second * 1_000_000_000))
        }
        #expect(delay.least == 3)
    }
}
