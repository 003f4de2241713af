import Discovery
import Dqlite
import Logging
import Platform

/// Members that are not where raft's configuration says: this node among them, or others.
///
/// Everybody tells its present address to whom it connects; and who cannot be reached is looked for with the discovery. So
/// raft goes on with the old configuration, even when all members have moved at once. That the configuration follows is a
/// matter of order: each asks the leader for it.
extension ClusterNode {
    /// Between two attempts to have the others' address of this node changed.
    private static let addressInterval: Duration = .milliseconds(500)
    /// Between two searches while there is no leader; with one it becomes longer.
    private static let searchInterval: Duration = .milliseconds(500)
    private static let longestSearchInterval: Duration = .seconds(10)

    /// Sleeps for a time, or while all is well and there is none until the beat: on an idle node it is the looks that cost.
    func rest(_ pause: Duration?) async throws {
        guard let pause else { return try await BootClock.sleepUntilBeat() }
        try await Task.sleep(for: pause)
    }

    // MARK: - The others

    /// A node has said who and where it is.
    func meet(_ view: NodeView) {
        let facts = facts.current
        guard let local = facts.local, view.dqliteID != local.dqliteID, let clusterID = facts.clusterID,
            view.clusterID?.description == clusterID
        else { return }
        let isMember = facts.members.contains { $0.id == view.dqliteID }
        guard isMember || facts.moving.contains(view.dqliteID) else { return }
        if self.facts.addressBook.learn(view.dqliteID, at: view.address), isMember { local.found(view.dqliteID) }
    }

    /// Looks for members that cannot be reached, for as long as the node runs; and, when the last look-up went wrong,
    /// whether the discovery works again: a node that others have found would show an error for ever that is long mended.
    func findMembers() async {
        var interval: Duration? = Self.searchInterval
        while !Task.isCancelled {
            try? await rest(interval)
            let facts = facts.current
            guard facts.isFormed, !isStopping, let local = facts.local else { continue }
            let isSound = discovery.statistics.lastError == nil
            if isSound, await local.unreachable(of: facts.members).isEmpty {
                interval = leadership.leader == nil ? Self.searchInterval : nil
                continue
            }
            await search()
            let isLed = leadership.leader != nil
            interval = isLed ? min((interval ?? .seconds(1)) * 2, Self.longestSearchInterval) : Self.searchInterval
        }
    }

    /// Asks all addresses that the discovery names who is there.
    private func search() async {
        let found = try? await discovery.lookUp()
        noteDiscovery(discovery.statistics.lastError)
        guard let addresses = found else { return }
        let hello = PortRequest.peer(.hello(view))
        let own = settings.advertised
        await withTaskGroup(of: NodeView?.self) { tasks in
            for address in Set(addresses).prefix(NodeView.maximumListed) where address != own {
                tasks.addTask { [peers] in
                    guard case .peer(.view(let view)) = try? await peers.ask(hello, of: address, timeout: .seconds(1))
                    else { return nil }
                    return view
                }
            }
            for await view in tasks {
                if let view { meet(view) }
            }
        }
    }

    /// Whether a node of this cluster answers there under that id.
    func answers(_ id: DqliteNodeID, at place: HostPort) async -> Bool {
        guard
            case .peer(.view(let found)) = try? await peers.ask(
                .peer(.hello(view)), of: place, timeout: .milliseconds(500))
        else { return false }
        return found.dqliteID == id && found.clusterID?.description == facts.current.clusterID
    }

    // MARK: - This node

    /// The address that the configuration has for this node when it is not this node's own.
    private var outdatedAddress: String? {
        let facts = facts.current
        guard facts.isFormed, let local = facts.local,
            let own = facts.members.first(where: { $0.id == local.dqliteID })
        else { return nil }
        return own.address == settings.advertised.description ? nil : own.address
    }

    /// Has the configuration follow this node, for as long as it runs: its address, its name and its labels.
    func keepEntries() async {
        var move: Move?
        while !Task.isCancelled {
            let pause = move.map { $0.attempts > 10 ? Self.addressInterval * 6 : Self.addressInterval }
            try? await rest(pause)
            guard facts.current.isFormed, !isStopping else { continue }
            await keepAddress(&move)
            await keepName()
        }
    }

    /// A change of this node's address that is under way. It is over when the leader says so, and not when the address is
    /// right: the role comes after it.
    private struct Move {
        var before: String
        var attempts = 0
        /// What was logged last.
        var reported: String?
    }

    private func keepAddress(_ move: inout Move?) async {
        if move == nil, outdatedAddress != nil {
            await refreshMembers()
            move = outdatedAddress.map { Move(before: $0) }
        }
        guard var current = move else { return }
        let problem = await askForOwnAddress()
        var metadata: Logger.Metadata = [
            "node.address.before": "\(current.before)", "node.address": "\(settings.advertised)",
        ]
        guard let problem else {
            move = nil
            return logger.notice("the members of the cluster know the new address of this node", metadata: metadata)
        }
        current.attempts += 1
        // Most reasons are over by the next time.
        if current.attempts > 1, problem != current.reported {
            current.reported = problem
            metadata["reason"] = "\(problem)"
            logger.notice("the members of the cluster list this node at another address yet", metadata: metadata)
        }
        move = current
    }

    /// Nothing depends on it: what fails is tried again.
    private func keepName() async {
        guard let entry = configuration.nodes.first(where: { $0.dqliteID == record.dqliteID }),
            leadership.leader != nil
        else { return }
        do {
            if entry.name != settings.name { try await commit(.describeNode(ownEntry)) }
            if entry.labels ?? [:] != settings.labels {
                try await commit(.labelNode(entry.dqliteID, settings.labels))
            }
        } catch {
            logger.debug("name and labels of this node are not written yet", metadata: ["error": "\(error)"])
        }
    }

    /// - Returns: why it is not done yet; nil when it is.
    private func askForOwnAddress() async -> String? {
        guard let clusterID = record.clusterID else { return "the node is in no cluster" }
        if leads { return await giveLeadToBeMoved() }
        guard let leader = leaderAddress else { return "no leader is known" }
        let request = JoinRequest(
            nodeID: record.nodeID, name: settings.name, dqliteID: record.dqliteID, address: settings.advertised,
            clusterName: record.clusterName, clusterID: clusterID, nonVoter: settings.nonVoter, isReturning: true)
        do {
            let reply = try await peers.ask(
                .peer(.join(request), timing: settings.timingClaim), of: leader, timeout: .seconds(10))
            guard case .peer(let answer) = reply else { return "\(leader) answered something else" }
            switch answer {
            case .joined:
                await refreshMembers()
                return nil
            case .redirect: return "no leader is known"
            case .refused(let refusal): return refusal.text
            case .error(let text): return text
            case .view, .agreed, .accepted: return "\(leader) answered something else"
            }
        } catch {
            return "\(error)"
        }
    }

    /// A leader cannot remove itself and go on. It is the last one to be moved: so the lead goes once, and not to and fro.
    private func giveLeadToBeMoved() async -> String? {
        let facts = facts.current
        guard let local = facts.local else { return "the database node is not running" }
        if outdatedAddress == nil { return nil }
        let unreachable = await local.unreachable(of: facts.members)
        let moving = facts.members.filter { member in
            let place = self.facts.address(of: member)
            return member.id != local.dqliteID && !unreachable.contains(member.id)
                && ![place?.description, Membership.placeholder(for: member.id)].contains(member.address)
        }
        guard moving.isEmpty else {
            return "this node leads, and others that have moved come first: \(moving.map(\.address))"
        }
        let others = facts.members.filter { $0.role == .voter && $0.id != local.dqliteID }.map(\.id)
        guard !others.isEmpty else {
            return "this node is the only voter; it is done when there is another one that can lead meanwhile"
        }
        let present = await local.responsive(within: Membership.freshness)
        guard others.count(where: present.contains) > others.count / 2 else {
            return "this node leads, and too few of the other voters are there to change its address: start them"
        }
        do {
            try await membership.whileUnchanged { _ = try await self.handOver(to: nil) }
            return "another node takes the lead, to change this node's address"
        } catch {
            return "\(error)"
        }
    }
}
