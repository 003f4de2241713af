import Lease
import RaftRig

/// From the rig's messages to what the relay's rules know of them, as `RelayFrame.init(_: RaftFrame)` does for those on the wire.
extension RelayFrame {
    init?(_ message: rig_message) {
        let content: Content
        switch Int(message.kind) {
        case RIG_APPEND:
            let last = LogPosition(index: message.index + UInt64(message.entries), term: message.last_term)
            content = .append(previous: message.index, last: last)
        case RIG_RESULT where message.rejected == RelayFrame.fence: content = .fenced
        case RIG_RESULT: content = .result(rejected: message.rejected, lastIndex: message.index)
        case RIG_REQUEST_VOTE: content = .requestVote(isPreVote: message.pre_vote)
        case RIG_VOTE: content = .vote(isGranted: message.granted, isPreVote: message.pre_vote)
        case RIG_TIMEOUT_NOW: content = .timeoutNow
        default: return nil
        }
        self.init(term: message.term, content: content)
    }
}

extension NamedVoters {
    /// The newest voters that an entry of the message names; nil for none.
    init?(_ message: rig_message, in rig: Rig) {
        guard message.kind == RIG_APPEND, message.entries > 0 else { return nil }
        for position in (0..<Int(message.entries)).reversed() {
            guard let entry = rig.entry(position, of: message), entry.kind == RIG_CHANGE else { continue }
            self.init(voters: Rig.members(entry.voters), index: entry.index)
            return
        }
        return nil
    }
}

extension rig_message {
    /// For whom this would be a vote if it left: the sender's own with a request, the receiver's with a granted vote.
    var candidate: Int? {
        if kind == RIG_REQUEST_VOTE, !pre_vote { return Int(from) }
        if kind == RIG_VOTE, granted, !pre_vote { return Int(to) }
        return nil
    }

    var text: String {
        switch Int(kind) {
        case RIG_APPEND: "append T\(term) after \(index)/\(index_term) n \(entries) commit \(commit)"
        case RIG_RESULT:
            rejected == 0 ? "success T\(term) last \(index)" : "refusal T\(term) of \(rejected) last \(index)"
        case RIG_REQUEST_VOTE: "\(pre_vote ? "pre-vote" : "vote") wanted T\(term) log \(index)/\(index_term)"
        case RIG_VOTE: "\(pre_vote ? "pre-vote" : "vote") \(granted ? "given" : "refused") T\(term)"
        case RIG_TIMEOUT_NOW: "TimeoutNow T\(term) log \(index)/\(index_term)"
        default: "kind \(kind)"
        }
    }
}
