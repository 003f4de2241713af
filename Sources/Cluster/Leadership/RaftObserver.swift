import Dqlite
import NIOCore
import Platform
import Synchronization

/// Reads the raft streams that pass the relay for hints that the leader has changed, so that the monitor asks at once.
///
/// It only ever makes the monitor ask sooner; a stream that it cannot read is passed on all the same and costs nothing
/// but the time until the monitor's next regular question.
final class RaftObserver: Sendable {
    enum Direction: Sendable { case inbound, outbound }

    private struct State {
        var monitor: LeadershipMonitor?
        var hasUnreadable = false
        var lastLeader: (node: DqliteNodeID, at: BootInstant)?
    }

    private let state = Mutex(State())
    private let highest = Atomic<UInt64>(0)

    /// The highest term in any frame so far; a pre-vote's is one above the real one.
    var highestTerm: UInt64 { highest.load(ordering: .relaxed) }

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

    /// Whether any stream could not be read, since the start.
    var hasUnreadable: Bool { state.withLock { $0.hasUnreadable } }

    /// What looks at one connection's bytes, in order.
    func makeTap(direction: Direction) -> @Sendable (ByteBuffer) -> Void {
        let stream = ObservedStream()
        return { [self] bytes in
            let (hint, term, isNewlyLost) = stream.consume(bytes)
            highest.max(term, ordering: .relaxed)
            if isNewlyLost { state.withLock { $0.hasUnreadable = true } }
            guard let hint else { return }
            if hint == .leads, direction == .inbound, let node = stream.sender {
                state.withLock { $0.lastLeader = (node, BootClock.now) }
            }
            note(hint, direction)
        }
    }

    private func note(_ hint: ObservedStream.Hint, _ direction: Direction) {
        guard let monitor = state.withLock({ $0.monitor }) else { return }
        let isLeader = monitor.current.isLeader
        switch (hint, direction) {
        // Only a leader sends entries or heartbeats: we have just become one, or somebody else has.
        case (.leads, .outbound): if !isLeader { monitor.kick() }
        case (.leads, .inbound): if isLeader || monitor.current.leader == nil { monitor.kick() }
        case (.stands, .inbound): if isLeader { monitor.kick() }
        case (.stands, .outbound): break
        }
    }
}

/// One direction of one raft connection, from its first byte.
private final class ObservedStream: Sendable {
    enum Hint: Sendable { case leads, stands }

    private struct State {
        var preface = RaftPreface()
        var scanner = RaftFrameScanner()
        var isUnreadable = false
    }

    private let state = Mutex(State())

    /// Who writes this stream, once it has said so.
    var sender: DqliteNodeID? { state.withLock { $0.preface.peer?.id } }

    func consume(_ bytes: ByteBuffer) -> (hint: Hint?, term: UInt64, isNewlyLost: Bool) {
        state.withLock { state in
            guard !state.isUnreadable else { return (nil, 0, false) }
            var hint: Hint?
            var term: UInt64 = 0
            do {
                try bytes.withUnsafeReadableBytes { raw in
                    let used = state.preface.peer == nil ? try state.preface.consume(raw) : 0
                    state.scanner.consume(UnsafeRawBufferPointer(rebasing: raw[used...])) { frame in
                        term = max(term, frame.term)
                        switch frame.kind {
                        case .appendEntries, .installSnapshot: hint = .leads
                        case .requestVote: hint = .stands
                        case .appendEntriesResult, .requestVoteResult, .timeoutNow: break
                        }
                    }
                }
                state.isUnreadable = state.scanner.isLost
            } catch {
                state.isUnreadable = true
            }
            return (hint, term, state.isUnreadable)
        }
    }
}
