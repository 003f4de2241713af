import Glibc

/// A point in time on the kernel's CLOCK_BOOTTIME: monotonic, counts suspend, the same for all processes of a host.
///
/// Every lease, deadline and time-out of the product is measured on this clock; see clock_gettime(2).
public struct BootInstant: InstantProtocol, Hashable, Codable, CustomStringConvertible, BitwiseCopyable {
    /// Nanoseconds since the host booted.
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    public func advanced(by duration: Duration) -> BootInstant {
        BootInstant(nanoseconds: nanoseconds + duration.inNanoseconds)
    }

    public func duration(to other: BootInstant) -> Duration {
        .nanoseconds(other.nanoseconds - nanoseconds)
    }

    public static func < (lhs: BootInstant, rhs: BootInstant) -> Bool {
        lhs.nanoseconds < rhs.nanoseconds
    }

    public var description: String {
        "boot+\(Double(nanoseconds / 1000) / 1_000_000)s"
    }
}

/// The clock of production. Tests pass instants of their own to the value-type cores instead.
public struct BootClock: Clock {
    public init() {}

    public static var now: BootInstant {
        var time = timespec()
        // clock_gettime with a constant, valid clock id and a valid pointer cannot fail.
        clock_gettime(CLOCK_BOOTTIME, &time)
        return BootInstant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    public var now: BootInstant { Self.now }
    public var minimumResolution: Duration { .nanoseconds(1) }

    public func sleep(until deadline: BootInstant, tolerance: Duration? = nil) async throws {
        let remaining = now.duration(to: deadline)
        guard remaining > .zero else { return try Task.checkCancellation() }
        try await Task.sleep(for: remaining, tolerance: tolerance, clock: .continuous)
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
