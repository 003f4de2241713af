/// Which of this node's answers to a leader say no more than what was compared.
///
/// Rule 18. libraft answers a leader with how far its log is stored, and not with how far it was found to be the leader's
/// (DOC/LIBRAFT.md): a follower with entries left over from an earlier leader thus counts as one that has the new leader's. A write
/// would be acknowledged that one disk has. So an answer that names more than the leader's frames reached does not leave. A lost
/// answer costs nothing: the next frame brings another.
///
/// It matters until an entry of the leader's own term is stored: from then on the log is the leader's up to its end. What
/// is answered later to frames from before that entry cannot be told from an answer to it, but can be counted: each frame, of
/// whatever leader, gets one answer at most. All frames count, not only those with entries: a heartbeat that is answered while the
/// disk is at work would else be taken for the end of that work. A frame that will never be answered (the node was no follower any more
/// when its disk was ready) would be counted for ever: so a doubtful answer has the node asked something whose answer is known, and what
/// it says after that it says of the leader's log.
///
/// A value type without clock, for one leader in one term; it begins anew with another.
struct ComparedCopies: Sendable {
    private var leader: VoterID = 0
    private var term: UInt64 = 0
    /// How far the frames reached that came before an entry of the term.
    private var bound: UInt64 = 0
    /// How far the snapshots of the leader reach. What is answered to one is no matter of comparing: the log begins anew with it, and
    /// up to there it is the leader's. While the disk takes it heartbeats are refused, which says nothing of it; and without the one
    /// answer to it the leader sends nothing more for libraft's 30 s, with a promotion and every other change of members behind it.
    private var installed: UInt64 = 0
    /// How far all frames of the leader reached.
    private var reached: UInt64 = 0
    private var hasOwnEntry = false
    /// Answers that may belong to frames from before that.
    private var doubtful = 0
    /// Frames that were not answered, of whatever leader: the disk may be at work for any of them.
    private var unanswered = 0

    /// Where the newest frames began, of whatever leader.
    private var begins: [UInt64] = []

    /// Whether a refusal says that the disk has failed: libraft then names the first entry that it could not write, and else the entry
    /// before those of the frame. Where the next frame has begun there already it cannot be told: then nothing is said.
    func showsFailedDisk(_ leader: VoterID, in term: UInt64, rejected: UInt64) -> Bool {
        guard rejected > 0, leader == self.leader, term == self.term, !begins.contains(rejected) else { return false }
        return begins.contains(rejected - 1)
    }

    private mutating func began(at index: UInt64) {
        if begins.last == index { return }
        if begins.count == 64 { begins.removeFirst() }
        begins.append(index)
    }

    /// A frame of a leader is handed to the local node.
    mutating func handed(_ frame: RelayFrame, of leader: VoterID) {
        // One of an earlier term is refused, too, in the name of this one.
        if case .append(let previous, _) = frame.content { began(at: previous) }
        let last: UInt64
        let isOwnEntry: Bool
        var snapshot: UInt64 = 0
        switch frame.content {
        case .append(let previous, let position):
            last = position.index
            isOwnEntry = position.index > previous && position.term == frame.term
        case .snapshot(let position):
            last = position.index
            isOwnEntry = false
            snapshot = position.index
        case .result, .requestVote, .vote, .timeoutNow, .fenced: return
        }
        defer { unanswered += 1 }
        guard frame.term >= term else { return }
        if frame.term > term || leader != self.leader {
            self.leader = leader
            term = frame.term
            bound = 0
            reached = 0
            installed = 0
            hasOwnEntry = false
        }
        reached = max(reached, last)
        installed = max(installed, snapshot)
        guard !hasOwnEntry else { return }
        if isOwnEntry {
            hasOwnEntry = true
            doubtful = unanswered
        } else {
            bound = max(bound, last)
        }
    }

    /// An entry of the term was handed over, and what was answered last may be from before.
    var isDoubtful: Bool { hasOwnEntry && doubtful > 0 }

    /// The local node has read all that was handed over before an answer was found doubtful.
    mutating func fenced(for leader: VoterID, in term: UInt64) {
        if leader == self.leader, term == self.term { doubtful = 0 }
    }

    /// The local node answers.
    ///
    /// - Returns: whether the answer may leave.
    mutating func answers(_ leader: VoterID, in term: UInt64, isSuccess: Bool, lastIndex: UInt64) -> Bool {
        unanswered = max(0, unanswered - 1)
        // In a term of which no frame has been handed over, nothing was compared: what the disk has finished late for the same
        // leader in an earlier term. One of a lower term is nothing to a leader.
        guard leader == self.leader, term == self.term else { return !isSuccess || term < self.term }
        guard isSuccess else {
            // What was handed over was not taken: only a later frame shows anew how far the logs agree.
            bound = 0
            hasOwnEntry = false
            doubtful = 0
            return true
        }
        guard hasOwnEntry, doubtful == 0 else {
            doubtful = hasOwnEntry ? doubtful - 1 : 0
            return lastIndex <= max(bound, installed)
        }
        // All that was handed over is on the disk: what has not been answered will not be, or is answered at once.
        if lastIndex >= reached { unanswered = 0 }
        return true
    }
}
