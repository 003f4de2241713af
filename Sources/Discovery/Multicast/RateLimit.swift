import Platform

/// Lets pass at most so many at once and one per interval in the long run (a leaky bucket, in the form of ITU-T I.371's
/// generic cell rate algorithm: one instant is its whole state).
struct RateLimit: Hashable, Sendable {
    private let interval: Duration
    private let tolerance: Duration
    /// When the bucket will be empty.
    private var empty = BootInstant(nanoseconds: 0)

    /// `burst`: 1 or more.
    init(burst: Int, every interval: Duration) {
        self.interval = interval
        tolerance = interval * (burst - 1)
    }

    /// When the next may pass; in the past when it may now.
    var next: BootInstant { empty.advanced(by: .zero - tolerance) }

    /// Whether it is as if none had ever passed.
    func isFull(at now: BootInstant) -> Bool { empty <= now }

    /// Whether one may pass now; if so it is counted.
    mutating func pass(at now: BootInstant) -> Bool {
        guard now >= next else { return false }
        empty = max(empty, now).advanced(by: interval)
        return true
    }
}
