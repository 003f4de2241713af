import Dqlite
import FoundationEssentials
import Lease
import Logging
import Platform

/// Founding, admitting and leading: the work on raft and on the database that the bootstrap asks for.
extension ClusterNode {
    // MARK: - What the bootstrap asks for

    /// Makes the tables of a new cluster, once the node leads its cluster of one.
    func createDatabase(_ clusterID: ClusterID, _ agreement: Agreement) {
        Task {
            do {
                let text = String(decoding: try JSONEncoder().encode(agreement), as: UTF8.self)
                try await waitUntilLeading(within: .seconds(5))
                try await store.create(
                    clusterID: clusterID.description, clusterName: settings.clusterName, agreement: text)
                report(.databaseCreated(clusterID))
            } catch {
                report(.databaseFailed(clusterID, reason: "\(error)"))
            }
        }
    }

    func admitFounder(_ member: FoundingMember, _ role: MemberRole, _ clusterID: ClusterID) {
        Task {
            do {
                let candidate = Candidate(
                    nodeID: member.nodeID.description, dqliteID: member.dqliteID,
                    address: member.address.description, name: "")
                _ = try await membership.admit(candidate, as: .founder) { try await self.identify($0) }
                await refreshMembers()
                report(.admitted(member.nodeID, clusterID))
            } catch {
                report(.admitFailed(member.nodeID, clusterID, reason: "\(error)"))
            }
        }
    }

    func commitFormed(_ clusterID: ClusterID, before deadline: BootInstant?) {
        Task {
            do {
                // This process may have been stopped since the decision.
                if let deadline, BootClock.now >= deadline {
                    throw PortFailure(reason: .unavailable, text: "the right to found has lapsed meanwhile")
                }
                try await store.commitFormed()
                report(.formedCommitted(clusterID))
            } catch {
                report(.formedFailed(clusterID, reason: "\(error)"))
            }
        }
    }

    private func waitUntilLeading(within limit: Duration) async throws {
        guard let monitor = facts.current.local?.monitor else {
            throw PortFailure(reason: .notReady, text: "the local database node is not running")
        }
        guard await monitor.first(within: limit, where: \.isLeader) != nil else {
            throw PortFailure(reason: .notLeader, text: "the local node does not lead its new cluster")
        }
    }

    // MARK: - Joining a formed cluster

    /// Answers a node that asks to be a member. Only the leader can do it; another node names the leader.
    func admit(_ join: JoinRequest) async -> PeerReply {
        guard let clusterID = record.clusterID, facts.current.isFormed else {
            return .error("this node does not know yet whether its cluster is formed")
        }
        guard join.clusterName == settings.clusterName else {
            return .refused(
                Refusal(
                    .clusterName,
                    "\(settings.advertised) belongs to the cluster named \"\(settings.clusterName)\", and "
                        + "\(join.address) was started for \"\(join.clusterName)\": correct --cluster-name"))
        }
        guard join.clusterID == clusterID else {
            return .refused(
                Refusal(.otherCluster, "\(settings.advertised) belongs to another cluster than \(join.clusterID)"))
        }
        guard facts.current.local?.monitor.current.isLeader == true else {
            return .redirect(leader: leaderAddress)
        }
        if let removal = configuration.removed?.last(where: { $0.dqliteID == join.dqliteID }), removal.isFinal {
            let text = "\(join.address) was removed from cluster \(clusterID): start it with --rejoin"
            return .refused(Refusal(.removed, text, removal: removal))
        }
        if let clash = AddressClash.find(configuration.addresses, join.address) {
            return .refused(
                Refusal(
                    .virtualAddress,
                    "\(join.address) cannot be the address of a node: \(clash.virtual) is a virtual address of cluster "
                        + "\(clusterID): correct --bind-cluster, or set another virtual address"))
        }
        guard hasTakenUp else { return .redirect(leader: leaderAddress) }
        let candidate = Candidate(
            nodeID: join.nodeID.description, dqliteID: join.dqliteID, address: join.address.description,
            name: join.name, isReturning: join.isReturning == true)
        do {
            let role = try await membership.admit(candidate, as: .joiner(nonVoter: join.nonVoter)) {
                try await self.identify($0)
            }
            await refreshMembers()
            try await refreshConfiguration()
            Task { await callRoll() }
            return .joined(clusterID, role)
        } catch let error as DqliteError where error.code == .notLeader {
            return .redirect(leader: leaderAddress)
        } catch {
            // A change of its address may have been begun.
            refreshUntilDone()
            let isEarly = (error as? PortFailure)?.reason == .notReady
            logger.log(
                level: isEarly ? .debug : .warning, "a node could not be added",
                metadata: candidate.metadata.merging(["error": "\(error)"]) { $1 })
            return .error("\(join.address) could not be added: \(error)")
        }
    }

    /// Asks who is at a candidate's address, as members will dial it.
    ///
    /// - Throws: what to tell the operator when it is somebody else or nobody.
    private func identify(_ candidate: Candidate) async throws {
        let address = try HostPort(parsing: candidate.address)
        let reply: PortReply
        do {
            reply = try await peers.ask(.peer(.hello(view)), of: address, timeout: .seconds(1))
        } catch {
            throw PortFailure(
                reason: .wrongNode,
                text: "members cannot reach it at \(address), the address that it gives as its own: \(error); check "
                    + "--bind-cluster there and the firewall between")
        }
        guard case .peer(.view(let view)) = reply, view.nodeID.description == candidate.nodeID,
            view.dqliteID == candidate.dqliteID, view.address == address
        else {
            throw PortFailure(
                reason: .wrongNode,
                text: "another node answers at \(address), which it gives as its own address: correct --bind-cluster")
        }
    }

    // MARK: - Leading

    func leadershipChanged(_ leadership: Leadership) async {
        await tellRelay()
        report(.leaderKnown(leaderAddress))
        if leadership != lastLogged {
            lastLogged = leadership
            logger.info(
                leadership.isLeader
                    ? "this node leads" : leadership.leader == nil ? "no leader is known" : "another node leads",
                metadata: [
                    "raft.term": "\(leadership.term)", "raft.leader": "\(leadership.leader ?? 0)",
                    "raft.leader_address": "\(leaderAddress?.description ?? "")",
                ])
        }
        announce()
        guard leadership.isLeader else {
            report(.notLeading)
            hearing?.cancel()
            hearing = Task { await hearConfiguration() }
            return
        }
        hearing?.cancel()
        await takeUpLead()
    }

    /// Tells the relay who the members are, as each reading does: without the voters there is no lease. And connects to them.
    func tellRelay() async {
        guard let local = facts.current.local, let members = try? await membership.members() else { return }
        local.warm(members)
    }

    /// Reads what the cluster has agreed on, until that succeeds or the lead of this term is lost.
    ///
    /// The addresses wait for nothing that is written: a leader whose disk is full keeps them all the same.
    private func takeUpLead() async {
        guard let term = facts.current.local?.monitor.current.term else { return }
        var isPublished = false
        while !Task.isCancelled, let lead = facts.current.local?.monitor.current, lead.isLeader, lead.term == term {
            do {
                if isPublished { return try await writeAtTakeUp() }
                let found = try await store.facts()
                // A founder that has not written them yet will say so itself.
                guard let text = found["cluster_id"], let clusterID = ClusterID(text) else { return }
                if found["formed"] == "1" {
                    report(.becameFormed(clusterID))
                    try await refreshConfiguration()
                    takenUpTerm = term
                    isPublished = true
                    continue
                } else if let text = found["agreement"] {
                    let agreement = try JSONDecoder().decode(Agreement.self, from: Data(text.utf8))
                    let members = try await membership.members()
                    report(.leading(clusterID, agreement, members: members.filter { $0.role != .spare }.map(\.id)))
                }
                return
            } catch let error as DecodingError {
                note(
                    warning:
                        "the database does not say how this cluster was agreed on (\(error)): was it written to by hand?"
                )
                return
            } catch {
                logger.debug(
                    isPublished ? "the new leader cannot write yet" : "the new leader cannot read its database yet",
                    metadata: ["error": "\(error)"])
                try? await Task.sleep(for: isPublished ? Self.writePause : .milliseconds(5))
            }
        }
    }

    /// Between two attempts of a new leader to write.
    private static let writePause: Duration = .milliseconds(50)

    /// What a new leader writes, once what is configured is being acted on.
    private func writeAtTakeUp() async throws {
        if let writesRefused { throw PortFailure(reason: .noSpace, text: writesRefused) }
        try await store.confirmLead()
        try await setInitialAddresses()
        try await store.apply(.describeNode(ownEntry))
        try await refreshConfiguration()
        spread(configuration)
    }

    /// `--vip`, unless addresses are or were configured.
    private func setInitialAddresses() async throws {
        guard configuration.addresses.isEmpty, !settings.initialAddresses.isEmpty else { return initialClash = nil }
        await refreshMembers()
        initialClash = clash(settings.initialAddresses)
        if let initialClash {
            return logger.error("\(Logger.Message(stringLiteral: "--vip \(initialClash); it is not set"))")
        }
        try await store.apply(.setAddressesIfNone(settings.initialAddresses))
    }

    private func clash(_ addresses: [String]) -> AddressClash? {
        AddressClash.find(addresses, facts.current.members) { self.facts.address(of: $0) }
    }

    /// Asks the leader what is configured, to be prepared, until it has said so.
    private func hearConfiguration() async {
        while !Task.isCancelled {
            if facts.current.isFormed, let configuration = try? await currentConfiguration() {
                return heard(configuration)
            }
            try? await Task.sleep(for: .milliseconds(250))
        }
    }

    var ownEntry: ReplicatedConfiguration.NodeEntry {
        .init(
            dqliteID: record.dqliteID, nodeID: record.nodeID.description, name: settings.name,
            isNonVoter: settings.nonVoter, failureDomain: settings.membership.failureDomain)
    }

    // MARK: - Members

    /// Reads the members into the facts, if they can be read.
    func refreshMembers() async { _ = try? await membership.members() }

    /// The local node is about to have other members; it may not have stored them yet.
    func configurationPassed() async {
        await tellRelay()
        try? await Task.sleep(for: .milliseconds(300))
        await tellRelay()
    }

    /// Who leads, as this node knows.
    var leadership: Leadership {
        let facts = facts.current
        guard let local = facts.local else { return Leadership() }
        var leadership = local.monitor.current
        if leadership.leader == nil, let own = facts.members.first(where: { $0.id == local.dqliteID }),
            own.role != .voter
        {
            leadership.leader =
                own.role == .spare
                ? facts.roster.flatMap { $0.isFresh(now: BootClock.now) ? $0.roster.leader : nil }
                : local.observer.recentLeader(within: settings.timing.electionTimeout * 2)
        }
        return leadership
    }

    /// Where the leader is, as this node knows.
    var leaderAddress: HostPort? {
        let facts = facts.current
        guard let leader = leadership.leader,
            let member = facts.members.first(where: { $0.id == leader })
        else { return nil }
        return leader == facts.local?.dqliteID ? settings.advertised : self.facts.address(of: member)
    }
}

extension ClusterNode {
    /// What this node says of itself when the shell, not the bootstrap, asks a peer.
    var view: NodeView {
        let record = record
        return NodeView(
            nodeID: record.nodeID, name: settings.name, dqliteID: record.dqliteID, generation: record.generation,
            address: settings.advertised, clusterName: settings.clusterName, expect: settings.bootstrapOptions.expect,
            nonVoter: settings.nonVoter, phase: facts.current.isFormed ? .formed : .joining, clusterID: record.clusterID
        )
    }
}
