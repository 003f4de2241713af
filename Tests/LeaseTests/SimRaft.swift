import Lease
import Platform

/// Raft as the nodes play it: terms, votes and pre-votes, a log with configurations, one change of members at a time. When
/// an election begins is left to chance until the calm, and then to libraft's timers.
extension LeaseSimulation {
    // MARK: leading

    mutating func heartbeat(_ id: Int, _ term: UInt64) {
        let node = nodes[id]
        guard node.role == .leader, node.term == term else { return }
        if calm {
            // As libraft does: without a majority heard within an election timeout it steps down.
            var heard = SimVoters()
            for other in nodes.indices where other == id || now - node.contactAt[other] < Self.electionTimeout {
                heard.insert(other)
            }
            guard log.voters(node.log).haveMajority(in: heard) else {
                node.role = .follower
                node.leader = nil
                resetTimer(node)
                return
            }
        }
        for other in nodes.indices where other != id { replicate(node, other) }
        let pause = calm ? Self.heartbeat : 10 * Self.ms + random.below(50 * Self.ms)
        queue.add(now + pause, .heartbeat(Int8(id), term: term, incarnation: node.incarnation))
    }

    private mutating func replicate(_ node: SimVoter, _ other: Int) {
        if schedule.hasSpares, !log.voters(node.log).contains(other) { return }
        let previous = log.entry(node.log, at: node.next[other] - 1)
        write(
            node, other,
            SimFrame(term: node.term, kind: .append(previous: previous, last: node.log, commit: node.commit)))
    }

    private mutating func becomeLeader(_ node: SimVoter) {
        trace?("\(now) n\(node.id) leads term \(node.term) of \(log.voters(node.log))")
        node.role = .leader
        node.leader = node.id
        append(node, voters: nil)
        node.termStart = log.index(node.log)
        for other in nodes.indices {
            node.next[other] = node.termStart
            node.match[other] = 0
            node.contactAt[other] = now
        }
        advanceCommit(node)
        heartbeat(node.id, node.term)
    }

    private mutating func append(_ node: SimVoter, voters: SimVoters?) {
        node.log = log.append(to: node.log, term: node.term, voters: voters)
        node.stored = node.log
    }

    private func advanceCommit(_ node: SimVoter) {
        let voters = log.voters(node.log)
        node.match[node.id] = log.index(node.log)
        for other in nodes.indices where node.match[other] > node.commit && node.match[other] >= node.termStart {
            var have = SimVoters()
            for third in nodes.indices where node.match[third] >= node.match[other] { have.insert(third) }
            if voters.haveMajority(in: have) { node.commit = node.match[other] }
        }
    }

    private func someLeader() -> SimVoter? {
        nodes.first(where: { $0.isUp && $0.role == .leader && $0.pausedUntil <= now })
    }

    mutating func changeMembers() {
        guard let node = someLeader() else { return }
        // One change at a time, and none before an entry of the own term is committed.
        let committed = log.entry(node.log, at: node.commit)
        guard node.commit >= node.termStart, log.newestVoters(of: node.log, after: committed) == nil else { return }
        var voters = log.voters(node.log)
        let subject = pick()
        if voters.contains(subject) {
            guard voters.count > 1, subject != node.id else { return }
            voters.remove(subject)
        } else {
            voters.insert(subject)
            node.contactAt[subject] = now
        }
        trace?("\(now) n\(node.id) changes the voters to \(voters)")
        append(node, voters: voters)
        advanceCommit(node)
        for other in nodes.indices where other != node.id { replicate(node, other) }
        // Who has changed the members reads them again.
        queue.add(
            now + random.below(20 * Self.ms), .read(Int8(node.id), term: node.term, incarnation: node.incarnation))
    }

    mutating func writeSomething() {
        guard let mean = schedule.writes else { return }
        queue.add(now + 1 + random.below(2 * mean), .write)
        guard let node = someLeader() else { return }
        append(node, voters: nil)
        advanceCommit(node)
        for other in nodes.indices where other != node.id { replicate(node, other) }
    }

    mutating func transfer() {
        guard let node = someLeader() else { return }
        let voters = log.voters(node.log)
        let others = nodes.indices.filter {
            $0 != node.id && voters.contains($0) && node.match[$0] == log.index(node.log)
        }
        guard !others.isEmpty else { return }
        write(
            node, others[Int(random.below(Int64(others.count)))],
            SimFrame(term: node.term, kind: .timeoutNow(log: node.log)))
    }

    // MARK: electing

    mutating func electionDelay(_ node: SimVoter) -> Int64 {
        calm ? max(1, node.timerStart + node.timeout - now) : 1 + random.below(2 * schedule.elections)
    }

    mutating func resetTimer(_ node: SimVoter) {
        node.timerStart = now
        node.timeout = Self.electionTimeout + random.below(Self.electionTimeout)
    }

    mutating func electionTimer(_ id: Int) {
        let node = nodes[id]
        defer { queue.add(now + electionDelay(node), .election(Int8(id), incarnation: node.incarnation)) }
        guard node.role != .leader else { return resetTimer(node) }
        guard log.voters(node.log).contains(id) else {
            // Libraft does not: a node that became a voter without having been told may refuse a lost leader's request
            // for ever, until it is started again. No lease can mend that, so it is left out.
            if now >= node.timerStart + node.timeout {
                node.leader = nil
                resetTimer(node)
            }
            return
        }
        guard calm else {
            if random.chance(300) { askBeforehand(node) } else { stand(node, disrupts: random.chance(300)) }
            return
        }
        guard now >= node.timerStart + node.timeout else { return }
        resetTimer(node)
        askBeforehand(node)
    }

    private mutating func askBeforehand(_ node: SimVoter) {
        node.role = .candidate
        node.leader = nil
        node.isPreVoting = true
        node.votes = SimVoters(bits: 1 << UInt8(node.id))
        if log.voters(node.log).haveMajority(in: node.votes) { return stand(node, disrupts: false) }
        askForVotes(node, term: node.term + 1, disrupts: false, isPreVote: true)
    }

    private mutating func stand(_ node: SimVoter, disrupts: Bool) {
        node.term += 1
        node.votedFor = node.id
        node.role = .candidate
        node.leader = nil
        node.isPreVoting = false
        node.votes = SimVoters(bits: 1 << UInt8(node.id))
        trace?("\(now) n\(node.id) stands in term \(node.term)")
        if log.voters(node.log).haveMajority(in: node.votes) { return becomeLeader(node) }
        askForVotes(node, term: node.term, disrupts: disrupts, isPreVote: false)
    }

    private mutating func askForVotes(_ node: SimVoter, term: UInt64, disrupts: Bool, isPreVote: Bool) {
        let voters = log.voters(node.log)
        if !isPreVote { persist(node) }
        for other in nodes.indices where other != node.id && voters.contains(other) {
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

    private mutating func follow(_ node: SimVoter, _ term: UInt64) {
        if term > node.term {
            node.term = term
            node.votedFor = nil
            node.leader = nil
        }
        if node.role == .leader { resetTimer(node) }
        node.role = .follower
    }

    // MARK: frames

    /// What a node writes reaches its relay a little later, in order for each peer.
    mutating func write(_ node: SimVoter, _ to: Int, _ frame: SimFrame) {
        node.outAt[to] = max(node.outAt[to] + 1, now + random.below(calm ? 100_000 : 3 * Self.ms))
        queue.add(node.outAt[to], .out(Int8(node.id), to: Int8(to), frame, incarnation: node.incarnation))
    }

    mutating func receive(_ id: Int, _ from: Int, _ frame: SimFrame) {
        let node = nodes[id]
        if case .requestVote(let candidate, let disrupts, let isPreVote) = frame.kind {
            return receiveRequest(node, from, frame.term, candidate, disrupts: disrupts, isPreVote: isPreVote)
        }
        if frame.term > node.term { follow(node, frame.term) }
        switch frame.kind {
        case .append(let previous, let last, let commit):
            receiveEntries(node, from, frame.term, previous, last, commit)
        case .appended(let success, let last):
            guard node.role == .leader, frame.term == node.term else { return }
            node.contactAt[from] = now
            if success {
                node.match[from] = max(node.match[from], last)
                node.next[from] = node.match[from] + 1
                advanceCommit(node)
            } else {
                node.next[from] = max(1, min(node.next[from] - 1, last + 1))
            }
        case .requestVote: break
        case .vote(let granted, let isPreVote):
            guard node.role == .candidate, node.isPreVoting == isPreVote, granted else { return }
            guard isPreVote || frame.term == node.term else { return }
            node.votes.insert(from)
            guard log.voters(node.log).haveMajority(in: node.votes) else { return }
            if isPreVote { stand(node, disrupts: false) } else { becomeLeader(node) }
        case .timeoutNow(let last):
            // Libraft obeys only who it follows, with the very log that it has, and nothing on its way to the disk.
            guard frame.term == node.term, node.role == .follower, node.leader == from, node.log == last,
                node.writesUntil <= now, log.voters(node.log).contains(id)
            else { return }
            resetTimer(node)
            stand(node, disrupts: true)
        }
    }

    private mutating func receiveRequest(
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
        let granted =
            term == node.term && isCurrent && (node.votedFor == nil || node.votedFor == from)
            && node.role == .follower
        if granted {
            node.votedFor = from
            resetTimer(node)
            persist(node)
        }
        write(node, from, SimFrame(term: node.term, kind: .vote(granted: granted, isPreVote: false)))
    }

    private mutating func receiveEntries(
        _ node: SimVoter, _ from: Int, _ term: UInt64, _ previous: SimLog.Entry, _ last: SimLog.Entry, _ commit: Int32
    ) {
        guard term == node.term else {
            return write(node, from, SimFrame(term: node.term, kind: .appended(success: false, last: 0)))
        }
        node.role = .follower
        node.leader = from
        node.timerStart = now
        guard log.contains(node.log, previous) else {
            let last = min(log.index(previous), log.index(node.log) + 1) - 1
            return write(node, from, SimFrame(term: node.term, kind: .appended(success: false, last: last)))
        }
        let isNew = !log.contains(node.log, last)
        if isNew { node.log = last }
        node.commit = max(node.commit, min(commit, log.index(last)))
        guard isNew || node.writesUntil > now else {
            return write(
                node, from, SimFrame(term: node.term, kind: .appended(success: true, last: log.index(last))))
        }
        let took = 500_000 + random.below(calm ? 8 * Self.ms : 40 * Self.ms)
        node.writesUntil = max(node.writesUntil + 1, now + took)
        queue.add(
            node.writesUntil,
            .wrote(Int8(node.id), log: last, for: Int8(from), term: term, incarnation: node.incarnation))
    }

    mutating func wrote(_ id: Int, _ last: SimLog.Entry, for leader: Int, _ term: UInt64) {
        let node = nodes[id]
        if log.contains(node.log, last), !log.contains(node.stored, last) { node.stored = last }
        guard node.term == term else { return }
        write(node, leader, SimFrame(term: term, kind: .appended(success: true, last: log.index(last))))
    }
}
