import Platform
import RaftRig

@testable import Lease

/// The relays: they do with `RelayCore` what `RaftRelay` does.
extension RigCluster {
    func relayReads(_ item: Item, _ from: Int, _ to: Int) {
        guard case .frame(let message, let names, _, _) = item.content else { return }
        let server = server(from)
        let local = server.local(now)
        guard isGuarded, let frame = RelayFrame(message) else { return leaves(message, names, false, local) }
        guard let passage = server.core?.sends(frame, to: VoterID(to), names: names, now: local) else {
            return rig.drop(message)
        }
        perform(server)
        switch passage {
        case .pass(let wantsPromise, let acknowledging):
            leaves(message, names, wantsPromise, local)
            if let acknowledging { push(.said(acknowledging), .wire, from, to) }
        case .hold(let ticket):
            trace?("\(now / 1000) relay \(from) holds: \(message.text) to s\(to)")
            server.held[ticket] = message
        case .drop:
            trace?("\(now / 1000) relay \(from) drops: \(message.text) to s\(to)")
            rig.drop(message)
        }
    }

    private func leaves(_ message: rig_message, _ names: NamedVoters?, _ wantsPromise: Bool, _ sentAt: BootInstant) {
        if let candidate = message.candidate {
            ledger.left(of: Int(message.from), in: message.term, for: candidate)
            trace?("\(now / 1000) the vote of s\(message.from) for s\(candidate) in term \(message.term) leaves")
        }
        push(
            .frame(message, names, wantsPromise: wantsPromise, sentAt: sentAt), .wire, Int(message.from),
            Int(message.to))
    }

    func arrives(_ item: Item, _ from: Int, _ to: Int) {
        let server = server(to)
        // Of a connection that is gone, or has been replaced.
        guard server.isUp, item.receiver == server.incarnation, item.sender >= server.met[from - 1] else {
            return drop(item)
        }
        server.met[from - 1] = item.sender
        let process = VoteGate.LeaderProcess(voter: VoterID(from), incarnation: item.sender)
        let local = server.local(now)
        switch item.content {
        case .frame(let message, let names, let wantsPromise, let sentAt):
            guard isGuarded, let frame = RelayFrame(message) else { return push(item.content, .into, from, to) }
            if server.core?.succession.leader != process { knowVoters(server) }
            let reception = server.core?.receives(
                frame, from: process, names: names, wantsPromise: wantsPromise, sentAt: sentAt,
                canOwe: self.server(from).isUp, now: local)
            perform(server)
            guard case .hand(let acknowledges) = reception else {
                trace?("\(now / 1000) relay \(to) does not hand over what s\(from) sent: \(message.text)")
                return rig.drop(message)
            }
            push(item.content, .into, from, to)
            if acknowledges { push(.said(.acknowledged(term: message.term, sentAt: sentAt)), .answer, to, from) }
        case .said(let message):
            if case .asked = message { knowVoters(server) }
            server.core?.told(message, by: process, now: local)
            perform(server)
        }
    }

    func knowVoters(_ server: GuardedServer) { server.core?.knows(voters: rig.voters(server.id)) }

    /// Votes that are held, and the succession.
    func due(_ id: Int, planned: BootInstant? = nil) {
        let server = server(id)
        knowVoters(server)
        server.core?.due(now: server.local(now), planned: planned)
        perform(server)
    }

    // MARK: - Directives

    func perform(_ server: GuardedServer) {
        guard let directives = server.core?.take(), !directives.isEmpty else { return }
        for directive in directives { perform(directive, server) }
        checkLeases()
    }

    func perform(_ directive: RelayDirective, _ server: GuardedServer) {
        if let trace, directive != .leaseMoved { trace("\(now / 1000) relay \(server.id): \(directive)") }
        switch directive {
        case .leads, .readMembers: server.readsAt = min(server.readsAt, now + (delay == nil ? 0 : Self.ms))
        case .release(let ticket):
            guard let message = server.held.removeValue(forKey: ticket) else { return }
            leaves(message, nil, false, server.local(now))
        case .discard(let ticket): if let message = server.held.removeValue(forKey: ticket) { rig.drop(message) }
        case .tell(let peer, let message): push(.said(message), .wire, server.id, Int(peer))
        case .tellAll(let message):
            for other in 1...count where other != server.id { push(.said(message), .wire, server.id, other) }
        case .answer(let peer, let message): push(.said(message), .answer, server.id, Int(peer))
        case .inject(let leader, let term, let position):
            let message = rig.timeoutNow(
                from: Int(leader), to: server.id, term: term, index: position.index, indexTerm: position.term)
            push(
                .frame(message, nil, wantsPromise: false, sentAt: server.local(now)), .into, Int(leader), server.id)
        case .fence(let leader, let term):
            let message = rig.heartbeat(from: Int(leader), to: server.id, term: term, index: RelayFrame.fence)
            push(.frame(message, nil, wantsPromise: false, sentAt: server.local(now)), .into, Int(leader), server.id)
        case .probe(let process, let delay): probes.append((now + delay.inNanoseconds, server.id, process))
        case .alarm(let alarm): server.alarms.append(alarm)
        case .declined(_, let term): server.declined.append(term)
        case .leaseMoved, .leaseLost, .transfers, .askedToStand, .stands, .decided, .predecessorsChanged: break
        }
    }

    // MARK: - Members

    /// The members are read, as the node does when its relay asks for it; and what was read is told.
    func readMembers(_ id: Int) {
        let server = server(id)
        guard let core = server.core else { return }
        if let known = server.reading {
            server.reading = nil
            let isNew = server.core?.learnt(voters: known.voters, by: known.reading, now: server.local(now)) ?? false
            if !isNew { server.readsAt = min(server.readsAt, now + 20 * Self.ms) }
            return perform(server)
        }
        server.readsAt = .max
        guard rig.isLeader(id), rig.state(id).term == core.lease.term else { return }
        server.readings += 1
        let reading = RelayCore.Reading(term: core.lease.term, changes: core.changes, number: server.readings)
        server.reading = (reading, rig.voters(id), now + (delay?(.out, id, id) ?? 0))
    }

    // MARK: - Leases

    func checkLeases() {
        var holder: Int?
        for server in servers where server.isUp && server.lease(now) != nil {
            if let holder {
                ledger.note(.twoLeases, "servers \(holder) and \(server.id) have a lease at \(now / 1000) us")
            }
            holder = server.id
        }
    }

    /// Who has a lease now.
    var holders: [Int] { servers.filter { $0.isUp && $0.lease(now) != nil }.map(\.id) }
}
