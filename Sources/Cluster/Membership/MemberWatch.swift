import Dqlite
import Platform

/// Since when each member answers the leader, or does not. A value type without clock.
///
/// What an earlier leader knew is not known to the next one: for it a member that has not answered yet is gone since it
/// began to lead, so that nobody is replaced or removed on hearsay.
struct MemberWatch: Sendable {
    private struct Entry {
        var reachableSince: BootInstant?
        var seenAt: BootInstant
    }

    private let began: BootInstant
    private var entries: [DqliteNodeID: Entry] = [:]

    init(now: BootInstant) {
        began = now
    }

    mutating func answered(_ id: DqliteNodeID, now: BootInstant) {
        let since = entries[id]?.reachableSince ?? now
        entries[id] = Entry(reachableSince: since, seenAt: now)
    }

    mutating func silent(_ id: DqliteNodeID) {
        entries[id]?.reachableSince = nil
    }

    /// Forgets who is no member any more: under the same id it would be another's past.
    mutating func keep(_ ids: [DqliteNodeID], now: BootInstant) {
        entries = entries.filter { ids.contains($0.key) }
        // A new member is not gone for longer than it is one.
        for id in ids where entries[id] == nil { entries[id] = Entry(seenAt: now) }
    }

    func presence(of id: DqliteNodeID) -> RoleCore.Presence {
        guard let entry = entries[id] else { return .gone(since: began) }
        if let since = entry.reachableSince { return .reachable(since: since) }
        return .gone(since: entry.seenAt)
    }
}
