import Platform

/// The guard's table of addresses, each with the lease that it follows. A value without clock and I/O.
///
/// An address stays in the table until the daemon releases it, and whenever its lease is over it is given out to be removed.
/// The guard looks at a lease when the end has come that it read last, and not before: extensions cost it nothing.
///
/// It allocates in `init`, and when an address comes that it does not know; never to watch or to give out one.
public struct GuardCore: Sendable {
    /// A watched address, with its deletion ready to be sent.
    public struct Entry: Sendable {
        public let address: GuardedAddress
        public let deletion: PreparedDeletion
        /// nil when the daemon that held it is dead.
        fileprivate var slot: LeaseSlot?
        /// As the page said last.
        fileprivate var end = BootInstant.noLease
        fileprivate var lookAt: BootInstant
        /// `end` was read in this round, and nothing was made of it yet.
        fileprivate var isRead = false
        /// It was removed since the daemon last said that it holds it: what is there now may be somebody else's.
        public fileprivate(set) var isRemoved = false
        /// It was the guard that removed it, and the operator does not know it yet.
        public fileprivate(set) var isUnreported = false
    }

    public enum HoldOutcome: Hashable, Sendable {
        case held
        /// The table holds `capacity` addresses already.
        case full
        /// No host could own this address: see `VirtualAddress.init(address:prefixLength:)`.
        case notVirtual
    }

    /// How many addresses the guard can watch.
    public static let capacity = 1024
    /// How long before the end of its lease an address is removed, so that it is gone by then. Shorter than the ownership's
    /// (`OwnershipTiming.lead`), which comes first when it works.
    public static let lead: Duration = .milliseconds(1)
    /// How soon an address whose lease is over is looked for again, as long as the daemon does not release it: a call of the
    /// daemon that was under way may have set it after it was removed.
    public static let again: Duration = .milliseconds(50)

    private let capacity: Int
    private var entries: [Entry] = []
    /// Where the search begins. The daemon names its addresses in the same order each time, so the next one is mostly the
    /// one that is asked for.
    private var cursor = 0

    public init(capacity: Int = Self.capacity) {
        self.capacity = capacity
        entries.reserveCapacity(capacity)
    }

    /// How many addresses are watched.
    public var count: Int { entries.count }

    // MARK: What the daemon says

    /// Watches an address under a lease, from now on.
    public mutating func hold(_ address: GuardedAddress, slot: LeaseSlot, now: BootInstant) -> HoldOutcome {
        if let index = find(address) {
            entries[index].slot = slot
            entries[index].lookAt = now
            entries[index].isRemoved = false
            entries[index].isUnreported = false
            return .held
        }
        guard entries.count < capacity else { return .full }
        guard let virtual = address.virtualAddress else { return .notVirtual }
        let deletion = PreparedDeletion(virtual, interface: address.interfaceIndex)
        entries.append(Entry(address: address, deletion: deletion, slot: slot, lookAt: now))
        return .held
    }

    /// Forgets an address; no matter when it is not there.
    public mutating func release(_ address: GuardedAddress) {
        if let index = find(address) { remove(at: index) }
    }

    /// Forgets all addresses.
    public mutating func releaseAll() {
        entries.removeAll(keepingCapacity: true)
        cursor = 0
    }

    /// Has all leases read now: one of them ends sooner than the page said before.
    public mutating func lookAtAll(now: BootInstant) {
        for index in entries.indices { entries[index].lookAt = min(entries[index].lookAt, now) }
    }

    /// The daemon is dead: no lease holds any of its addresses, whatever the page of a next daemon says.
    public mutating func abandon(now: BootInstant) {
        for index in entries.indices {
            entries[index].slot = nil
            entries[index].lookAt = now
        }
    }

    // MARK: What has to be done

    /// When a lease has to be read next; nil when no address is watched.
    public var nextLook: BootInstant? {
        var next: BootInstant?
        for entry in entries { next = min(next ?? entry.lookAt, entry.lookAt) }
        return next
    }

    /// Reads the leases whose time has come. To be followed by `nextExpired`, with a time that is read after this.
    ///
    /// - Parameter ahead: the time that the guard was woken for, when it was woken before that. Leases that were good at their
    ///   last reading and are to be read by then are read now: so one that is extended needs no second wake-up.
    public mutating func look(now: BootInstant, ahead: BootInstant? = nil, end: (LeaseSlot) -> BootInstant) {
        for index in entries.indices {
            let isGood = entries[index].end > now
            guard entries[index].lookAt <= (isGood ? max(now, ahead ?? now) : now) else { continue }
            entries[index].end = entries[index].slot.map(end) ?? .noLease
            entries[index].isRead = true
        }
    }

    /// Gives out the next address that was looked at and whose lease is over; nil at the end of the round.
    ///
    /// It stays watched, unless its daemon is dead.
    ///
    /// - Parameters:
    ///   - position: 0 at the beginning of the round.
    ///   - now: read after `look`.
    public mutating func nextExpired(from position: inout Int, now: BootInstant) -> Entry? {
        while position < entries.count {
            let entry = entries[position]
            guard entry.isRead else {
                position += 1
                continue
            }
            entries[position].isRead = false
            // Judged first: what no sound daemon writes may be too far off to be reckoned with.
            if entry.end.isLeaseEnd(at: now), now.duration(to: entry.end) > Self.lead {
                entries[position].lookAt = entry.end.advanced(by: .zero - Self.lead)
                position += 1
            } else if entry.slot == nil {
                remove(at: position)
                return entry
            } else {
                entries[position].lookAt = now.advanced(by: Self.again)
                entries[position].isRemoved = true
                entries[position].isUnreported = false
                position += 1
                return entry
            }
        }
        return nil
    }

    /// The address was there and is removed. When the daemon has not released it by the time it is given out again, it hangs,
    /// and the operator has to know; otherwise the guard was only the quicker of the two.
    public mutating func owesReport(of address: GuardedAddress) {
        if let index = find(address) { entries[index].isUnreported = true }
    }

    /// What was given out could not be removed: its lease is looked at again at `time`.
    public mutating func failed(_ entry: Entry, again time: BootInstant) {
        var entry = entry
        entry.lookAt = time
        entry.isRead = false
        if let index = find(entry.address) {
            entries[index] = entry
        } else if entries.count < capacity {
            entries.append(entry)
        }
    }

    /// Visits every watched address that was not removed yet, and which stays watched.
    public func forEach(_ body: (Entry) -> Void) {
        for entry in entries where !entry.isRemoved { body(entry) }
    }

    // MARK: -

    private mutating func find(_ address: GuardedAddress) -> Int? {
        for step in 0..<entries.count {
            let index = (cursor + step) % entries.count
            if entries[index].address == address {
                cursor = index + 1
                return index
            }
        }
        return nil
    }

    private mutating func remove(at index: Int) {
        entries.swapAt(index, entries.count - 1)
        entries.removeLast()
    }
}
