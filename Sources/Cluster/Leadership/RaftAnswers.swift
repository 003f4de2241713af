import Platform

/// Whether the local node still takes part in raft, by what passes the relay: who hears a leader answers each of its messages.
///
/// A write that fails (a disk that was full for a moment) makes libraft give up for ever: it goes on to answer libdqlite's
/// clients, names no leader, and stays silent to its peers until it is started again.
///
/// A value type without clock.
struct RaftAnswers: Sendable {
    /// So long ago at most a leader was heard: else there is nobody to answer.
    static let hearing: Duration = .seconds(1)

    private var unansweredSince: BootInstant?
    private var lastHeard: BootInstant?

    /// A leader's message goes to the local node.
    mutating func hears(now: BootInstant) {
        lastHeard = now
        if unansweredSince == nil { unansweredSince = now }
    }

    /// The local node says something.
    mutating func says() { unansweredSince = nil }

    /// How long the local node has said nothing, although it hears a leader.
    func silence(now: BootInstant) -> Duration {
        guard let unansweredSince, let lastHeard, lastHeard.duration(to: now) <= Self.hearing else { return .zero }
        return unansweredSince.duration(to: now)
    }
}
