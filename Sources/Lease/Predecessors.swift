public import Platform

/// Leaders whose process ended while this node followed them, as far as it saw that.
///
/// The death of a leader's process ends what was promised to it (`VoteGate.died`), long before its lease would have ended.
/// Usually its guard has let go of the addresses by then. Should the guard be dead, too, only that host's kernel is left to
/// do it, a second later, and it tells who asks for them. But silence says something only while the host can be heard: so
/// whoever takes the lead asks the host, too, and what counts is a question that is as new as those for the addresses.
///
/// A value type without I/O or clock.
public struct Predecessors: Sendable {
    /// What they have in common.
    public struct Account: Sendable, Hashable {
        /// When the last of them ended: until then one of them may have renewed the kernel's lifetime of an address.
        public var endedAt: BootInstant
        /// All of their hosts answered questions that were asked then or later; nil while one has answered none.
        public var answeredSince: BootInstant?

        public init(endedAt: BootInstant, answeredSince: BootInstant?) {
            self.endedAt = endedAt
            self.answeredSince = answeredSince
        }
    }

    private struct Entry: Sendable {
        var process: VoteGate.LeaderProcess
        var endedAt: BootInstant
        var answeredSince: BootInstant?
    }

    /// How long they are remembered: longer than any kernel keeps an address that nobody renews.
    public static let memory: Duration = .seconds(10)

    private var leader: VoteGate.LeaderProcess?
    private var entries: [Entry] = []

    public init() {}

    /// AppendEntries came from a leader: it lives, and so does whatever process follows one that ended.
    ///
    /// - Returns: whether the account has changed.
    @discardableResult
    public mutating func heard(of leader: VoteGate.LeaderProcess) -> Bool {
        if self.leader != leader { self.leader = leader }
        guard !entries.isEmpty else { return false }
        let count = entries.count
        entries.removeAll { $0.process.voter == leader.voter }
        return entries.count != count
    }

    /// The connection from a peer has ended.
    ///
    /// - Returns: whether the account has changed.
    public mutating func ended(_ process: VoteGate.LeaderProcess, now: BootInstant) -> Bool {
        guard process == leader else { return false }
        entries.removeAll { $0.process.voter == process.voter || $0.endedAt.duration(to: now) > Self.memory }
        entries.append(Entry(process: process, endedAt: now))
        return true
    }

    /// The host of a process answered a question that was asked at that time: it accepted a connection, or refused one.
    ///
    /// - Returns: whether the account has changed.
    public mutating func answered(_ process: VoteGate.LeaderProcess, askedAt: BootInstant) -> Bool {
        guard let index = entries.firstIndex(where: { $0.process == process }) else { return false }
        if let known = entries[index].answeredSince, known >= askedAt { return false }
        entries[index].answeredSince = askedAt
        return true
    }

    /// The processes whose hosts are to be asked.
    public var processes: [VoteGate.LeaderProcess] { entries.map(\.process) }

    /// nil when there are none.
    public var account: Account? {
        guard let endedAt = entries.map(\.endedAt).max() else { return nil }
        let answers = entries.compactMap(\.answeredSince)
        return Account(endedAt: endedAt, answeredSince: answers.count == entries.count ? answers.min() : nil)
    }
}
