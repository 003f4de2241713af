public import Platform

// What comes in from peers.
extension RelayCore {
    /// Judges a frame of a peer just before it would be handed to the local node.
    ///
    /// - Parameters:
    ///   - process: the peer, by the connection on which the frame came.
    ///   - names: the newest voters that an entry in it names.
    ///   - canOwe: there is a connection to the peer, on which an acknowledgement may go with the local node's answer.
    public mutating func receives(
        _ frame: RelayFrame, from process: VoteGate.LeaderProcess, names: NamedVoters? = nil, wantsPromise: Bool,
        sentAt: BootInstant, canOwe: Bool, now: BootInstant
    ) -> Reception {
        meets(process)
        note(delayOf: process.voter, sentAt, now)
        switch frame.content {
        case .append, .snapshot:
            return receivesEntries(
                frame, process, names, wantsPromise: wantsPromise, sentAt: sentAt, canOwe: canOwe, now)
        case .result(let rejected, let lastIndex):
            let isSuccess = rejected == 0
            if isSuccess {
                let stored = peers[process.voter]?.storedIndex ?? 0
                peers[process.voter]?.storedIndex = max(stored, lastIndex)
            }
            if frame.term == lease.term {
                peers[process.voter]?.progress.answered(isSuccess: isSuccess, lastIndex: lastIndex, now: now)
            }
        case .timeoutNow:
            return isAsked(by: process, in: frame.term, now)
        case .requestVote, .vote, .fenced: break
        }
        return .hand(acknowledges: false)
    }

    private mutating func receivesEntries(
        _ frame: RelayFrame, _ process: VoteGate.LeaderProcess, _ names: NamedVoters?, wantsPromise: Bool,
        sentAt: BootInstant, canOwe: Bool, _ now: BootInstant
    ) -> Reception {
        if let first = gate.hears(process.voter, in: frame.term) {
            say(.alarm(.twoLeaders(term: frame.term, first: first, second: process.voter)))
            return .drop
        }
        guard !hasFailedDisk else { return .drop }
        follows(frame.term)
        if let names { named(names, now: now) }
        dropHeld(upTo: frame.term)
        copies.handed(frame, of: process.voter)
        noteLead(frame, of: process.voter)
        heard(of: process, in: frame.term, now)
        if case .append(let previous, let last) = frame.content, last.index == previous { unansweredHeartbeats += 1 }
        // Where a stream cannot be read, votes leave unseen: nothing can be promised.
        guard wantsPromise, unreadable == 0,
            gate.promise(to: process, in: frame.term, sentAt: sentAt, now: now)
        else { return .hand(acknowledges: false) }
        return .hand(acknowledges: !owes(to: process.voter, frame, sentAt, canOwe: canOwe))
    }

    /// Another was elected in a later term: whoever acknowledges something of an earlier lead from now on, and by whatever voters that
    /// is counted, it has no lease any more.
    private mutating func follows(_ term: UInt64) {
        guard rules.surrenders, lease.term > 0, term > lease.term, !lease.isSurrendered else { return }
        lease.surrender(upTo: term - 1)
        say(.leaseLost(.surrendered))
        say(.leaseMoved)
    }

    /// Whether the acknowledgement can wait for the local node's answer, which follows a heartbeat within a millisecond: one
    /// packet instead of two. What waits for the disk, and the next one when an answer has not come, is acknowledged at once.
    private mutating func owes(to peer: VoterID, _ frame: RelayFrame, _ sentAt: BootInstant, canOwe: Bool) -> Bool {
        guard canOwe, case .append(let previous, let last) = frame.content, last.index == previous,
            peers[peer]?.owed == nil
        else {
            peers[peer]?.owed = nil
            return false
        }
        peers[peer]?.owed = (frame.term, sentAt)
        return true
    }

    private mutating func noteLead(_ frame: RelayFrame, of peer: VoterID) {
        guard let known = peers[peer], frame.term >= known.ledTerm else { return }
        peers[peer]?.ledTerm = frame.term
        if case .append(_, let last) = frame.content { peers[peer]?.position = last }
    }

    private mutating func note(delayOf peer: VoterID, _ sentAt: BootInstant, _ now: BootInstant) {
        peers[peer]?.delay.sees(now.nanoseconds &- sentAt.nanoseconds, now: now)
    }

    /// A process of a peer is connected.
    ///
    /// - Returns: whether it is another than before.
    @discardableResult
    public mutating func meets(_ process: VoteGate.LeaderProcess) -> Bool {
        guard peers[process.voter]?.process != process else { return false }
        peers[process.voter] = Peer(process)
        return true
    }

    // MARK: - A hand-over

    /// A leader asks the local node to stand. It hears of it only when its requests for votes could leave: else its term would have
    /// moved on for nothing, its leader would step down over it, and whoever's gate opens first would be elected.
    private mutating func isAsked(
        by process: VoteGate.LeaderProcess, in term: UInt64, _ now: BootInstant
    ) -> Reception {
        guard !rules.standsOnlyWhenOpen || !gate.wouldHold(own, in: term &+ 1, now: now) else {
            say(.tell(process.voter, .declined(term: term)))
            return .drop
        }
        say(.askedToStand(by: process.voter, term: term))
        say(.stands(.transferred))
        // The election is left to this node, as when it stands by itself.
        if rules.tells { tellSurvivors(.stands(term: term), but: process.voter) }
        return .hand(acknowledges: false)
    }

    // MARK: - Messages of relays

    /// A peer's relay says something.
    public mutating func told(_ message: PeerMessage, by process: VoteGate.LeaderProcess, now: BootInstant) {
        switch message {
        case .released(let sentAt, let successor):
            gate.released(by: process, upTo: sentAt, successor: successor)
            releaseHeld(now)
        case .acknowledged(let term, let sentAt):
            let before = lease.end(now: now)
            lease.acknowledge(by: process.voter, in: term, sentAt: sentAt)
            if lease.end(now: now) != before { say(.leaseMoved) }
        case .declined(let term):
            guard term == lease.term, !lease.isSurrendered else { return }
            lease.resumes(now: now)
            say(.declined(by: process.voter, term: term))
        case .asked(let term, let sentAt):
            isAsked(whether: term, sentAt, by: process, now)
        case .silent(let term):
            succession.confirmed(by: process.voter, in: term, promisedUntil: gate.closedNow, now: now)
            report()
        case .stands(let term):
            succession.stands(process.voter, in: term, now: now)
        }
    }

    /// A leader that asks for itself gives up, and gets no answer; unless it said so long ago and what came since was in the way
    /// with it: it may have recovered.
    private mutating func isAsked(
        whether term: UInt64, _ sentAt: BootInstant, by process: VoteGate.LeaderProcess, _ now: BootInstant
    ) {
        guard process == succession.leader else {
            if succession.isSilent(in: term, now: now) { say(.answer(process.voter, .silent(term: term))) }
            return
        }
        let taken = now.nanoseconds &- sentAt.nanoseconds &- (peers[process.voter]?.delay.least ?? 0)
        guard taken <= settings.hold.inNanoseconds else { return }
        succession.gaveUp(process, in: term, promisedUntil: gate.closedNow, now: now)
        report()
    }
}
