import Glibc
import Testing

@testable import Platform

@Suite struct BootTimerTests {
    /// The slowest and the fastest that CLOCK_BOOTTIME can be, and what chrony does.
    private static let rates = [0.899, 0.9167, 0.95, 0.9995, 1, 1.0005, 1.0833, 1.101]

    private func delay(_ left: Duration) -> Duration { BootTimer.delay(left, latest: left) }

    /// Wakes until the time is there, in ns; returns by how much it is too late, and how often it woke.
    private func wait(_ time: Int64, _ rate: Double) -> (late: Int64, wakes: Int) {
        var (passed, wakes) = (Int64(0), 0)
        while passed < time {
            let delay = delay(.nanoseconds(time - passed)).inNanoseconds
            // The kernel rounds up.
            passed += max(1, Int64((Double(delay) / rate).rounded(.up)))
            wakes += 1
        }
        return (passed - time, wakes)
    }

    @Test("by no rate of the kernel's clock it is late by more than half a millisecond", arguments: rates)
    func lateness(rate: Double) {
        for microseconds in stride(from: Int64(1), to: 2_000_000, by: 977) {
            let (late, wakes) = wait(microseconds * 1000, rate)
            #expect(late <= 500_000, "\(microseconds) µs")
            #expect(wakes <= 14, "\(microseconds) µs")
        }
    }

    @Test("when the kernel's clock is right it is never late, and wakes once for 4 ms, thrice for 300 ms")
    func wakes() {
        for (milliseconds, most) in [(Int64(1), 1), (4, 1), (30, 2), (150, 3), (300, 3), (2000, 4)] {
            let (late, wakes) = wait(milliseconds * 1_000_000, 1)
            #expect(late == 0 && wakes == most, "\(milliseconds) ms: \(wakes) times")
        }
    }

    @Test("what is past needs no sleep, and what is as far as can be no more than there is")
    func ends() {
        #expect(delay(.zero) == .zero)
        #expect(delay(.seconds(-3)) == .zero)
        #expect(delay(.nanoseconds(1)) == .nanoseconds(1))
        #expect(delay(.nanoseconds(Int64.max)) < .nanoseconds(Int64.max))
    }

    @Test("an instant that may be missed is slept for in one go, unless the latest one would be missed, too")
    func latest() {
        func delay(_ left: Int64, _ latest: Int64) -> Duration {
            BootTimer.delay(.milliseconds(left), latest: .milliseconds(latest))
        }
        #expect(delay(100, 120) == .milliseconds(100))
        #expect(delay(250, .max / 1_000_000) == .milliseconds(250))
        #expect(delay(100, 105) < .milliseconds(94) && delay(100, 105) > .milliseconds(93))
        for rate in Self.rates {
            #expect(Double(delay(100, 105).inNanoseconds) / rate <= 105_500_000)
        }
    }

    /// Whether it fires within so many milliseconds.
    private func fires(_ timer: BootTimer, within milliseconds: Int32) -> Bool {
        var descriptor = pollfd(fd: timer.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&descriptor, 1, milliseconds) == 1 && timer.takeExpiry()
    }

    @Test("it fires at the instant that was set last, at once when that is past, and never when there is none")
    func arming() throws {
        let timer = try BootTimer()
        #expect(!timer.takeExpiry())
        timer.arm(at: BootClock.now.advanced(by: .seconds(600)))
        let end = BootClock.now.advanced(by: .milliseconds(60))
        timer.arm(at: end)
        var wakes = 0
        while BootClock.now < end {
            #expect(fires(timer, within: 10_000))
            wakes += 1
            timer.arm(at: end)
        }
        #expect(wakes < 20)
        for past in [BootInstant(nanoseconds: .min / 2), BootInstant(nanoseconds: 0), BootClock.now] {
            timer.arm(at: past)
            #expect(fires(timer, within: 10_000))
        }
        timer.arm(at: BootClock.now.advanced(by: .milliseconds(20)))
        timer.arm(at: nil)
        #expect(!fires(timer, within: 60))
        timer.arm(at: BootInstant(nanoseconds: .max))
        #expect(!fires(timer, within: 20))
    }
}
