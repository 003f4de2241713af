import Lease
import Platform

/// Where libraft 0.15 does otherwise than the Raft paper (DOC/LIBRAFT.md). All are on, unless a test switches one off.
struct Departures {
    /// While it hands the lead over a node votes for the successor, whomever it has voted for in that term.
    var votesTwice = true
    /// A follower answers with how far its log is stored, not with what was compared; also to another leader than the one whose entry
    /// the disk had to store.
    var answersStored = true
    /// Entries of earlier terms are committed by counting copies.
    var commitsByCounting = true
    /// The voters may change before an entry of the own term is committed.
    var changesEarly = true
    /// After a start the newest configuration in the log counts as committed, and stays in force when its entry is overwritten.
    var believesUncommitted = true
    /// A node stands although entries are on their way to its disk.
    var standsInFlight = true
    /// A new leader appends nothing.
    var beginsSilently = true
}

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
            guard node.voters.haveMajority(in: heard) else { return stepDown(node) }
        }
        if let transfer = node.transfer, transfer.until <= now { node.transfer = nil }
        for other in nodes.indices where other != id { replicate(node, other) }
        let pause = calm ? Self.heartbeat : 10 * Self.ms + random.below(50 * Self.ms)
        queue.add(now + pause, .heartbeat(Int8(id), term: term, incarnation: node.incarnation))
    }

    private mutating func stepDown(_ node: SimVoter) {
        node.role = .follower
        node.leader = nil
        resetTimer(node)
    }

    mutating func replicate(_ node: SimVoter, _ other: Int) {
        if schedule.hasSpares, !node.voters.contains(other) { return }
        let previous = log.entry(node.log, at: min(node.next[other] - 1, log.index(node.log)))
        write(
            node, other,
            SimFrame(term: node.term, kind: .append(previous: previous, last: node.log, commit: node.commit)))
    }

    mutating func becomeLeader(_ node: SimVoter) throws {
        trace?("\(now) n\(node.id) leads term \(node.term) of \(node.voters)")
        // One who learns late that it was elected in an earlier term can do no harm.
        guard node.term < log.term(acknowledged) || log.contains(node.log, acknowledged) else {
            throw violation(
                .lostWrite,
                "n\(node.id) leads term \(node.term) without the acknowledged entry \(log.index(acknowledged)) of term "
                    + "\(log.term(acknowledged))")
        }
        node.role = .leader
        node.leader = node.id
        node.termStart = 0
        for other in nodes.indices {
            node.next[other] = log.index(node.log) + 1
            node.match[other] = 0
            node.contactAt[other] = now
        }
        if !departures.beginsSilently { append(node, voters: nil) }
        try advanceCommit(node)
        heartbeat(node.id, node.term)
        // The daemon learns of it, reads the configuration, and commits an entry of this term.
        readMembers(node, within: calm ? 2 * Self.ms : 30 * Self.ms, node.core.lease.term)
        let delay = Self.ms + random.below(calm ? 4 * Self.ms : 40 * Self.ms)
        queue.add(now + delay, .takeUp(Int8(node.id), term: node.term, incarnation: node.incarnation))
    }

    /// The daemon of a new leader has read its configuration, and commits an entry of this term.
    mutating func takeUp(_ id: Int, _ term: UInt64) throws {
        let node = nodes[id]
        guard node.role == .leader, node.term == term else { return }
        node.configuredTerm = term
        if rules.opensTerm, node.termStart == 0 {
            guard node.transfer == nil else {
                return queue.add(now + 5 * Self.ms, .takeUp(Int8(id), term: term, incarnation: node.incarnation))
            }
            append(node, voters: nil)
            try advanceCommit(node)
            for other in nodes.indices where other != id { replicate(node, other) }
        }
        try check(node)
    }

    mutating func append(_ node: SimVoter, voters: SimVoters?) {
        node.log = log.append(to: node.log, term: node.term, voters: voters)
        node.stored = node.log
        if node.termStart == 0 { node.termStart = log.index(node.log) }
        if let voters { adopt(node, voters, at: log.index(node.log)) }
    }

    mutating func advanceCommit(_ node: SimVoter) throws {
        let before = node.commit
        node.match[node.id] = log.index(node.log)
        for other in nodes.indices where node.match[other] > node.commit {
            let index = node.match[other]
            guard departures.commitsByCounting || node.termStart > 0 && index >= node.termStart else { continue }
            var have = SimVoters()
            for third in nodes.indices where node.match[third] >= index { have.insert(third) }
            if node.voters.haveMajority(in: have) { node.commit = index }
        }
        guard node.commit > before else { return }
        if node.commit >= node.uncommittedAt { node.uncommittedAt = 0 }
        // Who wrote in this term is told; what was there before was answered by others, or never.
        if node.termStart > 0, node.commit >= node.termStart {
            try acknowledge(log.entry(node.log, at: node.commit), by: node)
        }
    }

    func someLeader() -> SimVoter? {
        nodes.first(where: { $0.isUp && $0.role == .leader && $0.pausedUntil <= now })
    }

    // MARK: voters

    /// A configuration that is in the log, and not committed, is in force.
    private func adopt(_ node: SimVoter, _ voters: SimVoters, at index: Int32) {
        node.voters = voters
        node.uncommittedAt = index
    }

    /// The log has changed: entries came, and others may have gone.
    private func follow(_ node: SimVoter, logBefore: SimLog.Entry) {
        let common = log.common(logBefore, node.log)
        if let voters = log.newestVoters(of: node.log, after: common) {
            return adopt(node, voters, at: log.configuredAt(node.log))
        }
        guard node.uncommittedAt > log.index(common) || !departures.believesUncommitted else { return }
        node.voters = log.voters(node.log)
        node.uncommittedAt = 0
    }

    mutating func changeMembers() throws {
        let leaders = nodes.filter { $0.isUp && $0.role == .leader && $0.pausedUntil <= now }
        guard !leaders.isEmpty else { return }
        let node = leaders[Int(random.below(Int64(leaders.count)))]
        // One change at a time; and the product asks for an entry of its term that is committed, which libraft does not.
        guard node.uncommittedAt == 0, node.transfer == nil else { return }
        guard departures.changesEarly || hasOpened(node) else { return }
        guard !rules.opensTerm || hasOpened(node) else { return }
        var voters = node.voters
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
        try advanceCommit(node)
        for other in nodes.indices where other != node.id { replicate(node, other) }
        // Who has changed the members reads them again.
        readMembers(node, within: 20 * Self.ms, node.core.lease.term)
    }

    /// Some time after a start: what the node goes by may be in no log any more.
    mutating func checkConfiguration(_ id: Int) {
        let node = nodes[id]
        guard rules.checksConfiguration else { return }
        if node.voters != log.voters(node.log) {
            trace?("\(now) n\(id) goes by \(node.voters), and its log says \(log.voters(node.log)): started anew")
            outcome.restarts += 1
            crash(id)
            return
        }
        guard node.commit < node.doubtsUpTo else { return }
        queue.add(now + 100 * Self.ms, .checkConfiguration(Int8(id), incarnation: node.incarnation))
    }

    // MARK: handing over

    /// libraft is asked to give the lead away.
    mutating func startTransfer(_ node: SimVoter, _ to: Int) {
        guard node.role == .leader, node.transfer == nil, node.voters.contains(to) else { return }
        node.transfer = (to, now + Self.electionTimeout, false)
        tellToStand(node)
    }

    /// It waits until the other has the whole log.
    private mutating func tellToStand(_ node: SimVoter) {
        guard let transfer = node.transfer, !transfer.isTold, node.role == .leader,
            node.match[transfer.to] >= log.index(node.log)
        else { return }
        node.transfer?.isTold = true
        write(node, transfer.to, SimFrame(term: node.term, kind: .timeoutNow(position(node.log))))
    }

    // MARK: frames

    /// What a node writes reaches its relay a little later, in order for each peer.
    mutating func write(_ node: SimVoter, _ to: Int, _ frame: SimFrame) {
        node.outAt[to] = max(node.outAt[to] + 1, now + random.below(calm ? 100_000 : 3 * Self.ms))
        queue.add(node.outAt[to], .out(Int8(node.id), to: Int8(to), frame, incarnation: node.incarnation))
    }

    mutating func receive(_ id: Int, _ from: Int, _ frame: SimFrame) throws {
        let node = nodes[id]
        if case .requestVote(let candidate, let disrupts, let isPreVote) = frame.kind {
            return receiveRequest(node, from, frame.term, candidate, disrupts: disrupts, isPreVote: isPreVote)
        }
        if frame.term > node.term { follow(node, frame.term) }
        switch frame.kind {
        case .append(let previous, let last, let commit):
            receiveEntries(node, from, frame.term, previous, last, commit)
        case .appended(let success, let last, let previous):
            guard node.role == .leader, frame.term == node.term else { return }
            node.contactAt[from] = now
            if success {
                node.match[from] = max(node.match[from], min(last, log.index(node.log)))
                node.next[from] = node.match[from] + 1
                try advanceCommit(node)
                tellToStand(node)
            } else if previous > node.match[from] {
                node.next[from] = max(1, min(node.next[from] - 1, last + 1))
            }
        case .requestVote: break
        case .vote(let granted, let isPreVote):
            try receiveVote(node, from, frame.term, granted: granted, isPreVote: isPreVote)
        case .timeoutNow(let last):
            // Libraft obeys only who it follows, with the very log that it has.
            guard frame.term == node.term, node.role == .follower, node.leader == from, position(node.log) == last,
                departures.standsInFlight || node.writesUntil <= now, node.voters.contains(id)
            else { return }
            resetTimer(node)
            try stand(node, disrupts: true)
        }
    }

    private mutating func receiveEntries(
        _ node: SimVoter, _ from: Int, _ term: UInt64, _ previous: SimLog.Entry, _ last: SimLog.Entry, _ commit: Int32
    ) {
        guard term == node.term else {
            return write(
                node, from,
                SimFrame(term: node.term, kind: .appended(success: false, last: 0, previous: log.index(previous))))
        }
        node.role = .follower
        node.leader = from
        if node.transfer?.to == from { node.transfer = nil }
        node.timerStart = now
        guard log.contains(node.log, previous) else {
            let last = min(log.index(previous), log.index(node.log) + 1) - 1
            return write(
                node, from,
                SimFrame(term: node.term, kind: .appended(success: false, last: last, previous: log.index(previous))))
        }
        let isNew = !log.contains(node.log, last)
        if isNew {
            let before = node.log
            node.log = last
            if !log.contains(last, node.stored) { node.stored = log.common(last, node.stored) }
            follow(node, logBefore: before)
        }
        node.commit = max(node.commit, min(commit, log.index(last)))
        if node.commit >= node.uncommittedAt { node.uncommittedAt = 0 }
        guard isNew || node.writesUntil > now && !departures.answersStored else {
            let stored = departures.answersStored ? log.index(node.stored) : log.index(last)
            return write(
                node, from, SimFrame(term: node.term, kind: .appended(success: true, last: stored, previous: 0)))
        }
        let took = 500_000 + random.below(calm ? 8 * Self.ms : 40 * Self.ms)
        node.writesUntil = max(node.writesUntil + 1, now + took)
        queue.add(
            node.writesUntil,
            .wrote(Int8(node.id), log: last, for: Int8(from), term: term, incarnation: node.incarnation))
    }

    mutating func wrote(_ id: Int, _ last: SimLog.Entry, for leader: Int, _ term: UInt64) {
        let node = nodes[id]
        // What was overwritten meanwhile is discarded.
        guard log.contains(node.log, last) else { return }
        if !log.contains(node.stored, last) { node.stored = last }
        if departures.answersStored {
            guard node.role == .follower, let leader = node.leader else { return }
            let stored = log.index(node.stored)
            write(node, leader, SimFrame(term: node.term, kind: .appended(success: true, last: stored, previous: 0)))
        } else if node.term == term {
            write(
                node, leader,
                SimFrame(term: term, kind: .appended(success: true, last: log.index(last), previous: 0)))
        }
    }

    mutating func follow(_ node: SimVoter, _ term: UInt64) {
        if term > node.term {
            node.term = term
            node.votedFor = nil
            node.leader = nil
        }
        if node.role == .leader { resetTimer(node) }
        node.role = .follower
    }
}
