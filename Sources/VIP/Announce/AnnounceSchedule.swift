import Platform

/// When to announce a held address: a burst on take-over, then a slow refresh. A value without clock and I/O.
///
/// The gaps count from the announcement before, not from the take-over, so that a late wake-up never lets two repeats fall
/// together: a Linux neighbour ignores an update within `locktime` (1 s, arp(7)) of the one before.
public struct AnnounceSchedule: Hashable, Sendable {
    /// At take-over and after 0.2, 1.3, 2.4 and 5 s.
    ///
    /// The second covers a lost frame; the third and fourth reach a neighbour whose entry was locked by an answer of the
    /// previous holder; the last one a switch port that was still blocked.
    public static let defaultBurst: [Duration] = [
        .zero, .milliseconds(200), .milliseconds(1100), .milliseconds(1100), .milliseconds(2600),
    ]
    /// Well below the 300 s after which switches forget a MAC.
    public static let defaultRefresh: Duration = .seconds(60)

    private let burst: [Duration]
    private let refresh: Duration?
    /// How many announcements of the burst were made; nil while the address is not held.
    private var made: Int?
    /// When the next announcement is due; nil when none is.
    public private(set) var next: BootInstant?

    /// - Parameters:
    ///   - burst: the gaps of the burst, the first one from the take-over, each further one from the announcement before.
    ///   - refresh: the gap of the announcements after the burst; nil for none.
    public init(burst: [Duration] = Self.defaultBurst, refresh: Duration? = Self.defaultRefresh) {
        self.burst = burst
        self.refresh = refresh
    }

    /// The address was set: the burst begins.
    public mutating func claimed(now: BootInstant) {
        made = 0
        next = gap(0).map(now.advanced(by:))
    }

    /// The address is no longer held: nothing is due.
    public mutating func released() {
        made = nil
        next = nil
    }

    /// The neighbours may have forgotten or never heard us: the link came back, the MAC changed, a partition healed, or
    /// another host claimed the address. The burst begins anew, if the address is held.
    public mutating func linkReturned(now: BootInstant) {
        if made != nil { claimed(now: now) }
    }

    /// Whether to announce now. A true answer counts as made, and sets `next`.
    public mutating func due(now: BootInstant) -> Bool {
        guard let count = made, let due = next, due <= now else { return false }
        made = min(count + 1, burst.count)
        next = gap(count + 1).map(now.advanced(by:))
        return true
    }

    private func gap(_ number: Int) -> Duration? {
        number < burst.count ? burst[number] : refresh
    }
}
