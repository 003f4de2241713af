public import Platform

/// Where a log ends: an index, and the term of the entry that stands there.
public struct LogPosition: Sendable, Hashable, BitwiseCopyable {
    public var index: UInt64
    public var term: UInt64

    public init(index: UInt64, term: UInt64) {
        self.index = index
        self.term = term
    }
}

/// One message of raft, as far as the relays' rules need to know it.
///
/// The bytes stay with whoever has them: what the rules decide about a frame does not depend on more than this.
public struct RelayFrame: Sendable, Hashable, BitwiseCopyable {
    public enum Content: Sendable, Hashable, BitwiseCopyable {
        /// AppendEntries: the entries of the leader's log behind `previous`, up to `last`; a heartbeat when these are the same.
        case append(previous: UInt64, last: LogPosition)
        /// InstallSnapshot: the whole of the log up to there.
        case snapshot(last: LogPosition)
        /// What came of one of these two. `lastIndex` is how far the log is stored, as the sender says.
        case result(isSuccess: Bool, lastIndex: UInt64)
        case requestVote(isPreVote: Bool)
        case vote(isGranted: Bool, isPreVote: Bool)
        /// The leader asks the receiver to stand at once.
        case timeoutNow
    }

    public var term: UInt64
    public var content: Content

    public init(term: UInt64, content: Content) {
        self.term = term
        self.content = content
    }
}

/// The voters that an entry of the log names, and where it stands.
public struct NamedVoters: Sendable, Hashable {
    public var voters: [VoterID]
    public var index: UInt64

    public init(voters: [VoterID], index: UInt64) {
        self.voters = voters
        self.index = index
    }
}

/// What relays say to each other beside raft's frames.
public enum PeerMessage: Sendable, Hashable, BitwiseCopyable {
    /// Promises given for what the sender sent until then, by its own clock, do not bind against `successor`, to whom it hands the lead
    /// over, and against nobody at all where that is nil.
    case released(upTo: BootInstant, successor: VoterID?)
    /// Do you hear the leader of this term? The leader itself says by that, behind `released`, that it hears nobody; then the time
    /// at which it said so, by its own clock, tells what is old.
    case asked(term: UInt64, sentAt: BootInstant)
    /// The sender's node is about to stand in place of the leader of this term.
    case stands(term: UInt64)
    /// The leader of this term has asked the sender's node to stand, and it cannot now: its votes are kept back.
    case declined(term: UInt64)
    /// The frame that was sent at `sentAt` was handed to the node, and what `VoteGate` says is promised.
    case acknowledged(term: UInt64, sentAt: BootInstant)
    /// The leader of the term is not heard here either.
    case silent(term: UInt64)
}
