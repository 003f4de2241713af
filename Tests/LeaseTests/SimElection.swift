import Lease
import Platform

/// Elections as the nodes hold them: timers, pre-votes, votes.
extension LeaseSimulation {
    mutating func electionDelay(_ node: SimVoter) -> Int64 {
        calm ? max(1, node.timerStart + node.timeout - now) : 1 + random.below(2 * schedule.elections)
    }

    mutating func resetTimer(_ node: SimVoter) {
        node.timerStart = now
        node.timeout = Self.electionTimeout + random.below(Self.electionTimeout)
    }

    mutating func electionTimer(_ id: Int) throws {
        let node = nodes[id]
        defer { queue.add(now + electionDelay(node), .election(Int8(id), incarnation: node.incarnation)) }
        guard node.role != .leader else { return resetTimer(node) }
        guard node.voters.contains(id) else {
            // Libraft does not: a node that became a voter without having been told may refuse a lost leader's request
            // for ever, until it is started again. No lease can mend that, so it is left out.
            if now >= node.timerStart + node.timeout {
                node.leader = nil
                resetTimer(node)
            }
            return
        }
        guard calm else {
            if random.chance(300) {
                try askBeforehand(node)
            } else {
                try stand(node, disrupts: random.chance(300))
            }
            return
        }
        guard now >= node.timerStart + node.timeout else { return }
        resetTimer(node)
        try askBeforehand(node)
    }

    private mutating func askBeforehand(_ node: SimVoter) throws {
        node.role = .candidate
        node.leader = nil
        node.isPreVoting = true
        node.votes = SimVoters(bits: 1 << UInt8(node.id))
        if node.voters.haveMajority(in: node.votes) { return try stand(node, disrupts: false) }
        askForVotes(node, term: node.term + 1, disrupts: false, isPreVote: true)
    }

    mutating func stand(_ node: SimVoter, disrupts: Bool) throws {
        node.term += 1
        node.votedFor = node.id
        node.role = .candidate
        node.leader = nil
        node.isPreVoting = false
        node.votes = SimVoters(bits: 1 << UInt8(node.id))
        trace?("\(now) n\(node.id) stands in term \(node.term)")
        if node.voters.haveMajority(in: node.votes) { return try becomeLeader(node) }
        askForVotes(node, term: node.term, disrupts: disrupts, isPreVote: false)
    }

    private mutating func askForVotes(_ node: SimVoter, term: UInt64, disrupts: Bool, isPreVote: Bool) {
        if !isPreVote { persist(node) }
        for other in nodes.indices where other != node.id && node.voters.contains(other) {
            write(
                node, other,
                SimFrame(term: term, kind: .requestVote(log: node.log, disrupts: disrupts, isPreVote: isPreVote)))
        }
    }

    /// The term and the vote are written to the disk: nothing that the node says leaves before.
    private mutating func persist(_ node: SimVoter) {
        guard schedule.disk > 0 else { return }
        let done = now + random.below(schedule.disk)
        for other in node.outAt.indices { node.outAt[other] = max(node.outAt[other], done) }
    }

    mutating func receiveVote(
        _ node: SimVoter, _ from: Int, _ term: UInt64, granted: Bool, isPreVote: Bool
    ) throws {
        guard node.role == .candidate, node.isPreVoting == isPreVote, granted else { return }
        guard isPreVote || term == node.term else { return }
        node.votes.insert(from)
        guard node.voters.haveMajority(in: node.votes) else { return }
        if isPreVote { try stand(node, disrupts: false) } else { try becomeLeader(node) }
    }

    mutating func receiveRequest(
        _ node: SimVoter, _ from: Int, _ term: UInt64, _ candidate: SimLog.Entry, disrupts: Bool, isPreVote: Bool
    ) {
        // Who follows or leads does not even take note of the term; before the calm it may.
        if calm, !disrupts, node.leader != nil {
            return write(
                node, from, SimFrame(term: node.term, kind: .vote(granted: false, isPreVote: isPreVote)))
        }
        let isCurrent = log.isCurrent(candidate, for: node.log)
        if isPreVote {
            return write(
                node, from,
                SimFrame(
                    term: node.term, kind: .vote(granted: term > node.term && isCurrent, isPreVote: true)))
        }
        if term > node.term { follow(node, term) }
        // Libraft votes in every role, for whom it hands the lead to also a second time in one term.
        let isSuccessor = departures.votesTwice && node.transfer.map { $0.to == from && now < $0.until } ?? false
        let granted =
            term == node.term && isCurrent && (node.votedFor == nil || node.votedFor == from || isSuccessor)
            && (node.role == .follower || isSuccessor)
        if granted {
            node.votedFor = from
            resetTimer(node)
            persist(node)
        }
        write(node, from, SimFrame(term: node.term, kind: .vote(granted: granted, isPreVote: false)))
    }
}
