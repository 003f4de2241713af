public import Platform

// When the leader is lost.
extension RelayCore {
    /// AppendEntries or a snapshot came from a leader.
    mutating func heard(of process: VoteGate.LeaderProcess, in term: UInt64, _ now: BootInstant) {
        if predecessors.heard(of: process) { say(.predecessorsChanged) }
        if succession.leader != process || succession.term != term { stirs() }
        succession.heard(of: process, in: term, now: now)
        reported = nil
    }

    /// The connection from a peer has ended. If it led, its process may be dead.
    public mutating func ended(_ process: VoteGate.LeaderProcess, now: BootInstant) {
        if predecessors.ended(process, now: now) { say(.predecessorsChanged) }
        perform(succession.ended(process, now: now), now)
    }

    /// What came of connecting to the port of a leader's process.
    public mutating func probed(_ process: VoteGate.LeaderProcess, isRefused: Bool, now: BootInstant) {
        succession.isUnresponsive = isUnresponsive
        perform(
            succession.probed(process, isRefused: isRefused, promisedUntil: gate.closedUntil, now: now), now,
            after: settings.succession.repetition)
    }

    /// The host of a leader whose process ended has answered a question that was asked at that time.
    ///
    /// - Returns: whether what is known of it has changed.
    public mutating func answered(_ process: VoteGate.LeaderProcess, askedAt: BootInstant) -> Bool {
        guard predecessors.answered(process, askedAt: askedAt) else { return false }
        say(.predecessorsChanged)
        return true
    }

    /// What is due: votes that were kept back, and the next step of the succession.
    ///
    /// - Parameter planned: when this look was to be taken; see `SuccessionCore.due`.
    public mutating func due(now: BootInstant, planned: BootInstant? = nil) {
        if held.contains(where: { $0.until <= now }) { releaseHeld(now) }
        guard rules.succeeds, let wake = succession.nextWake, wake <= now else { return }
        succession.isUnresponsive = isUnresponsive
        perform(succession.due(now: now, planned: planned), now)
    }

    /// The local node has left several heartbeats unanswered, which it answers at once while it lives.
    private var isUnresponsive: Bool { unansweredHeartbeats > 2 }

    private mutating func perform(
        _ steps: [SuccessionCore.Directive], _ now: BootInstant, after delay: Duration = .zero
    ) {
        guard rules.succeeds else { return }
        for step in steps {
            switch step {
            case .probe:
                if let leader = succession.leader { say(.probe(leader, after: delay)) }
            case .dead(let process):
                gate.died(process)
                releaseHeld(now)
            case .ask(let term): tellSurvivors(.asked(term: term, sentAt: now), but: succession.leader?.voter)
            case .tell(let term):
                if rules.tells { tellSurvivors(.stands(term: term), but: succession.leader?.voter) }
            case .stand:
                guard let leader = succession.leader?.voter, let peer = peers[leader], let position = peer.position,
                    !rules.standsOnlyWhenOpen || !gate.wouldHold(own, in: peer.ledTerm &+ 1, now: now)
                else { continue }
                say(.inject(leader, term: peer.ledTerm, position))
            }
        }
        report()
    }

    /// Says once why this node is going to stand.
    mutating func report() {
        guard let reason = succession.reason, reported != reason else { return }
        reported = reason
        say(.decided(reason))
    }

    /// To the voters but for this node and the leader.
    mutating func tellSurvivors(_ message: PeerMessage, but leader: VoterID?) {
        for voter in voters where voter != own && voter != leader { say(.tell(voter, message)) }
    }
}
