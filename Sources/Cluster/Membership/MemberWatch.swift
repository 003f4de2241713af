import Dqlite
import Platform

/// Since when each member answers the leader, or does not. A value type without clock.
///
/// For a new leader a member that has not answered yet is gone since it began to lead, so that nobody loses a role on hearsay.
/// What the leader before said of absences is kept beside it: it counts for the end of a membership, which is a matter of hours,
/// together with what this leader has seen itself.
struct MemberWatch: Sendable {
    private struct Entry {
        var reachableSince: BootInstant?
        var seenAt: BootInstant
    }

    private let began: BootInstant
    private var entries: [DqliteNodeID: Entry] = [:]
    /// By the word of the leader before, of those that have not answered since.
    private var absences: [DqliteNodeID: BootInstant]

    /// - Parameter absences: since when members do not answer, by the word of the leader before.
    init(now: BootInstant, absences: [DqliteNodeID: BootInstant] = [:]) {
        began = now
        self.absences = absences.filter { $0.value <= now }
    }

    mutating func answered(_ id: DqliteNodeID, now: BootInstant) {
        let since = entries[id]?.reachableSince ?? now
        entries[id] = Entry(reachableSince: since, seenAt: now)
        absences[id] = nil
    }

    mutating func silent(_ id: DqliteNodeID) {
        entries[id]?.reachableSince = nil
    }

    /// Forgets who is no member any more: under the same id it would be another's past.
    mutating func keep(_ ids: [DqliteNodeID], now: BootInstant) {
        entries = entries.filter { ids.contains($0.key) }
        absences = absences.filter { ids.contains($0.key) }
        // A new member is not gone for longer than it is one.
        for id in ids where entries[id] == nil { entries[id] = Entry(seenAt: now) }
    }

    /// Since when a member is gone, counting what the leader before has seen; nil: it is not.
    func absentSince(_ id: DqliteNodeID) -> BootInstant? {
        guard case .gone(let since) = presence(of: id) else { return nil }
        return min(since, absences[id] ?? since)
    }

    func presence(of id: DqliteNodeID) -> RoleCore.Presence {
        guard let entry = entries[id] else { return .gone(since: began) }
        if let since = entry.reachableSince { return .reachable(since: since) }
        return .gone(since: entry.seenAt)
    }
}
