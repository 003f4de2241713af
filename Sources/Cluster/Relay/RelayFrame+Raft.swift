import Dqlite
import Lease
import NIOCore

/// From libraft's frames to what the relay's rules need to know of them.
extension RelayFrame {
    init(_ frame: RaftFrame) {
        let content: Content =
            switch frame.content {
            case .appendEntries(let index, _, _, let count, let term):
                .append(previous: index, last: LogPosition(index: index &+ count, term: term))
            case .installSnapshot(let index, let term): .snapshot(last: LogPosition(index: index, term: term))
            case .appendEntriesResult(RelayFrame.fence, _): .fenced
            case .appendEntriesResult(let rejected, let index): .result(rejected: rejected, lastIndex: index)
            // The candidate is the node itself: libraft passes nobody else's request on.
            case .requestVote: .requestVote(isPreVote: frame.isPreVote)
            case .requestVoteResult(let isGranted, _): .vote(isGranted: isGranted, isPreVote: frame.isPreVote)
            case .timeoutNow: .timeoutNow
            }
        self.init(term: frame.term, content: content)
    }
}

extension RelayCore.Settings {
    init(_ timing: Timing) {
        var succession = SuccessionCore.Settings(silence: timing.silence)
        // What waits for other hosts grows with the latency; what waits for this one does not shrink.
        succession.stagger = max(succession.stagger, timing.latency * 3 / 4)
        succession.probePatience = max(succession.probePatience, timing.latency * 4)
        self.init(
            hold: timing.hold, patience: max(.milliseconds(100), timing.latency * 5),
            handOverLimit: ClusterNode.handOverLimit, retreat: timing.electionTimeout,
            succession: succession)
    }
}

extension ByteBuffer {
    /// The head of the one raft frame that these bytes are.
    var raftFrame: RaftFrame? {
        withUnsafeReadableBytes { raw in
            var scanner = RaftFrameScanner()
            var found: RaftFrame?
            scanner.consume(raw) { found = $0 }
            return found?.end == raw.count ? found : nil
        }
    }

    /// The newest configuration that an entry in these bytes of a frame names.
    func namedConfiguration(in frame: RaftFrame) -> RaftConfiguration.Named {
        guard case .appendEntries(let index, _, _, 1..., _) = frame.content else { return .none }
        return withUnsafeReadableBytes { RaftConfiguration.newest(inAppendEntries: $0, after: index) }
    }
}
