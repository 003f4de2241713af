import Lease
import Platform

@testable import Lease

/// The shell of the relays: it brings `RelayCore`, the product's own, what happens, and carries out what it says, as `RaftRelay` does.
extension LeaseSimulation {
    // MARK: frames

    mutating func relaySends(_ id: Int, _ to: Int, _ frame: SimFrame) throws {
        let node = nodes[id]
        let local = node.local(now)
        let passage = node.core.sends(head(frame), to: VoterID(to), names: names(frame), now: local)
        try perform(node)
        switch passage {
        case .pass(let wantsPromise, let acknowledging):
            send(
                id, to,
                .frame(
                    frame, incarnation: node.incarnation, sentAt: local, wantsPromise: wantsPromise,
                    acknowledging: acknowledging))
        case .hold(let ticket): node.held[ticket] = (to, frame)
        case .drop: break
        }
    }

    private func head(_ frame: SimFrame) -> RelayFrame {
        let content: RelayFrame.Content =
            switch frame.kind {
            case .append(let previous, let last, _):
                .append(previous: UInt64(log.index(previous)), last: position(last))
            case .appended(let success, let last, let previous):
                .result(rejected: success ? 0 : UInt64(previous), lastIndex: UInt64(last))
            case .requestVote(_, _, let isPreVote): .requestVote(isPreVote: isPreVote)
            case .vote(let granted, let isPreVote): .vote(isGranted: granted, isPreVote: isPreVote)
            case .timeoutNow: .timeoutNow
            case .fence, .fenced: .fenced
            }
        return RelayFrame(term: frame.term, content: content)
    }

    func position(_ entry: SimLog.Entry) -> LogPosition {
        LogPosition(index: UInt64(log.index(entry)), term: log.term(entry))
    }

    private func names(_ frame: SimFrame) -> NamedVoters? {
        guard case .append(let previous, let last, _) = frame.kind,
            let voters = log.newestVoters(of: last, after: previous)
        else { return nil }
        return NamedVoters(voters: voters.ids.map { VoterID($0) }, index: UInt64(log.configuredAt(last)))
    }

    mutating func relayReceives(_ id: Int, _ from: Int, _ message: SimMessage) throws {
        let node = nodes[id]
        switch message {
        case .frame(let frame, let incarnation, let sentAt, let wantsPromise, let acknowledging):
            let process = VoteGate.LeaderProcess(voter: VoterID(from), incarnation: UInt64(incarnation))
            // Of a connection that was replaced by a later process of the peer.
            if let known = node.core.peers[process.voter]?.process, known.incarnation > process.incarnation { return }
            if node.core.succession.leader != process { readVoters(node) }
            let reception = node.core.receives(
                head(frame), from: process, names: names(frame), wantsPromise: wantsPromise, sentAt: sentAt,
                canOwe: random.chance(800), now: node.local(now))
            try perform(node)
            if case .hand(let acknowledges) = reception {
                hand(id, from, frame)
                if acknowledges {
                    let said = PeerMessage.acknowledged(term: frame.term, sentAt: sentAt)
                    send(id, from, .said(said, incarnation: node.incarnation, to: incarnation))
                }
            }
            if let acknowledging {
                node.core.told(acknowledging, by: process, now: node.local(now))
                try perform(node)
            }
        case .said(let said, let incarnation, let to):
            guard to == 0 || to == node.incarnation else { return }
            let process = VoteGate.LeaderProcess(voter: VoterID(from), incarnation: UInt64(incarnation))
            if case .asked = said { readVoters(node) }
            node.core.told(said, by: process, now: node.local(now))
            try perform(node)
        case .offer, .ready, .tookOver:
            try handOverReceives(node, from, message)
        }
    }

    private mutating func hand(_ id: Int, _ from: Int, _ frame: SimFrame) {
        let node = nodes[id]
        node.inAt[from] = max(node.inAt[from] + 1, now + random.below(calm ? 100_000 : 3 * Self.ms))
        queue.add(
            node.inAt[from], .handed(Int8(id), from: Int8(from), frame, incarnation: node.incarnation))
    }

    // MARK: directives

    func readVoters(_ node: SimVoter) { node.core.knows(voters: node.voters.ids.map { VoterID($0) }) }

    mutating func perform(_ node: SimVoter) throws {
        for directive in node.core.take() { try perform(node, directive) }
        arm(node)
    }

    private mutating func perform(_ node: SimVoter, _ directive: RelayDirective) throws {
        switch directive {
        case .leaseMoved:
            // What was held under a lease that has ended meanwhile the guard has taken off.
            let local = node.local(now)
            if !node.gives(now), node.leaseEnd.map({ $0 <= local }) ?? true { node.placed = nil }
            node.leaseEnd = node.core.lease.end(now: local)
            try check(node)
        case .leads(let term): readMembers(node, within: calm ? 2 * Self.ms : 30 * Self.ms, term)
        case .declined(let peer, let term):
            trace?("\(now) n\(peer) declines the lead of n\(node.id) in term \(term)")
            outcome.declined += 1
            try check(node)
        case .askedToStand(let peer, let term): node.askedToStand = (Int(peer), term, node.local(now))
        case .readMembers: readMembers(node, within: calm ? Self.ms : 20 * Self.ms, node.core.lease.term)
        case .release(let ticket):
            guard let (to, frame) = node.held.removeValue(forKey: ticket) else { return }
            let sentAt = node.local(now)
            send(
                node.id, to,
                .frame(
                    frame, incarnation: node.incarnation, sentAt: sentAt, wantsPromise: false, acknowledging: nil))
        case .discard(let ticket): node.held[ticket] = nil
        case .tell(let peer, let said):
            send(node.id, Int(peer), .said(said, incarnation: node.incarnation, to: 0))
        case .tellAll(let said):
            for other in nodes where other.id != node.id {
                send(node.id, other.id, .said(said, incarnation: node.incarnation, to: 0))
            }
        case .answer(let peer, let said):
            send(
                node.id, Int(peer), .said(said, incarnation: node.incarnation, to: UInt32(nodes[Int(peer)].incarnation))
            )
        case .inject(let leader, let term, let position):
            trace?("\(now) n\(node.id) is told to stand in place of n\(leader) in term \(term)")
            hand(node.id, Int(leader), SimFrame(term: term, kind: .timeoutNow(position)))
        case .fence(let leader, let term):
            outcome.fences += 1
            hand(node.id, Int(leader), SimFrame(term: term, kind: .fence))
        case .probe(let process, let delay):
            queue.add(
                now + delay.inNanoseconds + 100_000 + random.below(600_000),
                .probe(
                    Int8(node.id), of: Int8(process.voter), peerIncarnation: UInt32(process.incarnation),
                    incarnation: node.incarnation))
        case .alarm(.twoLeaders(let term, let first, let second)):
            throw violation(.twoLeaders, "n\(first) and n\(second) lead term \(term), as n\(node.id) hears")
        case .alarm(.diskFailed): throw violation(.noHolder, "n\(node.id) is taken for one whose disk has failed")
        case .alarm(.secondVote): outcome.secondVotes += 1
        case .decided(let reason): trace?("\(now) n\(node.id) is going to stand: \(reason)")
        case .leaseLost, .stands, .predecessorsChanged, .transfers: break
        }
    }

    private mutating func arm(_ node: SimVoter) {
        guard let at = node.core.nextWake else { return }
        let real = max(now + 1, node.real(at))
        guard real < node.wakeAt else { return }
        node.wakeAt = real
        queue.add(real, .wake(Int8(node.id), incarnation: node.incarnation))
    }

    mutating func wake(_ id: Int) throws {
        let node = nodes[id]
        guard node.wakeAt <= now else { return }
        let planned = node.local(node.wakeAt)
        node.wakeAt = .max
        readVoters(node)
        node.core.due(now: node.local(now), planned: planned)
        try perform(node)
    }

    // MARK: voters

    /// The node is asked for its members; the answer takes a while, in which frames may name newer ones.
    mutating func readMembers(_ node: SimVoter, within delay: Int64, _ term: UInt64) {
        queue.add(now + random.below(delay), .read(Int8(node.id), term: term, incarnation: node.incarnation))
    }

    mutating func read(_ id: Int, _ term: UInt64) {
        let node = nodes[id]
        guard node.core.lease.term == term else { return }
        if !calm, random.chance(100) { return readMembers(node, within: 20 * Self.ms, term) }
        node.readings += 1
        let reading = RelayCore.Reading(term: term, changes: node.core.changes, number: node.readings)
        queue.add(
            now + random.below(calm ? 3 * Self.ms : 30 * Self.ms),
            .learnt(Int8(id), node.voters, reading, incarnation: node.incarnation))
    }

    mutating func learnt(_ id: Int, _ voters: SimVoters, _ reading: RelayCore.Reading) throws {
        let node = nodes[id]
        node.core.learnt(voters: voters.ids.map { VoterID($0) }, by: reading, now: node.local(now))
        try perform(node)
    }

    // MARK: a leader's death

    mutating func ended(_ id: Int, _ peer: Int, _ incarnation: UInt32) throws {
        let node = nodes[id]
        readVoters(node)
        node.core.ended(
            VoteGate.LeaderProcess(voter: VoterID(peer), incarnation: UInt64(incarnation)), now: node.local(now))
        try perform(node)
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

    mutating func probed(_ id: Int, _ peer: Int, _ incarnation: UInt32, _ isRefused: Bool) throws {
        let node = nodes[id]
        let process = VoteGate.LeaderProcess(voter: VoterID(peer), incarnation: UInt64(incarnation))
        node.core.probed(process, isRefused: isRefused, now: node.local(now))
        // Either answer is one of the host.
        if isRefused { _ = node.core.answered(process, askedAt: node.local(now)) }
        try perform(node)
    }
}
