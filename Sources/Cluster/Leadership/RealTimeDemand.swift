import Platform

/// When the threads that carry raft are to be real-time: at the start, when there is most to do, and while they have to wait for
/// a processor.
///
/// Who is real-time does not wait, so that the end of the need cannot be seen: after a while it is tried without, and when that
/// was too early the while is twice as long.
///
/// A value type without clock.
struct RealTimeDemand: Sendable {
    /// How much may be waited between two looks. Idle machines make it some 0.5 ms in a quarter of a second.
    static let tolerance: Duration = .milliseconds(4)
    /// Between two looks at least.
    static let interval: Duration = .milliseconds(200)
    static let shortest: Duration = .seconds(60)
    static let longest: Duration = .seconds(3600)
    /// Who has to wait again so soon was let go too early.
    static let relapse: Duration = .seconds(30)

    private(set) var hold = shortest
    private var until: BootInstant?
    private var endedAt: BootInstant?

    init(startingAt now: BootInstant) {
        until = now.advanced(by: Self.shortest)
    }

    /// - Parameter waited: how long a thread has waited since the last look.
    /// - Returns: whether they are to be real-time from now on.
    mutating func look(waited: Duration, now: BootInstant) -> Bool {
        if let until {
            if now < until { return true }
            (self.until, endedAt) = (nil, now)
            return false
        }
        guard waited > Self.tolerance else { return false }
        let isRelapse = endedAt.map { $0.duration(to: now) < Self.relapse } ?? false
        hold = isRelapse ? min(hold * 2, Self.longest) : Self.shortest
        until = now.advanced(by: hold)
        return true
    }
}
