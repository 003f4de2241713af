import Platform
import Synchronization

/// Where whoever proves a lease says until when it lasts, and where ownership and guard read that.
///
/// `extend` may be called as often as heartbeats are acknowledged, also on an event loop: while the lease only goes on, it is
/// a store into shared memory, without a lock, system call or allocation, and wakes nobody. The guard and the ownership look
/// again when the end has come that they read last. When the lease begins, ends before its time, or gets another term, they
/// are woken at once.
///
/// One thread at a time may write: `extend` and `revoke` say in their order what holds. Any thread may read at any time.
public final class LeaseCell: Sendable {
    /// Whose addresses follow this lease.
    public let slot: LeaseSlot

    private let page: LeasePage
    private let onShortened: @Sendable () -> Void
    private let term = Atomic<UInt64>(0)
    /// Odd while the term is being changed, so that no reader pairs the end of one term with the number of another.
    private let revision = Atomic<UInt64>(0)
    private let onChange = Mutex<(@Sendable () -> Void)?>(nil)

    /// - Parameters:
    ///   - page: shared with the guard. There may be one cell for each of its slots.
    ///   - onShortened: is called when the lease ends sooner than was said before, after the page says so: whoever sleeps
    ///     until the old end has to be woken. It must not block.
    public init(page: LeasePage, slot: LeaseSlot, onShortened: @escaping @Sendable () -> Void) {
        self.page = page
        self.slot = slot
        self.onShortened = onShortened
    }

    /// Sets what is called when the lease begins, ends before its time, or gets another term; not for extensions. It is
    /// called on the writer's thread and must not block.
    public func onChange(_ body: @escaping @Sendable () -> Void) {
        onChange.withLock { $0 = body }
    }

    /// Says that the lease in `term` lasts until `end`, later or sooner than was said before.
    ///
    /// - Parameters:
    ///   - end: margins are taken off already. What is further ahead than `LeasePage.longest` is cut to that: a lease that
    ///     would last for ever must be extended all the same, because only a daemon that still works may hold addresses.
    ///   - now: read after `end` was proven.
    public func extend(term: UInt64, until end: BootInstant, now: BootInstant = BootClock.now) {
        let end = max(min(end, now.advanced(by: LeasePage.longest)), .noLease)
        let isNewTerm = term != self.term.load(ordering: .relaxed)
        let before: BootInstant
        if isNewTerm {
            revision.add(1, ordering: .sequentiallyConsistent)
            self.term.store(term, ordering: .sequentiallyConsistent)
            before = page.exchange(slot, end)
            revision.add(1, ordering: .sequentiallyConsistent)
        } else {
            before = page.exchange(slot, end)
        }
        note(before: before, after: end, isNewTerm: isNewTerm, now: now)
    }

    /// Ends the lease now. What was granted under it must not be acted on any more, whatever its end was.
    public func revoke(now: BootInstant = BootClock.now) {
        let before = page.exchange(slot, .noLease)
        note(before: before, after: .noLease, isNewTerm: false, now: now)
    }

    /// The lease as it was told last, over or not; nil when it is revoked, or is being replaced by one of another term.
    public var lease: Lease? {
        // A term changes rarely, and within nanoseconds unless the writer is interrupted right there.
        for _ in 0..<1000 {
            let before = revision.load(ordering: .sequentiallyConsistent)
            let term = self.term.load(ordering: .sequentiallyConsistent)
            let end = page.end(slot)
            guard before.isMultiple(of: 2), before == revision.load(ordering: .sequentiallyConsistent) else { continue }
            return end > .noLease ? Lease(term: term, end: end) : nil
        }
        return nil
    }

    private func note(before: BootInstant, after: BootInstant, isNewTerm: Bool, now: BootInstant) {
        let (was, isNow) = (before > now, after > now)
        let isShorter = was && after < before
        if isShorter { onShortened() }
        guard isShorter || isNow && (!was || isNewTerm) else { return }
        onChange.withLock { $0 }?()
    }
}
