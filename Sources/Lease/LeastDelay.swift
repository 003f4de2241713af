import Platform

/// The smallest difference between two hosts' clocks, as messages show it, over the last ten to twenty seconds: their clocks drift
/// apart, and one may have stood still. A value type without clock.
struct LeastDelay: Sendable {
    private static let span: Duration = .seconds(10)

    private var present: Int64?
    private var before: Int64?
    private var began = BootInstant(nanoseconds: 0)

    mutating func sees(_ difference: Int64, now: BootInstant) {
        if present == nil || began.duration(to: now) > Self.span {
            before = present
            present = difference
            began = now
        } else if let present, difference < present {
            self.present = difference
        }
    }

    /// nil before the first.
    var least: Int64? {
        guard let present else { return nil }
        return before.map { min($0, present) } ?? present
    }
}
