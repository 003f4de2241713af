import Dqlite
import Platform
import Synchronization

/// Looks at the raft frames that pass the relay for hints that the leader has changed, so that the monitor asks at once.
///
/// It says when the monitor should ask at once, and when it may take its time; where frames cannot be read it asks often.
final class RaftObserver: Sendable {
    private struct State {
        var monitor: LeadershipMonitor?
        var lastLeader: (node: DqliteNodeID, at: BootInstant)?
        /// How many frames in a row came from a leader that the local node does not name: it has not taken the first in yet,
        /// or it never names one, as a stand-by.
        var unnamed = 0
        var answers = RaftAnswers()
    }

    /// So many frames after a change of leader the local node names it, if it ever does.
    private static let namedWithin = 8

    private let state = Mutex(State())
    private let highest = Atomic<UInt64>(0)
    private let committed = Atomic<UInt64>(0)
    private let latest = Atomic<UInt64>(0)

    /// The highest term in any frame so far; a pre-vote's is one above the real one.
    var highestTerm: UInt64 { highest.load(ordering: .relaxed) }

    /// The highest index that a leader has said to be committed.
    var highestCommit: UInt64 { committed.load(ordering: .relaxed) }

    /// Where the log ends by the last message of a leader that passed: the local node has been given it, or has written it.
    var latestIndex: UInt64 { latest.load(ordering: .relaxed) }

    func follow(_ monitor: LeadershipMonitor) {
        state.withLock { $0.monitor = monitor }
    }

    /// The node whose heartbeats came in last, when that is no longer ago than `window`. Stand-bys know no other way who
    /// leads: dqlite tells it to voters only.
    func recentLeader(within window: Duration) -> DqliteNodeID? {
        state.withLock { state in
            guard let last = state.lastLeader, last.at.duration(to: BootClock.now) <= window else { return nil }
            return last.node
        }
    }

    /// How long the local node has said nothing to anybody, although it hears a leader.
    func silence(now: BootInstant) -> Duration { state.withLock { $0.answers.silence(now: now) } }

    private func note(_ frame: RaftFrame) {
        highest.max(frame.term, ordering: .relaxed)
        if case .appendEntries(_, _, let commit, _, _) = frame.content { committed.max(commit, ordering: .relaxed) }
        if let end = frame.lastPosition?.index { latest.store(end, ordering: .relaxed) }
    }

    /// The local node writes a frame.
    func sends(_ frame: RaftFrame) {
        note(frame)
        let monitor = state.withLock { state in
            state.answers.says()
            return state.monitor
        }
        // Only a leader sends entries or heartbeats: we have just become one.
        guard let monitor else { return }
        let isLeader = monitor.current.isLeader
        if frame.isLeaders ? !isLeader : frame.isStanding && isLeader { monitor.kick() }
    }

    /// A peer's frame goes to the local node.
    func receives(_ frame: RaftFrame, from peer: DqliteNodeID, now: BootInstant) {
        note(frame)
        guard frame.isLeaders || frame.isStanding else { return }
        let monitor = state.withLock { $0.monitor }
        let current = monitor?.current
        let isNews = state.withLock { state in
            guard frame.isLeaders else { return current?.isLeader == true }
            if state.lastLeader?.node != peer || current?.leader == peer { state.unnamed = 0 }
            state.lastLeader = (peer, now)
            state.answers.hears(now: now)
            guard current?.leader != peer else { return false }
            state.unnamed += 1
            return state.unnamed <= Self.namedWithin
        }
        if isNews { monitor?.kick() }
    }

    /// Whether a leader's frames came within `window` and the local node says nothing else.
    func isSteady(_ leadership: Leadership, within window: Duration, now: BootInstant) -> Bool {
        state.withLock { state in
            guard !leadership.isLeader, let last = state.lastLeader, last.at.duration(to: now) <= window else {
                return false
            }
            return leadership.leader == last.node || state.unnamed > Self.namedWithin
        }
    }
}

extension RaftFrame {
    /// Whether only a leader sends it.
    fileprivate var isLeaders: Bool { kind == .appendEntries || kind == .installSnapshot }
    fileprivate var isStanding: Bool { kind == .requestVote }
}
