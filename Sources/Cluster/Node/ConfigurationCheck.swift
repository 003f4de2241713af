import Dqlite

/// Whether the local node believes the members that its log lists. A value type without clock.
///
/// libraft before 0.17 takes the newest list that it finds in its log at the start for committed. When another leader overwrites that
/// entry it keeps the list all the same, until the next change or start: it then counts votes and copies by members that
/// are none. So it is compared until the entry that was the newest at the start is known to be committed, or is gone; what comes
/// later it treats as it should.
struct ConfigurationCheck: Sendable, Equatable {
    /// What the local node says and what its log on disk says, read while neither was being changed.
    struct Look: Sendable, Equatable {
        /// By the local node.
        var believed: Set<DqliteMember>
        /// The newest list in the log.
        var listed: Set<DqliteMember>
        /// Of the log.
        var lastIndex: UInt64
    }

    enum Verdict: Sendable, Equatable {
        /// To be looked at again.
        case open
        /// Nothing can be wrong any more.
        case settled
        /// The node has to be started anew. In words, what it believes and what is listed.
        case wrong(String)
    }

    let own: DqliteNodeID
    /// The index of the last entry at the start.
    let newestAtStart: UInt64
    /// That index was committed at the last look, by whomever: by now the entry itself is, or another is in its place.
    private var wasCommitted = false
    private var differing: Look?

    init(own: DqliteNodeID, newestAtStart: UInt64) {
        self.own = own
        self.newestAtStart = newestAtStart
    }

    /// - Parameters:
    ///   - look: nil: it could not be read, or something was under way.
    ///   - committed: the highest index that any leader said to be committed, read before the look.
    mutating func look(_ look: Look?, committed: UInt64) -> Verdict {
        defer { if committed >= newestAtStart { wasCommitted = true } }
        guard let look else { return .open }
        guard look.believed == look.listed else {
            // Twice, and the same: what is on its way to the disk is no reason.
            defer { differing = look }
            guard let differing, differing.believed == look.believed, differing.listed == look.listed else {
                return .open
            }
            return .wrong(
                "it takes \(Self.text(look.believed)) for the members, and its log lists \(Self.text(look.listed))")
        }
        differing = nil
        // A sole voter commits what it writes.
        let isSole = look.believed.filter { $0.role == .voter }.map(\.id) == [own]
        return wasCommitted || isSole || look.lastIndex < newestAtStart ? .settled : .open
    }

    private static func text(_ members: Set<DqliteMember>) -> String {
        let texts = members.sorted { $0.id < $1.id }.map { "\($0.id) at \($0.address) (\($0.role))" }
        return texts.isEmpty ? "nobody" : texts.joined(separator: ", ")
    }
}
