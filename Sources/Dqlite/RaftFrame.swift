/// One message of raft between two nodes, as far as a relay needs to know it (libraft's src/uv_encoding.c).
public struct RaftFrame: Hashable, Sendable {
    /// The first word of a frame.
    public enum Kind: UInt64, Sendable, Hashable {
        case appendEntries = 1
        case appendEntriesResult = 2
        case requestVote = 3
        case requestVoteResult = 4
        case installSnapshot = 5
        case timeoutNow = 6
    }

    /// The flags of a vote.
    public struct VoteFlags: OptionSet, Sendable, Hashable {
        public let rawValue: UInt64
        public init(rawValue: UInt64) { self.rawValue = rawValue }

        /// In a request: also while the voters have a leader (leadership transfer). In an answer: answers a pre-vote.
        public static let first = VoteFlags(rawValue: 1)
        /// In a request: a pre-vote, whose term is one above the candidate's.
        public static let second = VoteFlags(rawValue: 2)
    }

    /// What the header says besides the term.
    public enum Content: Hashable, Sendable {
        /// `lastEntryTerm` is that of the newest entry in the frame; `previousTerm` when there is none (a heartbeat).
        case appendEntries(
            previousIndex: UInt64, previousTerm: UInt64, commit: UInt64, count: UInt64, lastEntryTerm: UInt64)
        /// `rejected` is 0 for success.
        case appendEntriesResult(rejected: UInt64, lastIndex: UInt64)
        case requestVote(candidate: DqliteNodeID, lastIndex: UInt64, lastTerm: UInt64, flags: VoteFlags)
        case requestVoteResult(isGranted: Bool, flags: VoteFlags)
        case installSnapshot(lastIndex: UInt64, lastTerm: UInt64)
        case timeoutNow(lastIndex: UInt64, lastTerm: UInt64)
    }

    public var term: UInt64
    public var content: Content
    /// Length of the whole frame in bytes, payload included.
    public var length: UInt64
    /// Where the frame ends in the chunk that was consumed: the offset just behind its last byte.
    public var end: Int

    public init(term: UInt64, content: Content, length: UInt64, end: Int) {
        self.term = term
        self.content = content
        self.length = length
        self.end = end
    }

    public var kind: Kind {
        switch content {
        case .appendEntries: .appendEntries
        case .appendEntriesResult: .appendEntriesResult
        case .requestVote: .requestVote
        case .requestVoteResult: .requestVoteResult
        case .installSnapshot: .installSnapshot
        case .timeoutNow: .timeoutNow
        }
    }

    /// Where the receiver's log ends once it has taken this frame in: for AppendEntries only.
    public var lastPosition: (index: UInt64, term: UInt64)? {
        guard case .appendEntries(let index, _, _, let count, let term) = content else { return nil }
        return (index &+ count, term)
    }

    /// Whether it asks for a pre-vote or answers one.
    public var isPreVote: Bool {
        switch content {
        case .requestVote(_, _, _, let flags): flags.contains(.second)
        case .requestVoteResult(_, let flags): flags.contains(.first)
        case .appendEntries, .appendEntriesResult, .installSnapshot, .timeoutNow: false
        }
    }
}

extension RaftFrame {
    /// The frame of a TimeoutNow: what a leader sends to the voter that shall stand at once.
    ///
    /// libraft obeys it only when term and position are exactly those of its own log; never invent a term.
    public static func timeoutNow(term: UInt64, lastIndex: UInt64, lastTerm: UInt64) -> [UInt8] {
        var frame = WireEncoder()
        for word in [Kind.timeoutNow.rawValue, 24, term, lastIndex, lastTerm] { frame.integer(word) }
        return frame.bytes
    }

    /// The frame of an AppendEntries without entries, behind an index of the leader's log; it commits nothing.
    public static func heartbeat(term: UInt64, behind index: UInt64) -> [UInt8] {
        var frame = WireEncoder()
        // Term of the entry at the index, commit, number of entries, and the word that libraft never writes.
        for word in [Kind.appendEntries.rawValue, 48, term, index, term, 0, 0, 0] { frame.integer(word) }
        return frame.bytes
    }
}
