import Platform

/// Whose request goes to the database next, of all clients from outside. A value type without clock.
///
/// The database has one thread, and raft is on it. So clients take turns, one request at a time for all of them together, and after
/// each the thread is left alone for 19 times as long as it took: all strangers together get a twentieth of it, however many they
/// are. Who has to wait too long is told so, and asks again.
struct ReaderTurns<ID: Hashable & Sendable>: Sendable {
    /// The thread belongs to raft for so many times as long as a turn took.
    static var rest: Int64 { 19 }
    /// However long one took: a machine that was stopped for a while must not lock readers out.
    static var longestRest: Duration { .seconds(1) }
    /// How long a request waits for its turn.
    static var patience: Duration { .seconds(2) }

    enum Step: Equatable, Sendable {
        /// It is its turn, until `ends`.
        case go(ID)
        /// It has waited too long.
        case turnAway(ID)
        /// Look again then.
        case wait(until: BootInstant)
        case nothing
    }

    private var queue: [(id: ID, since: BootInstant)] = []
    private var current: (id: ID, since: BootInstant)?
    private var opens = BootInstant(nanoseconds: 0)

    /// A client has a request; one that waits already keeps its place.
    mutating func asks(_ id: ID, now: BootInstant) {
        guard current?.id != id, !queue.contains(where: { $0.id == id }) else { return }
        queue.append((id, now))
    }

    /// Its request is answered.
    mutating func ends(_ id: ID, now: BootInstant) {
        guard let turn = current, turn.id == id else { return }
        current = nil
        let took = max(0, turn.since.duration(to: now).inNanoseconds)
        let (rest, overflow) = took.multipliedReportingOverflow(by: Self.rest)
        opens = now.advanced(by: overflow ? Self.longestRest : min(.nanoseconds(rest), Self.longestRest))
    }

    /// It is gone. What it has asked the thread may be at work for still: that counts as its turn up to now.
    mutating func leaves(_ id: ID, now: BootInstant) {
        queue.removeAll { $0.id == id }
        ends(id, now: now)
    }

    /// What to do now; to be asked until it says `wait` or `nothing`.
    mutating func next(now: BootInstant) -> Step {
        if let first = queue.first, first.since.duration(to: now) >= Self.patience {
            queue.removeFirst()
            return .turnAway(first.id)
        }
        guard let first = queue.first else { return .nothing }
        guard current == nil, opens <= now else {
            let late = first.since.advanced(by: Self.patience)
            return .wait(until: current == nil ? min(opens, late) : late)
        }
        queue.removeFirst()
        current = (first.id, now)
        return .go(first.id)
    }
}
