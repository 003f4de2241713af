import Dqlite
import Lease
import Logging
import Platform

/// The planned hand-over of the lead (DOC/FAILOVER.md): the successor sets and announces the addresses first, then
/// this node lets go of them, so that nobody who uses them notices.
extension ClusterNode {
    /// How long this node may keep the addresses after it has told the successor to stand.
    public static let handOverLimit: Duration = .milliseconds(100)
    /// How long the successor counts on it that this node knows of the hand-over.
    static let expectation: Duration = .milliseconds(500)

    /// Why the lead was not handed over; for a person.
    public struct HandOverRefused: Error, Sendable, CustomStringConvertible {
        public enum Kind: Sendable {
            /// The node that was named is none, or cannot lead.
            case invalid
            /// Nobody can take it now.
            case conflict
            /// The cluster has no leader, or did not answer in time.
            case unavailable
        }
        public var kind: Kind
        public var description: String
    }

    /// Gives the lead to another voter, whichever node is asked.
    ///
    /// - Parameter wanted: dqlite id, node id, name or address of the successor; nil for the one that is ready soonest.
    /// - Throws: `HandOverRefused`, which says why.
    public func failOver(to wanted: String?) async throws -> HandOver {
        if leads { return try await handOver(to: wanted) }
        guard facts.current.isFormed, let clusterID = facts.current.clusterID, let leader = leaderAddress else {
            throw HandOverRefused(kind: .unavailable, description: "no leader is known: see `dqlite-vip status`")
        }
        do {
            let reply = try await peers.ask(
                .failOver(to: wanted, clusterID: clusterID), of: leader, timeout: .seconds(3))
            guard case .handedOver(let done) = reply else {
                throw HandOverRefused(kind: .unavailable, description: "the leader \(leader) answered something else")
            }
            return done
        } catch let failure as PortFailure {
            let kind: HandOverRefused.Kind =
                switch failure.reason {
                case .invalid: .invalid
                case .notReady: .conflict
                default: .unavailable
                }
            throw HandOverRefused(kind: kind, description: failure.text)
        } catch let refused as HandOverRefused {
            throw refused
        } catch {
            throw HandOverRefused(kind: .unavailable, description: "\(error)")
        }
    }

    func answer(failOverTo wanted: String?) async -> PortReply {
        guard leads else {
            return .failed(PortFailure(reason: .notLeader, text: "\(settings.advertised) does not lead"))
        }
        do {
            return .handedOver(try await handOver(to: wanted))
        } catch {
            let reason: PortFailure.Reason =
                switch (error as? HandOverRefused)?.kind {
                case .invalid: .invalid
                case .conflict: .notReady
                case .unavailable, nil: .unavailable
                }
            return .failed(PortFailure(reason: reason, text: "\(error)"))
        }
    }

    /// Gives the lead to another voter before this node stops, so that nobody has to wait for an election.
    public func handOver() async {
        guard leads, facts.current.members.contains(where: { $0.role == .voter && $0.id != ownID }) else { return }
        do {
            _ = try await handOver(to: nil)
        } catch {
            logger.warning("the lead could not be handed over", metadata: ["error": "\(error)"])
        }
    }

    private var ownID: DqliteNodeID { facts.current.local?.dqliteID ?? 0 }

    // MARK: - The one that gives

    func handOver(to wanted: String?) async throws -> HandOver {
        guard handingOver == nil else {
            throw HandOverRefused(kind: .conflict, description: "the lead is being handed over already")
        }
        let (taken, continuation) = AsyncStream.makeStream(of: Void.self)
        handingOver = continuation
        defer {
            handingOver = nil
            facts.update { $0.giving = nil }
            onLeadership()
        }
        await refreshMembers()
        guard leads, let local = facts.current.local, let clusterID = facts.current.clusterID else {
            throw HandOverRefused(kind: .unavailable, description: "\(settings.advertised) does not lead any more")
        }
        let term = local.relayFacts.current.lease.term
        let offer = HandOverOffer(clusterID: clusterID, term: term, address: settings.advertised.description)
        let start = BootClock.now
        let successor = try await choose(try candidates(wanted), offer, local)
        let metadata: Logger.Metadata = [
            "raft.leader_address": "\(successor.address)", "raft.term": "\(term)",
        ]
        facts.update { $0.giving = .init(term: term, successor: successor.id) }
        do {
            try await membership.transfer(to: successor.id, timeout: .seconds(1))
        } catch {
            // It may have come about all the same.
            let heir = await leader(after: term, local, within: .milliseconds(500))
            if heir == nil || heir == ownID {
                throw HandOverRefused(
                    kind: .unavailable, description: "\(successor.address) did not take the lead: \(error)")
            }
        }
        local.monitor.kick()
        let limit = facts.current.giving?.until ?? BootClock.now.advanced(by: Self.handOverLimit)
        let expiry = Task {
            try? await BootClock().sleep(until: limit)
            continuation.finish()
        }
        var isConfirmed = false
        for await _ in taken {
            isConfirmed = true
            break
        }
        expiry.cancel()
        let took = start.duration(to: BootClock.now)
        logger.notice(
            "the lead was handed over",
            metadata: metadata.merging([
                "took.ms": "\(took.inMilliseconds)",
                "addresses": isConfirmed ? "announced by the successor" : "let go without waiting any longer",
            ]) { $1 })
        var done = HandOver(
            leaderID: successor.id, leaderAddress: successor.address, isConfirmed: isConfirmed,
            milliseconds: took.inMilliseconds)
        // Somebody else may have been elected meanwhile. Who stops does not wait to hear it.
        guard !isConfirmed, !isStopping else { return done }
        facts.update { $0.giving = nil }
        onLeadership()
        guard let heir = await leader(after: term, local, within: .seconds(1)), heir != ownID else {
            throw HandOverRefused(
                kind: .unavailable,
                description: "\(successor.address) was told to take the lead and has not: see `dqlite-vip status`")
        }
        guard heir != successor.id else { return done }
        let address = facts.current.members.first { $0.id == heir }?.address ?? String(heir)
        guard wanted == nil else {
            throw HandOverRefused(
                kind: .unavailable,
                description: "\(successor.address) was told to take the lead, and \(address) was elected: ask again")
        }
        (done.leaderID, done.leaderAddress) = (heir, address)
        return done
    }

    /// Who leads a later term, as soon as that is known here.
    private func leader(after term: UInt64, _ local: LocalNode, within limit: Duration) async -> DqliteNodeID? {
        local.monitor.kick()
        return await local.monitor.first(within: limit) { $0.term > term && $0.leader != nil }?.leader
    }

    private func candidates(_ wanted: String?) throws -> [DqliteMember] {
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

    /// Asks the candidates whether they are ready, and tells the one with the newest log to expect the lead.
    private func choose(
        _ candidates: [DqliteMember], _ offer: HandOverOffer, _ local: LocalNode
    ) async throws -> DqliteMember {
        let asked = await withTaskGroup(of: (member: DqliteMember, refusal: String?)?.self) { tasks in
            for member in candidates {
                tasks.addTask { (member, await self.refusal(of: member, offer)) }
            }
            // Who is slow to answer would be slow to take over: waited for only while nobody else is ready.
            tasks.addTask {
                try? await Task.sleep(for: .milliseconds(20))
                return nil
            }
            var answers: [(member: DqliteMember, refusal: String?)] = []
            var isLate = false
            for await answer in tasks {
                if let answer { answers.append(answer) } else { isLate = true }
                if answers.count == candidates.count { break }
                if isLate, answers.contains(where: { $0.refusal == nil }) { break }
            }
            tasks.cancelAll()
            return answers
        }
        var ready: [DqliteMember] = []
        for answer in asked where answer.refusal == nil { ready.append(answer.member) }
        let stored = await local.storedIndexes()
        // A stable order: among equals the quickest.
        let newest = ready.map { stored[$0.id] ?? 0 }.max() ?? 0
        var offer = offer
        offer.isMade = true
        var refusals = asked.compactMap { answer in answer.refusal.map { "\(answer.member.address): \($0)" } }
        for member in ready.filter({ stored[$0.id] ?? 0 == newest }) + ready.filter({ stored[$0.id] ?? 0 != newest }) {
            guard let refusal = await refusal(of: member, offer) else { return member }
            refusals.append("\(member.address): \(refusal)")
        }
        throw HandOverRefused(
            kind: .conflict, description: "no voter can take the lead now: \(refusals.joined(separator: "; "))")
    }

    private nonisolated func refusal(of member: DqliteMember, _ offer: HandOverOffer) async -> String? {
        do {
            guard let address = facts.address(of: member) else { return "it is not known where it is" }
            guard case .written = try await peers.ask(.handOver(offer), of: address, timeout: .milliseconds(300))
            else { return "it answered something else: does it run the same version?" }
            return nil
        } catch {
            return "\(error)"
        }
    }

    // MARK: - The one that takes

    func answer(_ offer: HandOverOffer) async -> PortReply {
        if isStopping { return .failed(PortFailure(reason: .notReady, text: "it is stopping")) }
        guard facts.current.isFormed, let local = facts.current.local else {
            return .failed(PortFailure(reason: .notReady, text: "it has not joined yet"))
        }
        if let reason = await unfit() { return .failed(PortFailure(reason: .notReady, text: reason)) }
        guard offer.isMade else { return .written }
        guard local.relayFacts.current.lease.term <= offer.term else {
            return .failed(PortFailure(reason: .notReady, text: "it knows of a later leader"))
        }
        facts.update {
            $0.expected = .init(
                term: offer.term, from: offer.address, until: BootClock.now.advanced(by: Self.expectation))
        }
        return .written
    }

    /// Whether the leader before gives this node the lead, and waits for it to set the addresses.
    public nonisolated var isHandedOver: Bool {
        let facts = facts.current
        guard let expected = facts.expected, BootClock.now < expected.until, let local = facts.local else {
            return false
        }
        // Whoever asks knows by itself whether this node leads; the relay may learn of the new term a moment later.
        return local.relayFacts.current.lease.term <= expected.term + 1
    }

    /// Whether this node is giving the lead away.
    public nonisolated var handsOver: Bool { facts.current.giving?.until != nil }

    /// Tells the leader before that this node has set and announced the addresses.
    public func confirmTakeOver() async {
        guard leads, isHandedOver, let expected = facts.current.expected, let clusterID = facts.current.clusterID else {
            return
        }
        do {
            let address = try HostPort(parsing: expected.from)
            _ = try await peers.ask(
                .tookOver(term: expected.term, clusterID: clusterID), of: address, timeout: Self.handOverLimit)
        } catch {
            // It lets go by itself.
            logger.info(
                "the leader before was not told of the hand-over",
                metadata: ["peer.address": "\(expected.from)", "error": "\(error)"])
        }
    }

    func answer(tookOver term: UInt64) -> PortReply {
        guard facts.current.giving?.term == term else { return .written }
        facts.update { $0.giving?.until = BootClock.now }
        onLeadership()
        handingOver?.yield()
        return .written
    }
}

/// A lead that was handed over.
public struct HandOver: Sendable, Codable, Equatable {
    public var leaderID: DqliteNodeID
    public var leaderAddress: String
    /// Whether the successor said in time that it has the addresses.
    public var isConfirmed: Bool
    public var milliseconds: Int64
}
