import Platform

/// Whether the leader brings a follower up to date, by what it sends and what comes back.
///
/// libraft may hold a follower for further than it is and take its refusals for old ones, for the whole of a term; and a
/// node whose disk has failed answers its relay, but stores nothing. Both count as there and are not.
///
/// A value type without clock.
struct FollowerProgress: Sendable {
    /// How far the log was sent, and how far it is stored as the follower says.
    private var sent: UInt64 = 0
    private var stored: UInt64 = 0
    /// Since when it was behind without coming any nearer, or has said nothing, or refused only.
    private(set) var standsSince: BootInstant?

    /// A frame goes to it that ends there.
    mutating func sends(upTo index: UInt64, now: BootInstant) {
        sent = max(sent, index)
        if standsSince == nil { standsSince = now }
    }

    mutating func answered(isSuccess: Bool, lastIndex: UInt64, now: BootInstant) {
        guard isSuccess else { return }
        if lastIndex >= sent {
            standsSince = nil
        } else if lastIndex > stored {
            standsSince = now
        }
        stored = max(stored, lastIndex)
    }
}
