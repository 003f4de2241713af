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
    /// What another host that announces the address is answered with: at once, and twice more for those who had locked their
    /// entry when they heard him.
    public static let answer: [Duration] = [.zero, .milliseconds(1100), .milliseconds(1100)]
    /// From the announcement before to an answer: two hosts that both insist do not fill the network.
    public static let answerSpacing: Duration = .seconds(1)
    /// From the announcement before to a burst that begins anew: a flapping link is not answered by a flood.
    public static let restartSpacing: Duration = .milliseconds(100)

    private let burst: [Duration]
    private let refresh: Duration?
    /// The gaps that count now: of the burst, or of the answer.
    private var series: [Duration]
    /// How many announcements of the series were made; nil while the address is not held.
    private var made: Int?
    /// When it was announced last, since it is held.
    private var last: BootInstant?
    /// When the next announcement is due; nil when none is.
    public private(set) var next: BootInstant?

    /// - Parameters:
    ///   - burst: the gaps of the burst, the first one from the take-over, each further one from the announcement before.
    ///   - refresh: the gap of the announcements after the burst; nil for none.
    public init(burst: [Duration] = Self.defaultBurst, refresh: Duration? = Self.defaultRefresh) {
        self.burst = burst
        self.refresh = refresh
        series = burst
    }

    /// The address was set: the burst begins.
    public mutating func claimed(now: BootInstant) {
        series = burst
        made = 0
        last = nil
        next = gap(0).map(now.advanced(by:))
    }

    /// The address is no longer held: nothing is due.
    public mutating func released() {
        made = nil
        next = nil
    }

    /// The neighbours may have forgotten or never heard us: the link came back, the MAC changed, or a partition healed. The
    /// burst begins anew, if the address is held.
    public mutating func linkReturned(now: BootInstant) {
        guard made != nil else { return }
        let before = last
        claimed(now: max(now, before?.advanced(by: Self.restartSpacing) ?? now))
        last = before
    }

    /// Another host announced the address: it is answered, at most once in `answerSpacing`, if the address is held.
    public mutating func contested(now: BootInstant) {
        guard made != nil else { return }
        let soonest = max(now, last?.advanced(by: Self.answerSpacing) ?? now)
        // What is due sooner anyway is an answer too.
        let due = min(next ?? soonest, soonest)
        series = Self.answer
        made = 0
        next = due
    }

    /// Whether to announce now. A true answer counts as made, and sets `next`.
    public mutating func due(now: BootInstant) -> Bool {
        guard let count = made, let due = next, due <= now else { return false }
        made = min(count + 1, series.count)
        last = now
        next = gap(count + 1).map(now.advanced(by:))
        return true
    }

    private func gap(_ number: Int) -> Duration? {
        number < series.count ? series[number] : refresh
    }
}
