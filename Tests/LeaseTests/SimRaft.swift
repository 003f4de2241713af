import Lease
import Platform

/// Raft as the nodes play it: terms, votes, a log with configurations, one change of members at a time. Timers excepted, it
/// is raft as it should be; when an election begins is left to chance.
extension LeaseSimulation {
    // MARK: leading

    mutating func heartbeat(_ id: Int) {
        let node = nodes[id]
        if calm {
            // As libraft does: without a majority heard within an election timeout it steps down.
            let heard = Set(nodes.indices.filter { $0 == id || now - node.contactAt[$0] < electionBase() })
            if !node.isMajority(heard) {
                node.role = .follower
                queue.add(now + electionDelay(), .election(id, incarnation: node.incarnation))
                return
            }
        }
        for other in nodes.indices where other != id { replicate(id, other) }
        let pause = calm ? 30_000_000 : 10_000_000 + random.below(50_000_000)
        queue.add(now + pause, .heartbeat(id, incarnation: node.incarnation))
    }

    private mutating func replicate(_ id: Int, _ other: Int) {
        let node = nodes[id]
        let previous = node.next[other] - 1
        write(
            id, other,
            SimFrame(
                term: node.term,
                kind: .append(
                    previous: previous, previousTerm: node.log[previous].term, entries: node.log[(previous + 1)...],
                    commit: node.commit)))
    }

    private mutating func becomeLeader(_ id: Int) {
        let node = nodes[id]
        trace?("\(now) n\(id) leads term \(node.term) of \(node.voters)")
        node.role = .leader
        node.log.append(SimEntry(term: node.term, voters: nil))
        for other in nodes.indices {
            node.next[other] = node.log.count - 1
            node.match[other] = 0
            node.contactAt[other] = now
        }
        node.match[id] = node.log.count - 1
        advanceCommit(node)
        heartbeat(id)
    }

    private func advanceCommit(_ node: SimVoter) {
        var index = node.log.count - 1
        while index > node.commit, node.log[index].term == node.term {
            if node.isMajority(Set(nodes.indices.filter { node.match[$0] >= index })) {
                node.commit = index
                return
            }
            index -= 1
        }
    }

    /// One member more or less, when the last change is committed and something of this term is.
    mutating func changeMembers() {
        guard let node = nodes.first(where: { $0.isUp && $0.role == .leader && $0.pausedUntil <= now }) else { return }
        let last = node.log.lastIndex { $0.voters != nil } ?? 0
        guard last <= node.commit, node.log[node.commit].term == node.term else { return }
        var voters = node.voters
        let subject = Int(random.below(Int64(nodes.count)))
        if voters.contains(subject) {
            guard voters.count > 1, subject != node.id else { return }
            voters.removeAll { $0 == subject }
        } else {
            voters.append(subject)
        }
        trace?("\(now) n\(node.id) changes the voters to \(voters)")
        node.log.append(SimEntry(term: node.term, voters: voters))
        node.match[node.id] = node.log.count - 1
        advanceCommit(node)
        for other in nodes.indices where other != node.id { replicate(node.id, other) }
    }

    mutating func transfer() {
        guard let node = nodes.first(where: { $0.isUp && $0.role == .leader && $0.pausedUntil <= now }) else { return }
        let others = node.voters.filter { $0 != node.id && node.match[$0] == node.log.count - 1 }
        guard !others.isEmpty else { return }
        write(
            node.id, others[Int(random.below(Int64(others.count)))], SimFrame(term: node.term, kind: .timeoutNow))
    }

    // MARK: electing

    mutating func electionTimer(_ id: Int) {
        let node = nodes[id]
        queue.add(now + electionDelay(), .election(id, incarnation: node.incarnation))
        if node.role == .leader || !node.voters.contains(id) { return }
        if calm, now - node.heardAt < electionBase() { return }
        stand(id, disrupts: !calm && random.chance(300))
    }

    private mutating func stand(_ id: Int, disrupts: Bool) {
        let node = nodes[id]
        node.term += 1
        node.votedFor = id
        node.role = .candidate
        node.votes = [id]
        trace?("\(now) n\(id) stands in term \(node.term)")
        if node.isMajority(node.votes) { return becomeLeader(id) }
        for other in node.voters where other != id {
            write(
                id, other,
                SimFrame(
                    term: node.term,
                    kind: .requestVote(last: node.log.count - 1, lastTerm: node.lastTerm, disrupts: disrupts)))
        }
    }

    private func follow(_ node: SimVoter, _ term: UInt64) {
        if term > node.term {
            node.term = term
            node.votedFor = nil
        }
        node.role = .follower
    }

    // MARK: frames

    mutating func receive(_ id: Int, _ from: Int, _ frame: SimFrame) {
        let node = nodes[id]
        if case .requestVote(_, _, let disrupts) = frame.kind, calm, !disrupts, now - node.heardAt < electionBase() {
            // Stickiness: who hears a leader does not even take note of the term.
            return
        }
        if frame.term > node.term { follow(node, frame.term) }
        switch frame.kind {
        case .append(let previous, let previousTerm, let entries, let commit):
            guard frame.term == node.term else {
                return write(id, from, SimFrame(term: node.term, kind: .appended(success: false, last: 0)))
            }
            node.role = .follower
            node.heardAt = now
            guard previous < node.log.count, node.log[previous].term == previousTerm else {
                return write(
                    id, from,
                    SimFrame(term: node.term, kind: .appended(success: false, last: min(previous, node.log.count) - 1)))
            }
            var index = previous
            for entry in entries {
                index += 1
                if index < node.log.count {
                    if node.log[index].term == entry.term { continue }
                    node.log.removeSubrange(index...)
                }
                node.log.append(entry)
            }
            node.commit = max(node.commit, min(commit, index))
            write(id, from, SimFrame(term: node.term, kind: .appended(success: true, last: index)))
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
        case .requestVote(let last, let lastTerm, _):
            let isCurrent = (lastTerm, last) >= (node.lastTerm, node.log.count - 1)
            let granted =
                frame.term == node.term && isCurrent && (node.votedFor == nil || node.votedFor == from)
                && node.role == .follower
            if granted { node.votedFor = from }
            write(id, from, SimFrame(term: node.term, kind: .vote(granted: granted)))
        case .vote(let granted):
            guard node.role == .candidate, frame.term == node.term, granted else { return }
            node.votes.insert(from)
            if node.isMajority(node.votes) { becomeLeader(id) }
        case .timeoutNow:
            guard frame.term == node.term, node.role == .follower, node.voters.contains(id) else { return }
            stand(id, disrupts: true)
        }
    }
}
