import Platform

/// The MACs under which other hosts have an address beside us: counted, so that the log tells of their number now and then,
/// and not of each. How many there are is the choice of whoever sends the frames.
///
/// A value type; it keeps `most` MACs and no more.
struct ForeignMACs: Sendable {
    /// How many are told apart.
    static let most = 64
    /// How often a number that has grown is told.
    static let interval: Duration = .seconds(60)

    /// What the operator is told.
    struct Count: Hashable, Sendable, CustomStringConvertible {
        var number: Int
        /// There were more than could be told apart.
        var isMore: Bool

        var description: String { "\(isMore ? "more than " : "")\(number) different MACs" }
    }

    private var seen: Set<HardwareAddress> = []
    private var isMore = false
    private var told: Count?
    private var toldAt: BootInstant?

    /// One of them was heard.
    mutating func note(_ address: HardwareAddress) {
        guard !seen.contains(address) else { return }
        if seen.count < Self.most { seen.insert(address) } else { isMore = true }
    }

    /// How many there are since the conflict began; nil while there is no more than one.
    var count: Count? { seen.count > 1 ? Count(number: seen.count, isMore: isMore) : nil }

    /// The conflict was told, with one MAC.
    mutating func begin(_ address: HardwareAddress, now: BootInstant) {
        note(address)
        toldAt = now
    }

    /// The number, when it is to be told now: it has changed, and the last word was a while ago.
    mutating func due(now: BootInstant) -> Count? {
        guard let count, count != told, let toldAt, toldAt.duration(to: now) >= Self.interval else { return nil }
        told = count
        self.toldAt = now
        return count
    }
}
