import FoundationEssentials
import Glibc
import Platform
import Synchronization
import Testing

@Suite struct BootClockTests {
    @Test("the clock never goes back and agrees with /proc/uptime")
    func uptime() throws {
        let first = BootClock.now
        let text = try String(contentsOfFile: "/proc/uptime", encoding: .utf8)
        let second = BootClock.now
        let uptime = try #require(text.split(separator: " ").first.flatMap { Double($0) })
        #expect(first <= second)
        // /proc/uptime is cut to hundredths, NTP slews it, and a container may shift it: this asserts the unit, not the origin.
        #expect(Double(second.nanoseconds) / 1e9 >= 0.85 * uptime - 0.02)
    }

    @Test("it is CLOCK_MONOTONIC_RAW and what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC")
    func sources() {
        func read(_ clock: clockid_t) -> Int64 {
            var time = timespec()
            clock_gettime(clock, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
        // The closest of many, because this thread may be interrupted.
        let off = (0..<1000).map { _ in
            let ahead = read(CLOCK_BOOTTIME) - read(CLOCK_MONOTONIC)
            return abs(BootClock.now.nanoseconds - read(CLOCK_MONOTONIC_RAW) - ahead)
        }
        #expect((off.min() ?? .max) < 20_000)
    }

    @Test("an instant that another thread has read is never later than one that is read after it")
    func threads() async {
        final class Newest: Sendable { let read = Atomic<Int64>(0) }
        let newest = Newest()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<50_000 {
                        let before = newest.read.load(ordering: .acquiring)
                        let now = BootClock.now.nanoseconds
                        if now < before { Issue.record("it went back by \(before - now) ns") }
                        newest.read.max(now, ordering: .acquiringAndReleasing)
                    }
                }
            }
        }
    }

    @Test("a sleep lasts until its deadline, and one in the past does not sleep")
    func sleep() async throws {
        let start = BootClock.now
        try await BootClock().sleep(until: start.advanced(by: .milliseconds(30)))
        #expect(start.duration(to: BootClock.now) >= .milliseconds(30))
        try await BootClock().sleep(until: start)
    }

    @Test("a cancelled sleep ends at once with CancellationError, also when its deadline is past")
    func cancelled() async {
        for offset in [Duration.seconds(600), .seconds(-1)] {
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await BootClock().sleep(until: BootClock.now.advanced(by: offset))
            }
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }

    @Test(
        "the next beat is a whole number of seconds after the first, and half a second away to one and a half",
        arguments: [
            (0, 1000), (1, 1000), (499, 1000), (500, 1000), (501, 2000), (999, 2000), (1000, 2000), (1500, 2000),
            (1501, 3000), (-400, 1000),
        ] as [(Int64, Int64)])
    func beat(passed: Int64, next: Int64) {
        let first = BootInstant(nanoseconds: 7_300_000_000)
        let now = first.advanced(by: .milliseconds(passed))
        #expect(first.duration(to: BootClock.beat(after: now, since: first)) == .milliseconds(next))
    }

    @Test("durations become nanoseconds and milliseconds, cut towards zero and saturated")
    func conversions() {
        #expect(Duration.seconds(-1.5).inNanoseconds == -1_500_000_000)
        #expect(Duration.seconds(-1.5).inMilliseconds == -1500)
        #expect(Duration.microseconds(1999).inMilliseconds == 1)
        #expect(Duration.nanoseconds(Int64.max).inNanoseconds == .max)
        #expect(Duration.seconds(Int64.max).inNanoseconds == .max)
        #expect(Duration.seconds(Int64.min).inNanoseconds == .min)
        #expect(
            Duration(secondsComponent: 9_223_372_036, attosecondsComponent: 999_999_999_999_999_999).inNanoseconds
                == .max)
    }

    @Test("an instant and a duration make the instant again")
    func arithmetic() {
        let instant = BootInstant(nanoseconds: 5_000_000_000)
        let later = instant.advanced(by: .milliseconds(250))
        #expect(instant.duration(to: later) == .milliseconds(250))
        #expect(later.duration(to: instant) == .milliseconds(-250))
        #expect(instant < later)
    }
}

@Suite struct WallTimeTests {
    @Test(
        "a time is RFC 3339 in UTC with milliseconds, both ways",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"), (1_795_242_660_250, "2026-11-21T06:31:00.250Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func text(milliseconds: Int64, text: String) throws {
        #expect(WallTime(milliseconds: milliseconds).description == text)
        #expect(WallTime(text)?.milliseconds == milliseconds)
        let data = try JSONEncoder().encode([WallTime(milliseconds: milliseconds)])
        #expect(try JSONDecoder().decode([WallTime].self, from: data) == [WallTime(milliseconds: milliseconds)])
    }

    @Test("the fraction may be left out")
    func noFraction() {
        #expect(WallTime("2026-11-21T06:31:00Z")?.milliseconds == 1_795_242_660_000)
    }

    @Test(
        "anything else is no time",
        arguments: [
            "", "Z", "2026-11-21", "2026-11-21T06:31:00", "2026-11-21 06:31:00Z", "2026-13-21T06:31:00Z",
            "2026-11-21T24:31:00Z", "2026-11-21T06:61:00Z", "2026-11-21T06:31:61Z", "2026-00-21T06:31:00Z",
            "2026-11-21T06:31:00,250Z", "2026-11-21T06:31:00.2x0Z", "２０26-11-21T06:31:0Z", "+026-11-21T06:31:00Z",
        ])
    func refused(text: String) {
        #expect(WallTime(text) == nil)
    }
}
