import Discovery
import Dqlite
import Logging
import Platform

/// Taking nodes out of the cluster, leaving it, and learning that one is out.
extension ClusterNode {
    /// Why a node was not removed; for a person.
    public struct RemovalRefused: Error, Sendable, CustomStringConvertible {
        public enum Kind: Sendable {
            /// What was named is not one node.
            case invalid
            case notFound
            /// It would do harm now.
            case conflict
            /// The cluster has no leader, or did not confirm it in time: it may still take effect.
            case unavailable
        }
        public var kind: Kind
        public var description: String
    }

    /// Removes a node from the cluster, whichever node is asked.
    ///
    /// - Parameters:
    ///   - target: dqlite id, node id, name or address.
    ///   - force: also when the cluster loses its quorum with it.
    /// - Throws: `RemovalRefused`.
    public func removeNode(_ target: String, force: Bool) async throws -> RemovedNode {
        try await removeNode(RemovalOrder(target: target, force: force, isLeaving: false), within: .seconds(7))
    }

    /// Leaves the cluster before this node stops, if that does no harm.
    func leave() async {
        guard facts.current.isFormed, let own = facts.current.local?.dqliteID else { return }
        do {
            _ = try await removeNode(
                RemovalOrder(target: "\(own)", force: false, isLeaving: true), within: .milliseconds(2500))
            try await persistLeft()
            logger.notice("this node has left the cluster, and joins anew when it starts again")
        } catch {
            logger.warning("this node does not leave the cluster", metadata: ["error": "\(error)"])
        }
    }

    private func removeNode(_ order: RemovalOrder, within limit: Duration) async throws -> RemovedNode {
        let deadline = BootClock.now.advanced(by: limit)
        var reason = "no leader is known: see `dqlite-vip status`"
        guard facts.current.isFormed, let clusterID = facts.current.clusterID else {
            throw RemovalRefused(kind: .unavailable, description: "this node is in no formed cluster")
        }
        while true {
            var reply: PortReply?
            if leads {
                reply = await answer(order)
            } else if let leader = leaderAddress {
                let time = max(.milliseconds(100), BootClock.now.duration(to: deadline))
                do {
                    reply = try await peers.ask(.removeNode(order, clusterID: clusterID), of: leader, timeout: time)
                } catch let failure as PortFailure {
                    reply = .failed(failure)
                } catch {
                    reason = "\(error)"
                }
            }
            switch reply {
            case .removed(let removal): return removal
            case .failed(let failure):
                reason = failure.text
                switch failure.reason {
                case .invalid, .malformed: throw RemovalRefused(kind: .invalid, description: reason)
                case .notFound: throw RemovalRefused(kind: .notFound, description: reason)
                case .notReady: throw RemovalRefused(kind: .conflict, description: reason)
                // Another leads, or will in a moment; asking twice does no harm.
                default: break
                }
            default: break
            }
            guard BootClock.now.advanced(by: .milliseconds(50)) < deadline else {
                throw RemovalRefused(kind: .unavailable, description: reason)
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    // MARK: - As the leader

    func answer(_ order: RemovalOrder) async -> PortReply {
        do {
            guard leads else {
                throw PortFailure(reason: .notLeader, text: "\(settings.advertised) does not lead")
            }
            await refreshMembers()
            guard let member = try find(order.target) else {
                // Asked again, after an answer that was lost.
                if let gone = configuration.removed?.last(where: { $0.isMeant(by: order.target) }) {
                    return .removed(gone)
                }
                throw PortFailure(
                    reason: .notFound,
                    text: "\"\(order.target)\" is no member of the cluster: give id, name or address of one of "
                        + facts.current.members.map(\.address).sorted().joined(separator: ", "))
            }
            if member.id == facts.current.local?.dqliteID {
                try await giveWay(member, force: order.force)
            }
            return .removed(try await remove(member, for: order.isLeaving ? .left : .removed, force: order.force))
        } catch let failure as PortFailure {
            return .failed(failure)
        } catch let error as DqliteError where error.code == .notLeader {
            return .failed(PortFailure(reason: .notLeader, text: "\(error)"))
        } catch {
            return .failed(PortFailure(reason: .unavailable, text: "\(error)"))
        }
    }

    private func find(_ target: String) throws -> DqliteMember? {
        guard !target.isEmpty else {
            throw PortFailure(
                reason: .invalid, text: "no node is named: give id, name or address of the one to be removed")
        }
        let entries = configuration.nodes
        // One whose address is being changed may be no member just now.
        let members = facts.current.members
        let absent = (configuration.moving ?? []).filter { move in !members.contains { $0.id == move.dqliteID } }
            .map { DqliteMember(id: $0.dqliteID, address: $0.address, role: .spare) }
        let meant = (members + absent).filter { member in
            let entry = entries.first { $0.dqliteID == member.id }
            let place = member.id == facts.current.local?.dqliteID ? settings.advertised : facts.address(of: member)
            return [
                String(member.id), member.address, place?.description, place?.host, entry?.name, entry?.nodeID,
            ].contains(target)
        }
        guard meant.count <= 1 else {
            throw PortFailure(
                reason: .invalid,
                text: "\"\(target)\" names \(meant.count) nodes: name one of them by its id or address: "
                    + meant.map { "\($0.id) (\($0.address))" }.joined(separator: ", "))
        }
        return meant.first
    }

    /// The leader cannot remove itself: another takes the lead first.
    ///
    /// - Throws: always; `.notLeader` when another leads now.
    private func giveWay(_ member: DqliteMember, force: Bool) async throws -> Never {
        guard facts.current.members.contains(where: { $0.role == .voter && $0.id != member.id }) else {
            throw PortFailure(
                reason: .notReady,
                text:
                    "\(member.address) is the only voter: without it there is no cluster; to end the cluster, stop its "
                    + "nodes and empty their data directories")
        }
        // Before the lead is moved for nothing.
        if !force { try await object(toRemoving: member, facts.current.members, isThere: true) }
        do {
            _ = try await failOver(to: nil)
        } catch let refused as HandOverRefused {
            throw PortFailure(
                reason: .notReady, text: "\(member.address) leads, and its lead cannot be handed over: \(refused)")
        }
        throw PortFailure(reason: .notLeader, text: "\(member.address) has handed the lead over")
    }

    /// Removes another member, and sees to it that it learns of it, now or later.
    func remove(_ member: DqliteMember, for reason: RemovedNode.Reason, force: Bool) async throws -> RemovedNode {
        let entry = configuration.nodes.first { $0.dqliteID == member.id }
        let removal = RemovedNode(
            dqliteID: member.id, nodeID: entry?.nodeID ?? "", name: entry?.name ?? "", address: member.address,
            reason: reason, at: .now)
        removing.insert(member.id)
        defer { removing.remove(member.id) }
        if !force { try await object(toRemoving: member, await currentMembers(), isThere: reason == .left) }
        // Before the removal itself: should this node die in between, the other stays out all the same.
        try await store.apply(.noteRemoval(removal))
        do {
            try await membership.removeMember(member.id, timeout: .seconds(3)) { members, member in
                if !force { try await self.object(toRemoving: member, members, isThere: reason == .left) }
            }
        } catch {
            guard (error as? DqliteError)?.mayHaveBeenExecuted == true else {
                _ = try? await store.apply(.forgetRemoval(member.id))
                throw error
            }
            guard force else { throw error }
            // It is in the log of this node, and those that remain are too few to commit it. The other must not be elected
            // meanwhile: it would undo it.
            dismiss(removal)
            throw PortFailure(
                reason: .notReady,
                text:
                    "the removal of \(member.address) is written down here and cannot be committed yet: too few of the "
                    + "voters that remain are up. Nobody leads until they are: start the others; it then takes effect by "
                    + "itself. \(member.address) is told to stay out")
        }
        logger.notice(
            "a member was removed",
            metadata: [
                "node.dqlite_id": "\(member.id)", "node.address": "\(member.address)", "node.name": "\(removal.name)",
                "node.role": "\(member.role)", "reason": "\(reason.rawValue)",
            ])
        // What follows is done again by whoever leads next, or does no harm when it is not.
        _ = try? await store.apply(.forgetNode(member.id))
        try? await refreshConfiguration()
        dismiss(removal)
        return removal
    }

    private func currentMembers() async -> [DqliteMember] {
        await refreshMembers()
        return facts.current.members
    }

    /// - Throws: what speaks against it, by who answers right now.
    ///
    /// - Parameter isThere: it asks for that itself just now. It is on its way out, and answers no roll call any more.
    private func object(
        toRemoving member: DqliteMember, _ members: [DqliteMember], isThere: Bool
    ) async throws {
        guard let own = facts.current.local?.dqliteID, let term = leadershipProof?.term,
            let clusterID = facts.current.clusterID
        else {
            throw PortFailure(reason: .notLeader, text: "\(settings.advertised) cannot prove that it leads")
        }
        guard member.role == .voter else { return }
        let roster =
            facts.current.roster?.roster ?? Roster(clusterID: clusterID, term: term, leader: own, members: [])
        let answers = await attendances(members.filter { $0.role == .voter }, roster)
        let now = BootClock.now
        let present = Set(answers.keys).union(isThere ? [member.id] : [])
        let list = members.map { member in
            RoleCore.Member(
                id: member.id, role: member.role,
                presence: present.contains(member.id) ? .reachable(since: now) : .gone(since: now),
                isStuck: stuckVoters.reported.contains(member.id))
        }
        if let objection = RoleCore.objection(toRemoving: member.id, list, own: own) {
            throw PortFailure(reason: .notReady, text: "\(member.address) is not removed: \(objection)")
        }
    }

    /// Tells a removed node, while it still listens to us.
    private func dismiss(_ removal: RemovedNode) {
        guard let clusterID = facts.current.clusterID, removal.reason != .left else { return }
        let place = facts.addressBook[removal.dqliteID]
        Task { [peers] in
            guard let address = try? place ?? HostPort(parsing: removal.address) else { return }
            for _ in 0..<3 {
                let told = try? await peers.ask(
                    .dismissed(removal, clusterID: clusterID), of: address, timeout: .milliseconds(500))
                if told != nil { return }
                try? await Task.sleep(for: .milliseconds(200))
            }
            // It asks by itself when it hears of no leader.
        }
    }

    // MARK: - As a member

    /// Somebody says that this node is out. That ends its life in the cluster: unless it is the leader that says so, it asks the other
    /// members itself. A removal that was forced nobody else can know of yet.
    func answer(dismissal removal: RemovedNode, from peer: PortPeer) async -> PortReply {
        guard let local = facts.current.local, let clusterID = facts.current.clusterID,
            removal.dqliteID == local.dqliteID, !isAskingStanding
        else { return .written }
        if isLeader(peer) {
            takes(removal)
            return .written
        }
        isAskingStanding = true
        Task {
            await askStanding(local, clusterID)
            isAskingStanding = false
        }
        return .written
    }

    private func takes(_ removal: RemovedNode) {
        if let clusterID = record.clusterID { report(.removed(clusterID, removal)) }
    }

    /// What this node knows about another that hears of no leader.
    func answer(standingOf id: DqliteNodeID) async -> PortReply {
        let members = await currentMembers()
        guard !members.contains(where: { $0.id == id }) else { return .written }
        if let removal = configuration.removed?.last(where: { $0.dqliteID == id }), removal.isFinal || leads {
            return .removed(removal)
        }
        // Only who surely leads, and has read what was committed before, knows that there is nothing to know.
        guard leadershipProof != nil, !removing.contains(id), (try? await membership.isStranger(id)) == true,
            leadershipProof != nil
        else { return .written }
        return .removed(
            RemovedNode(dqliteID: id, nodeID: "", name: "", address: "", reason: .unknown, at: .now))
    }

    /// Asks the others, when this node has not heard from a leader for a while, whether it still belongs to them.
    func considerStanding(_ watch: inout StandingWatch) async {
        let now = BootClock.now
        let facts = facts.current
        guard facts.isFormed, let local = facts.local, let clusterID = facts.clusterID, !isStopping,
            watch.isDue(heard: facts.roster?.at, now: now)
        else { return }
        await askStanding(local, clusterID)
    }

    /// Asks the other members, the leader first, whether this node still is one of them.
    private func askStanding(_ local: LocalNode, _ clusterID: String) async {
        let facts = facts.current
        var addresses = facts.members.filter { $0.id != local.dqliteID }
            .compactMap { self.facts.address(of: $0) }
        if addresses.isEmpty { addresses = (try? await discovery.lookUp()) ?? [] }
        for address in addresses where address != settings.advertised {
            // Whoever is about to list it anew has to know where it is.
            _ = try? await peers.ask(.peer(.hello(view)), of: address, timeout: .milliseconds(500))
            guard
                case .removed(let removal) = try? await peers.ask(
                    .standing(local.dqliteID, clusterID: clusterID), of: address, timeout: .milliseconds(500)),
                removal.dqliteID == local.dqliteID
            else { continue }
            return takes(removal)
        }
    }
}

/// When a node that hears nothing asks whether it is still a member. A value type without clock.
struct StandingWatch: Sendable {
    /// Several rosters have been missed by then.
    static let silence: Duration = .milliseconds(2500)
    static let interval: Duration = .seconds(2)

    private var quietSince: BootInstant
    private var askedAt: BootInstant?

    init(now: BootInstant) {
        quietSince = now
    }

    /// - Parameter heard: when a roster came in last.
    mutating func isDue(heard: BootInstant?, now: BootInstant) -> Bool {
        if let heard { quietSince = max(quietSince, heard) }
        guard quietSince.advanced(by: Self.silence) <= now,
            askedAt.map({ $0.advanced(by: Self.interval) <= now }) ?? true
        else { return false }
        askedAt = now
        return true
    }
}

/// What is asked of the leader.
struct RemovalOrder: Codable, Sendable, Equatable {
    var target: String
    var force: Bool
    /// It is the node's own wish, for the time of its absence.
    var isLeaving: Bool
}

extension RemovedNode {
    fileprivate func isMeant(by target: String) -> Bool {
        let host = (try? HostPort(parsing: address))?.host
        return [String(dqliteID), address, host, name, nodeID].contains(target)
    }
}
