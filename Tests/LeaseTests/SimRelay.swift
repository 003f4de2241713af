import Lease
import Platform

@testable import Lease

/// The relays: they do with gate, lease and succession what `RaftRelay` and `Succession` do.
extension LeaseSimulation {
    // MARK: frames of the own node

    mutating func relaySends(_ id: Int, _ to: Int, _ frame: SimFrame) throws {
        let node = nodes[id]
        let local = node.local(now)
        var wantsPromise = false
        var isUnanswered = false
        switch frame.kind {
        case .append(let previous, let last, _):
            if frame.term > node.lease.term {
                let earlier = node.lease.voters
                node.lease.leads(in: frame.term)
                if !rules.forgetsVoters { node.lease.configure(voters: earlier, now: local) }
                node.succession.moved(to: frame.term)
                queue.add(
                    now + random.below(calm ? 2 * Self.ms : 30 * Self.ms),
                    .read(Int8(id), term: frame.term, incarnation: node.incarnation))
            }
            if let voters = log.newestVoters(of: last, after: previous) {
                node.named += 1
                if node.lease.term == frame.term { try configure(node, voters) }
            }
            wantsPromise = node.lease.wantsPromise(now: local)
            if wantsPromise, node.lease.sends(now: local) { isUnanswered = true }
        case .requestVote(_, _, isPreVote: false):
            guard mayLeave(id, to, frame, voteFor: id) else { return }
        case .vote(granted: true, isPreVote: false):
            guard mayLeave(id, to, frame, voteFor: to) else { return }
        case .timeoutNow:
            if rules.transfersEndLease {
                node.lease.transfers(now: local, patience: .nanoseconds(Self.electionTimeout))
            }
            for other in nodes where other.id != id {
                send(id, other.id, .released(upTo: local.nanoseconds, incarnation: node.incarnation))
            }
        case .requestVote, .vote, .appended: break
        }
        send(
            id, to,
            .frame(
                frame, incarnation: node.incarnation, sentAt: local.nanoseconds, wantsPromise: wantsPromise))
        guard isUnanswered, rules.succeeds else { return }
        if rules.transfersEndLease {
            node.lease.transfers(now: local, patience: .nanoseconds(Self.electionTimeout))
        }
        for other in nodes where other.id != id {
            send(id, other.id, .released(upTo: local.nanoseconds, incarnation: node.incarnation))
            send(id, other.id, .asked(term: node.lease.term))
        }
    }

    private mutating func mayLeave(_ id: Int, _ to: Int, _ frame: SimFrame, voteFor candidate: Int) -> Bool {
        let node = nodes[id]
        if case .hold(let until) = node.gate.vote(for: VoterID(candidate), in: frame.term, now: node.local(now)) {
            node.held.append((to, frame))
            let at = max(now + 1, node.real(until))
            if at < node.releaseAt || node.releaseAt <= now {
                node.releaseAt = at
                queue.add(at, .release(Int8(id), incarnation: node.incarnation))
            }
            return false
        }
        if rules.surrenders { node.lease.surrender(upTo: frame.term - 1) }
        node.succession.moved(to: frame.term)
        return true
    }

    mutating func releaseHeld(_ id: Int) throws {
        let held = nodes[id].held
        nodes[id].held = []
        nodes[id].releaseAt = 0
        for vote in held { try relaySends(id, vote.to, vote.frame) }
    }

    private mutating func recheck(_ id: Int) {
        if !nodes[id].held.isEmpty { queue.add(now, .release(Int8(id), incarnation: nodes[id].incarnation)) }
    }

    // MARK: voters

    private mutating func configure(_ node: SimVoter, _ voters: SimVoters) throws {
        guard rules.followsChanges || node.lease.end(now: node.local(now)) == nil else { return }
        node.lease.configure(voters: voters.ids.map { VoterID($0) }, now: node.local(now))
        try check(node)
    }

    /// The node is asked for its members; the answer takes a while, in which frames may name newer ones.
    mutating func readMembers(_ id: Int, _ term: UInt64) {
        let node = nodes[id]
        guard node.lease.term == term else { return }
        if !calm, random.chance(100) { return readAgain(node) }
        node.readings += 1
        queue.add(
            now + random.below(calm ? 3 * Self.ms : 30 * Self.ms),
            .learnt(
                Int8(id), log.voters(node.log), reading: node.readings, term: term, named: node.named,
                incarnation: node.incarnation))
    }

    private mutating func readAgain(_ node: SimVoter) {
        queue.add(
            now + 20 * Self.ms, .read(Int8(node.id), term: node.lease.term, incarnation: node.incarnation))
    }

    mutating func learnt(_ id: Int, _ voters: SimVoters, _ term: UInt64, _ named: UInt32) throws {
        let node = nodes[id]
        guard node.lease.term == term else { return }
        guard node.named == named else { return readAgain(node) }
        try configure(node, voters)
    }

    // MARK: messages of peers

    mutating func relayReceives(_ id: Int, _ from: Int, _ message: SimMessage) throws {
        let node = nodes[id]
        switch message {
        case .frame(let frame, let incarnation, let sentAt, let wantsPromise):
            if case .append(_, let last, _) = frame.kind {
                let leader = VoteGate.LeaderProcess(voter: VoterID(from), incarnation: UInt64(incarnation))
                note(node, leader, from, frame.term, last)
                let sent = BootInstant(nanoseconds: sentAt)
                if wantsPromise,
                    node.gate.promise(to: leader, in: frame.term, sentAt: sent, now: node.local(now))
                {
                    send(id, from, .acknowledged(term: frame.term, incarnation: incarnation, sentAt: sentAt))
                }
            }
            hand(id, from, frame)
        case .acknowledged(let term, let incarnation, let sentAt):
            guard incarnation == node.incarnation else { return }
            let before = node.lease.end(now: node.local(now))
            node.lease.acknowledge(by: VoterID(from), in: term, sentAt: BootInstant(nanoseconds: sentAt))
            if node.lease.end(now: node.local(now)) != before { try check(node) }
        case .released(let sentAt, let incarnation):
            node.gate.released(
                by: VoteGate.LeaderProcess(voter: VoterID(from), incarnation: UInt64(incarnation)),
                upTo: BootInstant(nanoseconds: sentAt))
            recheck(id)
        case .asked(let term):
            if let leader = node.succession.leader, leader.voter == VoterID(from) {
                guard UInt32(leader.incarnation) == node.links[from].incarnation else { return }
                node.succession.gaveUp(leader, in: term, promisedUntil: node.gate.closedNow, now: node.local(now))
                return arm(node)
            }
            if node.succession.isSilent(in: term, now: node.local(now)) { send(id, from, .silent(term: term)) }
        case .silent(let term):
            node.succession.confirmed(
                by: VoterID(from), in: term, promisedUntil: node.gate.closedNow, now: node.local(now))
            arm(node)
        case .stands(let term):
            node.succession.stands(VoterID(from), in: term, now: node.local(now))
            arm(node)
        }
    }

    private mutating func hand(_ id: Int, _ from: Int, _ frame: SimFrame) {
        let node = nodes[id]
        node.inAt[from] = max(node.inAt[from] + 1, now + random.below(calm ? 100_000 : 3 * Self.ms))
        queue.add(
            node.inAt[from], .handed(Int8(id), from: Int8(from), frame, incarnation: node.incarnation))
    }

    // MARK: succession

    /// What `InboundLink` remembers of a leader's frame, for the frame that is injected in its name.
    private mutating func note(
        _ node: SimVoter, _ leader: VoteGate.LeaderProcess, _ from: Int, _ term: UInt64, _ last: SimLog.Entry
    ) {
        let incarnation = UInt32(leader.incarnation)
        if incarnation > node.links[from].incarnation { node.links[from] = SimVoter.Link(incarnation: incarnation) }
        // Of a connection that has been replaced.
        guard incarnation == node.links[from].incarnation else { return }
        if term >= node.links[from].ledTerm {
            node.links[from].ledTerm = term
            node.links[from].position = last
        }
        if node.succession.heard(of: leader, in: term, now: node.local(now)) { configureSuccession(node) }
    }

    private mutating func configureSuccession(_ node: SimVoter) {
        node.succession.configure(voters: log.voters(node.log).ids.map { VoterID($0) })
        arm(node)
    }

    private mutating func arm(_ node: SimVoter) {
        guard rules.succeeds, let at = node.succession.nextWake else { return }
        let real = max(now, node.real(at))
        guard real < node.wakeAt else { return }
        node.wakeAt = real
        queue.add(real, .wake(Int8(node.id), incarnation: node.incarnation))
    }

    mutating func wake(_ id: Int) {
        let node = nodes[id]
        guard node.wakeAt <= now else { return }
        let planned = node.local(node.wakeAt)
        node.wakeAt = .max
        perform(node, node.succession.due(now: node.local(now), planned: planned))
    }

    mutating func ended(_ id: Int, _ peer: Int, _ incarnation: UInt32) {
        let node = nodes[id]
        let process = VoteGate.LeaderProcess(voter: VoterID(peer), incarnation: UInt64(incarnation))
        configureSuccession(node)
        perform(node, node.succession.ended(process, now: node.local(now)))
    }

    /// A connection attempt reaches the host: only a kernel without a listener refuses.
    mutating func probe(_ id: Int, _ peer: Int, _ process: UInt32) {
        let isCut = blocked[id * nodes.count + peer] || blocked[peer * nodes.count + id]
        queue.add(
            now + (isCut ? 50 * Self.ms : 100_000 + random.below(600_000)),
            .probed(
                Int8(id), of: Int8(peer), peerIncarnation: process, isRefused: !isCut && !nodes[peer].isUp,
                incarnation: nodes[id].incarnation))
    }

    mutating func probed(_ id: Int, _ peer: Int, _ incarnation: UInt32, _ isRefused: Bool) {
        let node = nodes[id]
        let process = VoteGate.LeaderProcess(voter: VoterID(peer), incarnation: UInt64(incarnation))
        perform(
            node, node.succession.probed(process, isRefused: isRefused, now: node.local(now)), after: 4 * Self.ms)
    }

    private mutating func perform(
        _ node: SimVoter, _ directives: [SuccessionCore.Directive], after delay: Int64 = 0
    ) {
        guard rules.succeeds else { return }
        for directive in directives {
            switch directive {
            case .probe:
                guard let leader = node.succession.leader else { continue }
                queue.add(
                    now + delay + 100_000 + random.below(600_000),
                    .probe(
                        Int8(node.id), of: Int8(leader.voter), peerIncarnation: UInt32(leader.incarnation),
                        incarnation: node.incarnation))
            case .dead(let process):
                trace?("\(now) n\(node.id) finds n\(process.voter) dead")
                node.gate.died(process)
                recheck(node.id)
            case .ask(let term): tellSurvivors(node, .asked(term: term))
            case .tell(let term): if rules.tells { tellSurvivors(node, .stands(term: term)) }
            case .stand:
                guard let leader = node.succession.leader else { continue }
                let link = node.links[Int(leader.voter)]
                hand(node.id, Int(leader.voter), SimFrame(term: link.ledTerm, kind: .timeoutNow(log: link.position)))
            }
        }
        arm(node)
    }

    private mutating func tellSurvivors(_ node: SimVoter, _ message: SimMessage) {
        for other in log.voters(node.log).ids
        where other != node.id && VoterID(other) != node.succession.leader?.voter {
            send(node.id, other, message)
        }
    }
}
