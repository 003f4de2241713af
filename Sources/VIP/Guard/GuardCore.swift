import Platform

/// The guard's table of addresses with their deadlines. A value without clock and I/O.
///
/// It allocates in `init`, and when an address comes that it does not know; never to extend or to give out one.
public struct GuardCore: Sendable {
    /// A watched address, with its deletion ready to be sent.
    public struct Entry: Sendable {
        public let address: GuardedAddress
        public let deletion: PreparedDeletion
        fileprivate var deadline: BootInstant
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
    /// How far ahead a deadline may be. A later one is cut to this, so that no mistake of the daemon makes it unguarded.
    public static let longestHold: Duration = .seconds(10)

    private let capacity: Int
    private var entries: [Entry] = []
    /// Where the search begins. The daemon extends its addresses in the same order each time, so the next one is mostly
    /// the one that is asked for.
    private var cursor = 0

    public init(capacity: Int = Self.capacity) {
        self.capacity = capacity
        entries.reserveCapacity(capacity)
    }

    /// How many addresses are watched.
    public var count: Int { entries.count }

    /// Watches an address, or gives it a new deadline, also an earlier one.
    public mutating func hold(_ address: GuardedAddress, until end: BootInstant, now: BootInstant) -> HoldOutcome {
        let deadline = min(end, now.advanced(by: Self.longestHold))
        if let index = find(address) {
            entries[index].deadline = deadline
            return .held
        }
        guard entries.count < capacity else { return .full }
        guard let virtual = address.virtualAddress else { return .notVirtual }
        let deletion = PreparedDeletion(virtual, interface: address.interfaceIndex)
        entries.append(Entry(address: address, deletion: deletion, deadline: deadline))
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

    /// Lets all deadlines end now: the daemon is gone.
    public mutating func expireAll(now: BootInstant) {
        for index in entries.indices { entries[index].deadline = min(entries[index].deadline, now) }
    }

    /// When the next address has to go; nil when none is watched.
    public var nextDeadline: BootInstant? {
        var next: BootInstant?
        for entry in entries { next = min(next ?? entry.deadline, entry.deadline) }
        return next
    }

    /// Visits every watched address, which stays watched.
    public func forEach(_ body: (Entry) -> Void) {
        for entry in entries { body(entry) }
    }

    /// Takes out an address whose deadline has come; nil when there is none.
    public mutating func takeExpired(now: BootInstant) -> Entry? {
        guard let index = entries.lastIndex(where: { $0.deadline <= now }) else { return nil }
        return remove(at: index)
    }

    /// Puts back an address that was taken out and could not be removed, to be tried again.
    public mutating func putBack(_ entry: Entry, until deadline: BootInstant) {
        guard entries.count < capacity else { return }
        entries.append(entry)
        entries[entries.count - 1].deadline = deadline
    }

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

    @discardableResult
    private mutating func remove(at index: Int) -> Entry {
        entries.swapAt(index, entries.count - 1)
        return entries.removeLast()
    }
}
