import CLinux
import Glibc

/// A timer for instants of `BootClock`: a descriptor that poll(2) finds readable.
///
/// The kernel has no timer on a clock that is not slewed (timerfd_create(2)). So this one, on CLOCK_BOOTTIME, fires *before*
/// its time when that is far off, by a ninth of what is left, and at its time when it is near. Whoever is woken looks at
/// `BootClock` and arms it again. By a CLOCK_BOOTTIME that is a tenth slow it comes 0.5 ms late; by a right one it fires two or
/// three times for an instant that is some hundred milliseconds away. An instant that is put off by whoever is woken, as the
/// end of a lease is, costs no second firing.
///
/// CLOCK_BOOTTIME counts suspend: a host that resumes after the instant finds that the timer has fired.
///
/// Any thread may use it.
public final class BootTimer: Sendable {
    /// How late it may be by slewing alone.
    static let patience: Duration = .microseconds(500)

    /// Readable when it has fired and `takeExpiry` was not called since.
    public let descriptor: Int32

    /// - Throws: `SystemError` when the system has none to give.
    public init() throws(SystemError) {
        descriptor = try retryingOnInterrupt("open a timer") {
            timerfd_create(CLOCK_BOOTTIME, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))
        }
    }

    deinit { close(descriptor) }

    /// Lets the timer fire at `instant` or somewhat before, at once when that is past; nil for never. It replaces what was set before.
    public func arm(at instant: BootInstant?) {
        if let instant { return arm(at: instant, latest: instant) }
        // All zeros disarm the timer.
        var setting = itimerspec()
        timerfd_settime(descriptor, 0, &setting, nil)
    }

    /// The same for an instant that may be missed as long as `latest` is not: it fires before `instant` only when a slow clock
    /// would make it miss `latest`.
    public func arm(at instant: BootInstant, latest: BootInstant) {
        // Read before the other clock, so that an interruption makes the timer early; and absolute, so that one before the
        // system call does not make it late.
        var boot = timespec()
        clock_gettime(CLOCK_BOOTTIME, &boot)
        let now = BootClock.now
        let delay = Self.delay(now.duration(to: instant), latest: now.duration(to: latest)).inNanoseconds
        let (sum, isTooLarge) = (Int64(boot.tv_sec) * 1_000_000_000 + Int64(boot.tv_nsec))
            .addingReportingOverflow(delay)
        // All zeros would disarm it.
        let time = isTooLarge ? .max : max(1, sum)
        var setting = itimerspec()
        setting.it_value = timespec(tv_sec: Int(time / 1_000_000_000), tv_nsec: Int(time % 1_000_000_000))
        timerfd_settime(descriptor, Int32(TFD_TIMER_ABSTIME), &setting, nil)
    }

    /// Whether the timer has fired since it was armed; it is not readable any more then.
    public func takeExpiry() -> Bool {
        var count: UInt64 = 0
        return read(descriptor, &count, 8) == 8
    }

    /// For how long by CLOCK_BOOTTIME to sleep when so much is left by `BootClock`: until the instant, but no longer than
    /// what the slowest CLOCK_BOOTTIME lets end `patience` after `latest`.
    static func delay(_ left: Duration, latest: Duration) -> Duration {
        guard left > .zero else { return .zero }
        // 8/9 is less than the slowest rate, 0.899: a tenth less by ADJ_TICK, 0.05 % each by the frequency and by adjtime(3).
        // In Int64: a Duration's own arithmetic has 128 bits.
        let patience = Self.patience.inNanoseconds
        let end = min(max(0, latest.inNanoseconds), .max - patience) + patience
        let most = end - end / 9
        return .nanoseconds(min(left.inNanoseconds, most))
    }
}
