/// Which of this node's answers to a leader say no more than what was compared.
///
/// Rule 18. libraft answers a leader with how far its log is stored, and not with how far it was found to be the leader's
/// (DOC/LIBRAFT.md): a follower with entries left over from an earlier leader thus counts as one that has the new leader's. A write
/// would be acknowledged that one disk has. So an answer that names more than the leader's frames reached does not leave. A lost
/// answer costs nothing: the next frame brings another.
///
/// It matters until an entry of the leader's own term is stored: from then on the log is the leader's up to its end. What
/// is answered later to frames from before that entry cannot be told from an answer to it, but can be counted: each frame gets one
/// answer at most, and each entry of an earlier leader that is still on its way to the disk may bring one more.
///
/// A value type without clock, for one leader in one term; it begins anew with another.
struct ComparedCopies: Sendable {
    /// Of frames before an entry of the term. A new leader writes at once, so that there are one or two; a node that leaves hundreds
    /// unanswered must not be disbelieved for ever when it is back.
    private static let most = 256

    private var leader: VoterID = 0
    private var term: UInt64 = 0
    /// How far the frames reached that came before an entry of the term.
    private var bound: UInt64 = 0
    private var hasOwnEntry = false
    /// Answers that may belong to frames from before that.
    private var doubtful = 0
    /// Frames with entries that were not answered, of whatever leader: the disk may be at work.
    private var unanswered = 0

    /// A frame of a leader is handed to the local node.
    mutating func handed(_ frame: RelayFrame, of leader: VoterID) {
        guard frame.term >= term else { return }
        if frame.term > term || leader != self.leader {
            self.leader = leader
            term = frame.term
            bound = 0
            hasOwnEntry = false
            doubtful = unanswered
            unanswered = 0
        }
        switch frame.content {
        case .append(let previous, let last):
            if last.index > previous { unanswered += 1 }
            guard !hasOwnEntry else { return }
            if last.index > previous, last.term == term {
                hasOwnEntry = true
            } else {
                bound = max(bound, last.index)
                doubtful = min(doubtful + 1, Self.most)
            }
        case .snapshot(let last):
            unanswered += 1
            guard !hasOwnEntry else { return }
            bound = max(bound, last.index)
            doubtful = min(doubtful + 1, Self.most)
        case .result, .requestVote, .vote, .timeoutNow: break
        }
    }

    /// The local node answers.
    ///
    /// - Returns: whether the answer may leave.
    mutating func answers(_ leader: VoterID, in term: UInt64, isSuccess: Bool, lastIndex: UInt64) -> Bool {
        unanswered = max(0, unanswered - 1)
        // One of another term is nothing to a leader, or ends its lead.
        guard leader == self.leader, term == self.term else { return true }
        if hasOwnEntry, doubtful == 0 { return true }
        doubtful = max(0, doubtful - 1)
        return !isSuccess || lastIndex <= bound
    }
}
