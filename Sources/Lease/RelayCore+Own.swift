public import Platform

// Frames of the local node.
extension RelayCore {
    /// Judges a frame of the local node, just before it would leave.
    ///
    /// - Parameter names: the newest voters that an entry in it names.
    public mutating func sends(
        _ frame: RelayFrame, to peer: VoterID, names: NamedVoters? = nil, now: BootInstant
    ) -> Passage {
        unansweredHeartbeats = 0
        switch frame.content {
        case .append, .snapshot:
            return hasFailedDisk ? .drop : sendsEntries(frame, to: peer, names, now)
        case .requestVote(let isPreVote):
            say(.stands(.timeout))
            return isPreVote ? .pass(wantsPromise: false, acknowledging: nil) : votes(frame, for: own, to: peer, now)
        case .vote(isGranted: true, isPreVote: false):
            return votes(frame, for: peer, to: peer, now)
        case .timeoutNow:
            say(.transfers(to: peer))
            say(.leaseLost(.transferred))
            if rules.transfersEndLease {
                lease.transfers(
                    to: peer, now: now, patience: settings.patience, keeping: settings.handOverLimit)
            }
            say(.leaseMoved)
            say(.tellAll(.released(upTo: now, successor: peer)))
        case .result(let rejected, let lastIndex):
            return answers(frame.term, rejected, lastIndex, to: peer)
        case .fenced:
            copies.fenced(for: peer, in: frame.term)
            return .drop
        case .vote: break
        }
        return .pass(wantsPromise: false, acknowledging: nil)
    }

    private mutating func sendsEntries(
        _ frame: RelayFrame, to peer: VoterID, _ names: NamedVoters?, _ now: BootInstant
    ) -> Passage {
        leads(in: frame.term, now)
        if let names, frame.term == lease.term {
            // One that was sent to a follower which lags behind names what was named before.
            if names.index > namedIndex || lease.voters.isEmpty {
                namedIndex = names.index
                named(names, now: now)
                configure(names.voters, now)
                say(.leaseMoved)
            }
        }
        switch frame.content {
        case .append(_, let last), .snapshot(let last): peers[peer]?.progress.sends(upTo: last.index, now: now)
        default: break
        }
        var wantsPromise = lease.wantsPromise(now: now)
        if wantsPromise, lease.sends(now: now), rules.succeeds {
            wantsPromise = false
            retreat(now)
        }
        return .pass(wantsPromise: wantsPromise, acknowledging: nil)
    }

    /// Nobody answers, and the lease is over: those who hear this node need not wait for it.
    mutating func retreat(_ now: BootInstant) {
        if rules.transfersEndLease { lease.transfers(now: now, patience: settings.retreat) }
        say(.leaseMoved)
        say(.tellAll(.released(upTo: now, successor: nil)))
        say(.tellAll(.asked(term: lease.term, sentAt: now)))
    }

    private mutating func leads(in term: UInt64, _ now: BootInstant) {
        guard term > lease.term else { return }
        lease.leads(in: term)
        // Its own vote in that term need not have left: a sole voter elects itself.
        _ = gate.hears(own, in: term)
        namedIndex = 0
        for id in peers.keys { peers[id]?.progress = FollowerProgress() }
        if isSole { configure([own], now) }
        succession.moved(to: term)
        say(.leaseMoved)
        say(.leads(term: term))
    }

    // MARK: - Votes

    private mutating func votes(
        _ frame: RelayFrame, for candidate: VoterID, to peer: VoterID, _ now: BootInstant
    ) -> Passage {
        switch gate.vote(for: candidate, in: frame.term, now: now) {
        case .drop:
            if gate.isSecond(frame.term, for: candidate) {
                say(.alarm(.secondVote(term: frame.term, candidate: candidate)))
            }
            return .drop
        case .hold(let until):
            let ticket = ticket()
            held.append(Held(ticket: ticket, frame: frame, peer: peer, candidate: candidate, until: until))
            // A stale vote is worth nothing; what is kept back is bounded by the members.
            if held.count > 32 { say(.discard(held.removeFirst().ticket)) }
            return .hold(ticket)
        case .pass:
            passes(frame.term, for: candidate)
            return .pass(wantsPromise: false, acknowledging: nil)
        }
    }

    /// A vote of that term leaves.
    private mutating func passes(_ term: UInt64, for candidate: VoterID) {
        // Promises are over, and with them what they would be acknowledged for.
        for id in peers.keys { peers[id]?.owed = nil }
        if lease.term < term { say(.leaseLost(.surrendered)) }
        if rules.surrenders { lease.surrender(upTo: term == 0 ? 0 : term - 1, to: candidate) }
        stirs()
        succession.moved(to: term)
        say(.leaseMoved)
    }

    /// Looks again at the votes that are kept back.
    mutating func releaseHeld(_ now: BootInstant) {
        guard !held.isEmpty else { return }
        var kept: [Held] = []
        for var vote in held {
            switch gate.vote(for: vote.candidate, in: vote.frame.term, now: now) {
            case .hold(let until):
                vote.until = until
                kept.append(vote)
            case .drop: say(.discard(vote.ticket))
            case .pass:
                passes(vote.frame.term, for: vote.candidate)
                say(.release(vote.ticket))
            }
        }
        held = kept
    }

    /// A leader of that term is there: what was to be decided by these votes is decided.
    mutating func dropHeld(upTo term: UInt64) {
        guard !held.isEmpty, rules.dropsHeld else { return }
        for vote in held where vote.frame.term <= term { say(.discard(vote.ticket)) }
        held.removeAll { $0.frame.term <= term }
    }

    // MARK: - Answers

    private mutating func answers(
        _ term: UInt64, _ rejected: UInt64, _ lastIndex: UInt64, to peer: VoterID
    ) -> Passage {
        if copies.showsFailedDisk(peer, in: term, rejected: rejected) { diskFailed() }
        let isSound = copies.answers(peer, in: term, isSuccess: rejected == 0, lastIndex: lastIndex) && !hasFailedDisk
        let due = peers[peer]?.owed.map { PeerMessage.acknowledged(term: $0.term, sentAt: $0.sentAt) }
        if due != nil { peers[peer]?.owed = nil }
        guard isSound || !rules.comparesCopies else {
            if let due { say(.tell(peer, due)) }
            if copies.isDoubtful { say(.fence(peer, term: term)) }
            return .drop
        }
        return .pass(wantsPromise: false, acknowledging: due)
    }
}
