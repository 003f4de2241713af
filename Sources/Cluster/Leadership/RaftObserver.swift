import Dqlite
import Platform
import Synchronization

/// Looks at the raft frames that pass the relay for hints that the leader has changed, so that the monitor asks at once.
///
/// It only ever makes the monitor ask sooner; frames that nobody can read cost nothing but the time until the monitor's
/// next regular question.
final class RaftObserver: Sendable {
    private struct State {
        var monitor: LeadershipMonitor?
        var lastLeader: (node: DqliteNodeID, at: BootInstant)?
    }

    private let state = Mutex(State())
    private let highest = Atomic<UInt64>(0)
    private let committed = Atomic<UInt64>(0)

    /// The highest term in any frame so far; a pre-vote's is one above the real one.
    var highestTerm: UInt64 { highest.load(ordering: .relaxed) }

    /// The highest index that a leader has said to be committed.
    var highestCommit: UInt64 { committed.load(ordering: .relaxed) }

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

    private func note(_ frame: RaftFrame) {
        highest.max(frame.term, ordering: .relaxed)
        if case .appendEntries(_, _, let commit, _, _) = frame.content { committed.max(commit, ordering: .relaxed) }
    }

    /// The local node writes a frame.
    func sends(_ frame: RaftFrame) {
        note(frame)
        // Only a leader sends entries or heartbeats: we have just become one.
        guard frame.isLeaders, let monitor = state.withLock({ $0.monitor }) else { return }
        if !monitor.current.isLeader { monitor.kick() }
    }

    /// A peer's frame goes to the local node.
    func receives(_ frame: RaftFrame, from peer: DqliteNodeID, now: BootInstant) {
        note(frame)
        let monitor = state.withLock { state in
            if frame.isLeaders { state.lastLeader = (peer, now) }
            return state.monitor
        }
        guard let monitor else { return }
        let current = monitor.current
        if frame.isLeaders ? current.isLeader || current.leader == nil : frame.isStanding && current.isLeader {
            monitor.kick()
        }
    }
}

extension RaftFrame {
    /// Whether only a leader sends it.
    fileprivate var isLeaders: Bool { kind == .appendEntries || kind == .installSnapshot }
    fileprivate var isStanding: Bool { kind == .requestVote }
}
