import Dqlite
import Logging
import Platform

/// To whom the lead is given, and that it is not given up before that node can take it. What to do is `HandOverCore`'s decision.
extension ClusterNode {
    func candidates(_ wanted: String?) throws -> [DqliteMember] {
        let others = facts.current.members.filter { $0.role == .voter && $0.id != ownID }
        guard let wanted else {
            guard !others.isEmpty else {
                throw HandOverRefused(
                    kind: .conflict, description: "\(settings.advertised) is the only voter: nobody else can lead")
            }
            return others
        }
        let entries = configuration.nodes
        func isMeant(_ member: DqliteMember) -> Bool {
            let entry = entries.first { $0.dqliteID == member.id }
            let place = facts.address(of: member)
            return [
                String(member.id), member.address, place?.description, place?.host, entry?.name, entry?.nodeID,
            ].contains(wanted)
        }
        let meant = facts.current.members.filter(isMeant)
        guard meant.count <= 1 else {
            throw HandOverRefused(
                kind: .invalid,
                description: "\"\(wanted)\" names \(meant.count) nodes: name one of them by its id or address: "
                    + meant.map { "\($0.id) (\($0.address))" }.joined(separator: ", "))
        }
        guard let member = meant.first else {
            throw HandOverRefused(
                kind: .invalid,
                description: "\"\(wanted)\" is no member of the cluster: give id, name or address of one of "
                    + others.map(\.address).sorted().joined(separator: ", "))
        }
        guard member.id != ownID else {
            throw HandOverRefused(kind: .invalid, description: "\(wanted) leads already")
        }
        guard member.role == .voter else {
            throw HandOverRefused(
                kind: .invalid, description: "\(wanted) is a \(member.role) and cannot lead: name a voter")
        }
        return [member]
    }

    func handOverCore(
        _ candidates: [DqliteMember], _ local: LocalNode, now: BootInstant, deadline: BootInstant
    ) -> HandOverCore {
        let voters = facts.current.members.filter { $0.role == .voter }
        let stuck = stuckVoters.lasting(local.relayFacts.current.stuck, now: now)
        return HandOverCore(
            voters: voters.map { .init(id: $0.id, address: $0.address) }, own: local.dqliteID,
            candidates: Set(candidates.map(\.id)),
            excluded: Dictionary(stuck.map { ($0, "it takes nothing from this leader") }) { first, _ in first },
            now: now, deadline: deadline)
    }

    /// Asks all voters, until one of the candidates is told to expect the lead.
    ///
    /// - Throws: `HandOverRefused`, nothing being changed.
    func choose(_ core: inout HandOverCore, _ local: LocalNode, _ term: UInt64) async throws -> DqliteMember {
        let members = facts.current.members.filter { $0.role == .voter }
        guard let clusterID = facts.current.clusterID else {
            throw HandOverRefused(kind: .unavailable, description: "\(settings.advertised) is in no cluster any more")
        }
        var offer = HandOverOffer(
            clusterID: clusterID, term: term, leader: local.dqliteID, address: settings.advertised.description)
        var step = HandOverCore.Step.wait(until: BootClock.now)
        while true {
            switch step {
            case .wait(let until):
                try await BootClock().sleep(until: until)
                guard leads else {
                    throw HandOverRefused(
                        kind: .unavailable, description: "\(settings.advertised) does not lead any more")
                }
                offer.isMade = false
                (core, step) = await ask(core, members, offer, local)
            case .offer(let id):
                guard let member = members.first(where: { $0.id == id }) else {
                    throw HandOverRefused(kind: .unavailable, description: "\(id) is no voter any more: ask again")
                }
                offer.isMade = true
                offer.isHolder = await holdsAddresses()
                let answer = await answer(of: member, offer)
                core.answers(id, answer)
                if case .votes(let from, nil) = answer, from <= BootClock.now { return member }
                step = core.next(stored: await local.storedIndexes(), now: BootClock.now)
            case .listen(let until):
                // Who was asked has had its time.
                try await BootClock().sleep(until: until)
                step = core.next(stored: await local.storedIndexes(), now: BootClock.now)
            case .refuse(let reason):
                throw HandOverRefused(kind: .conflict, description: reason)
            }
        }
    }

    /// One round of questions.
    private nonisolated func ask(
        _ core: HandOverCore, _ members: [DqliteMember], _ offer: HandOverOffer, _ local: LocalNode
    ) async -> (HandOverCore, HandOverCore.Step) {
        var core = core
        core.begins(ownVotesFrom: local.relayFacts.current.closedUntil, now: BootClock.now)
        return await withTaskGroup(of: (DqliteNodeID, HandOverCore.Answer)?.self) { tasks in
            for member in members where member.id != local.dqliteID {
                tasks.addTask { (member.id, await self.answer(of: member, offer)) }
            }
            var step = core.next(stored: [:], now: BootClock.now)
            while case .listen(let until) = step {
                tasks.addTask {
                    try? await BootClock().sleep(until: until)
                    return nil
                }
                if case let (id, answer)?? = await tasks.next() { core.answers(id, answer) }
                step = core.next(stored: await local.storedIndexes(), now: BootClock.now)
            }
            tasks.cancelAll()
            return (core, step)
        }
    }

    private nonisolated func answer(of member: DqliteMember, _ offer: HandOverOffer) async -> HandOverCore.Answer {
        do {
            guard let address = facts.address(of: member) else { return .silent("it is not known where it is") }
            guard
                case .ready(let readiness) = try await peers.ask(
                    .handOver(offer), of: address, timeout: HandOverCore.patience)
            else { return .silent("it answered something else: does it run the same version?") }
            return .votes(
                from: BootClock.now.advanced(by: .milliseconds(min(max(0, readiness.votesKeptBackFor), 3_600_000))),
                objection: readiness.objection)
        } catch {
            return .silent("\(error)")
        }
    }

    // MARK: - The transfer

    private enum Transfer {
        /// This node leads no more.
        case done
        case declined
        case failed(String)
    }

    /// Has libdqlite tell the successor to stand.
    ///
    /// - Returns: why it did not take the lead, this node leading as before; nil when this node leads no more.
    func refusal(to successor: DqliteMember, in term: UInt64, _ local: LocalNode) async -> String? {
        await transferring?.value
        let begin = BootClock.now
        let (outcomes, continuation) = AsyncStream.makeStream(of: Transfer.self)
        // Nobody cancels it: a request that is given up takes its connection with it, and libdqlite's answer comes to nothing
        // that is there any more.
        transferring = Task { [membership, settings] in
            do {
                try await membership.transfer(to: successor.id, timeout: settings.timing.electionTimeout * 3)
                continuation.yield(.done)
            } catch {
                continuation.yield(.failed("\(error)"))
            }
        }
        let watch = Task {
            while !Task.isCancelled {
                // Not what it said the last time.
                if let declined = local.relayFacts.current.declined, declined.node == successor.id,
                    declined.term == term, declined.at >= begin
                {
                    continuation.yield(.declined)
                }
                try? await Task.sleep(for: .milliseconds(2))
            }
        }
        defer { watch.cancel() }
        for await outcome in outcomes {
            switch outcome {
            case .done: return nil
            case .declined: return "its votes are kept back just now"
            case .failed(let reason):
                // It may have come about all the same.
                if local.relayFacts.current.term <= term, local.monitor.current.isLeader { return reason }
                let heir = await leader(after: term, local, within: .milliseconds(500))
                return heir == nil || heir == ownID ? reason : nil
            }
        }
        return nil
    }
}
