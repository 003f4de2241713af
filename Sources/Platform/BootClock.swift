import Glibc
import Synchronization

/// A point in time on `BootClock`: monotonic, never slewed, counts suspend, the same for all processes of a host.
///
/// Every lease, deadline and time-out of the product is measured on this clock.
public struct BootInstant: InstantProtocol, Hashable, Codable, CustomStringConvertible, BitwiseCopyable {
    /// Nanoseconds since the host booted, by its oscillator: NTP puts that right in CLOCK_BOOTTIME and not here, so the two
    /// drift apart by some seconds a day. Never to be compared with times that the kernel gives.
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    public func advanced(by duration: Duration) -> BootInstant {
        // Durations may come from other hosts: an instant beyond all time is the end of it.
        let (sum, overflows) = nanoseconds.addingReportingOverflow(duration.inNanoseconds)
        return BootInstant(nanoseconds: overflows ? (duration < .zero ? .min : .max) : sum)
    }

    public func duration(to other: BootInstant) -> Duration {
        let (difference, overflows) = other.nanoseconds.subtractingReportingOverflow(nanoseconds)
        return .nanoseconds(overflows ? (other.nanoseconds < 0 ? .min : .max) : difference)
    }

    public static func < (lhs: BootInstant, rhs: BootInstant) -> Bool {
        lhs.nanoseconds < rhs.nanoseconds
    }

    public var description: String {
        "boot+\(Double(nanoseconds / 1000) / 1_000_000)s"
    }
}

/// The clock of production. Tests pass instants of their own to the value-type cores instead.
///
/// It is CLOCK_MONOTONIC_RAW, which nobody adjusts, and the time for which the host was suspended, which that clock leaves
/// out (clock_gettime(2)); see `Suspension`. CLOCK_BOOTTIME would be both in one, but NTP slews it: chrony by up to
/// 8.33 % (`maxslewrate` in chrony.conf(5)), systemd-timesyncd by up to 5 % (0.4 s by the kernel's phase-locked loop, an eighth
/// of the rest in each second: `manager_adjust_clock`, `ntp_offset_chunk`); the kernel allows 10 % (ADJ_TICK in
/// adjtimex(2)). A lease that one host measures and a promise that another one does would differ by more than the margin
/// between them.
///
/// Its rate is that of the counter that the kernel takes its time from: some 0.01 % off with a counter that it knows or has
/// measured for a second, 0.05 % when it could measure for some milliseconds only (x86, `quick_pit_calibrate` in tsc.c).
public struct BootClock: Clock {
    public init() {}

    /// The longest known time of suspension, which all threads share; see `Suspension`.
    private static let suspended = Atomic<Int64>(Suspension.unknown)

    /// Three readings, none of which is a system call where the vDSO has them (vdso(7)): some 0.1 µs.
    ///
    /// That the host was suspended is asked each time and not remembered: a process that acted on what it knew before would
    /// take a lease that ended in the suspension for good.
    public static var now: BootInstant {
        // First: a thread that is interrupted behind it says what the time was before, as with any clock.
        let raw = nanoseconds(of: CLOCK_MONOTONIC_RAW)
        let known = Suspension(known: suspended.load(ordering: .relaxed))
        let suspension = known.updated {
            let boot = nanoseconds(of: CLOCK_BOOTTIME)
            return (boot, nanoseconds(of: CLOCK_MONOTONIC))
        }
        // Whoever hears of this instant before it asks for its own finds this time, or a longer one.
        if suspension.length > known.length { suspended.max(suspension.length, ordering: .relaxed) }
        return suspension.instant(raw: raw)
    }

    private static func nanoseconds(of clock: clockid_t) -> Int64 {
        var time = timespec()
        // clock_gettime with a constant, valid clock id and a valid pointer cannot fail.
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    public var now: BootInstant { Self.now }
    public var minimumResolution: Duration { .nanoseconds(1) }

    /// Sleeps until the deadline is there, and not a moment less.
    ///
    /// The task's timer runs on a clock of the kernel that NTP slews: it may be late by an eighth of the time. What must not be
    /// late needs a `BootTimer`.
    ///
    /// - Throws: `CancellationError` at once when the task is cancelled.
    public func sleep(until deadline: BootInstant, tolerance: Duration? = nil) async throws {
        try Task.checkCancellation()
        while true {
            let remaining = now.duration(to: deadline)
            guard remaining > .zero else { return }
            try await Task.sleep(for: remaining, tolerance: tolerance, clock: .continuous)
        }
    }

    /// Whatever instant of its own a process began at, so that several on one machine do not all wake up together.
    private static let firstBeat = now

    /// The next whole second after an instant that is at least half a second away.
    public static func beat(after now: BootInstant, since first: BootInstant) -> BootInstant {
        let second: Int64 = 1_000_000_000
        let passed = max(0, now.nanoseconds - first.nanoseconds)
        return BootInstant(nanoseconds: first.nanoseconds + ((passed + second / 2 - 1) / second + 1) * second)
    }

    /// Sleeps for about a second, 0.5 to 1.5 s, until the instant that everything else wakes up at that looks at something once
    /// a second: so a process at rest wakes up once for all of it.
    ///
    /// - Throws: `CancellationError` at once when the task is cancelled.
    public static func sleepUntilBeat() async throws {
        try await BootClock().sleep(until: beat(after: now, since: firstBeat))
    }
}

extension Duration {
    /// The duration in whole nanoseconds, saturated at the ends of Int64 (292 years).
    public var inNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        if overflow2 { return seconds < 0 ? .min : .max }
        return sum
    }

    /// The duration in whole milliseconds, rounded towards zero.
    public var inMilliseconds: Int64 { inNanoseconds / 1_000_000 }
}
