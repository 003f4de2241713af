import Lease
import Platform

/// Counts leases and their ends, for the operator. It decides nothing.
///
/// A value type without clock: it is told what lease there is whenever that may have changed. An expiry is noticed when it is
/// told next.
struct LeaseBook: Sendable {
    /// How many leases began.
    private(set) var begun: UInt64 = 0
    private(set) var lost: [LeaseLoss: UInt64] = [:]
    private var end: BootInstant?

    /// What lease there is: its end, nil or past for none.
    ///
    /// - Returns: whether one has begun.
    @discardableResult
    mutating func sees(end new: BootInstant?, now: BootInstant) -> Bool {
        settle(now)
        guard let new, new > now else { return false }
        defer { end = new }
        guard end == nil else { return false }
        begun += 1
        return true
    }

    /// The lease, if there is one, is given up now.
    mutating func loses(by reason: LeaseLoss, now: BootInstant) {
        settle(now)
        guard end != nil else { return }
        end = nil
        lost[reason, default: 0] += 1
    }

    private mutating func settle(_ now: BootInstant) {
        guard let end, end <= now else { return }
        self.end = nil
        lost[.expired, default: 0] += 1
    }
}
