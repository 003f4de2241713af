import Platform

@testable import Cluster

/// Raft as far as the bootstrap sees it: a configuration, a database with two facts in it, and one leader at a time that
/// commits when a majority of the configuration is up, has its data, and can be reached.
struct SimRaft {
    /// The raft directory of a host.
    struct Disk {
        /// The id of our marker; nil: the directory is empty.
        var dqliteID: UInt64?
        /// The group whose log it holds; nil: it was never added to one.
        var group: Int?

        var isEmpty: Bool { dqliteID == nil }
    }

    struct Voter {
        var dqliteID: UInt64
        var host: Int
    }

    struct Group {
        var voters: [Voter]
        var clusterID: ClusterID?
        var agreement: Agreement?
        var formed = false
        var leader: Int?
        /// Others than the founder were added once.
        var grew = false
    }

    var groups: [Group] = []
}

extension Simulation {
    private func violation(_ text: String) -> Violation { Violation(seed: schedule.seed, description: text) }

    mutating func startNode(_ index: Int, _ dqliteID: UInt64, _ founding: Bool) throws {
        guard let record = hosts[index].record, record.dqliteID == dqliteID, !record.wipePending else {
            throw violation("n\(index) starts its dqlite node under another id than that on disk")
        }
        if let owner = hosts[index].raft.dqliteID, owner != dqliteID {
            throw violation("n\(index) starts dqlite id \(dqliteID) on the data of \(owner)")
        }
        if hosts[index].raft.isEmpty, dqliteID == DqliteID.bootstrap {
            guard founding, case .founding(let agreement, _, .creating) = record.state,
                agreement.founder == record.nodeID
            else { throw violation("n\(index) bootstraps although it is not the founder on disk") }
            raft.groups.append(SimRaft.Group(voters: [SimRaft.Voter(dqliteID: dqliteID, host: index)]))
            hosts[index].raft.group = raft.groups.count - 1
        }
        hosts[index].raft.dqliteID = dqliteID
        hosts[index].nodeRuns = true
        post(
            .event(.nodeStarted(dqliteID: dqliteID), host: index, incarnation: hosts[index].incarnation),
            2_000_000 + Int64(random.below(20_000_000)))
    }

    private func isAlive(_ voter: SimRaft.Voter, in group: Int) -> Bool {
        let host = hosts[voter.host]
        return host.nodeRuns && host.raft.group == group && host.raft.dqliteID == voter.dqliteID
    }

    private func connected(_ one: Int, _ other: Int) -> Bool {
        one == other || !(blocked[one * hosts.count + other] || blocked[other * hosts.count + one])
    }

    /// `leader` reaches a majority of the voters, itself counted.
    private func hasQuorum(_ leader: Int, _ voters: [SimRaft.Voter], _ group: Int) -> Bool {
        var count = 0
        var isVoter = false
        for voter in voters where isAlive(voter, in: group) && connected(leader, voter.host) {
            count += 1
            if voter.host == leader { isVoter = true }
        }
        return isVoter && 2 * count > voters.count
    }

    private func ledGroup(_ host: Int) -> Int? {
        guard let group = hosts[host].raft.group, raft.groups[group].leader == host, hosts[host].nodeRuns,
            hasQuorum(host, raft.groups[group].voters, group)
        else { return nil }
        return group
    }

    mutating func tickRaft() throws {
        for group in raft.groups.indices {
            if let leader = raft.groups[group].leader {
                if hasQuorum(leader, raft.groups[group].voters, group) { continue }
                try lead(group, nil)
            } else {
                let voters = raft.groups[group].voters
                let first = Int(random.below(UInt64(voters.count)))
                for offset in voters.indices {
                    let candidate = voters[(first + offset) % voters.count]
                    if isAlive(candidate, in: group), hasQuorum(candidate.host, voters, group) {
                        try lead(group, candidate.host)
                        break
                    }
                }
            }
        }
    }

    mutating func lead(_ group: Int, _ leader: Int?) throws {
        let old = raft.groups[group].leader
        raft.groups[group].leader = leader
        if let old, old != leader, hosts[old].isUp {
            post(.event(.notLeading, host: old, incarnation: hosts[old].incarnation), 1_000_000)
        }
        guard let leader else { return }
        trace?("\(time) group \(group) is led by n\(leader)")
        let current = raft.groups[group]
        guard let clusterID = current.clusterID, let agreement = current.agreement else { return }
        let event: BootstrapEvent =
            current.formed
            ? .becameFormed(clusterID)
            : .leading(clusterID, agreement, members: current.voters.map(\.dqliteID))
        post(.event(event, host: leader, incarnation: hosts[leader].incarnation), 1_000_000)
    }

    /// While the faults last, one report in ten says "failed" although it was committed: leadership lost.
    private mutating func report(_ success: BootstrapEvent, _ failure: BootstrapEvent, _ host: Int) {
        let lie = !calm && !schedule.isFaultless && random.below(10) == 0
        post(.event(lie ? failure : success, host: host, incarnation: hosts[host].incarnation), 500_000)
    }

    mutating func create(_ clusterID: ClusterID, _ agreement: Agreement, _ host: Int) throws {
        let failure = BootstrapEvent.databaseFailed(clusterID, reason: "")
        // A cluster of one leads as soon as it has started.
        if let group = hosts[host].raft.group, raft.groups[group].leader == nil { try lead(group, host) }
        guard let group = ledGroup(host) else {
            post(.event(failure, host: host, incarnation: hosts[host].incarnation), 500_000)
            return
        }
        if let existing = raft.groups[group].clusterID, existing != clusterID {
            throw violation("n\(host) creates cluster \(clusterID) in the database of \(existing)")
        }
        raft.groups[group].clusterID = clusterID
        raft.groups[group].agreement = agreement
        report(.databaseCreated(clusterID), failure, host)
    }

    mutating func admit(_ member: FoundingMember, _ clusterID: ClusterID, _ host: Int) throws {
        let failure = BootstrapEvent.admitFailed(member.nodeID, clusterID, reason: "")
        guard let group = ledGroup(host), raft.groups[group].clusterID == clusterID,
            let target = self.host(at: member.address), try add(member.dqliteID, target, to: group, by: host)
        else {
            post(.event(failure, host: host, incarnation: hosts[host].incarnation), 500_000)
            return
        }
        report(.admitted(member.nodeID, clusterID), failure, host)
    }

    /// Adds a voter; true when it is in the configuration afterwards.
    private mutating func add(_ dqliteID: UInt64, _ target: Int, to group: Int, by leader: Int) throws -> Bool {
        if raft.groups[group].voters.contains(where: { $0.dqliteID == dqliteID && $0.host == target }) { return true }
        guard hosts[target].nodeRuns, hosts[target].raft.dqliteID == dqliteID, connected(leader, target) else {
            return false
        }
        if let other = hosts[target].raft.group, other != group {
            throw violation("n\(target) is added to a second cluster with the data of the first")
        }
        // A node that lost its disk replaces the dead entry of its address.
        var voters = raft.groups[group].voters.filter { $0.host != target }
        guard hasQuorum(leader, voters, group) else { return false }
        voters.append(SimRaft.Voter(dqliteID: dqliteID, host: target))
        hosts[target].raft.group = group
        guard hasQuorum(leader, voters, group) else { return false }
        raft.groups[group].voters = voters
        raft.groups[group].grew = true
        trace?("\(time) group \(group) has voters \(voters.map(\.host))")
        return true
    }

    mutating func commitFormed(_ clusterID: ClusterID, _ host: Int) throws {
        let failure = BootstrapEvent.formedFailed(clusterID, reason: "")
        guard let group = ledGroup(host), raft.groups[group].clusterID == clusterID else {
            post(.event(failure, host: host, incarnation: hosts[host].incarnation), 500_000)
            return
        }
        if !raft.groups[group].formed {
            raft.groups[group].formed = true
            trace?("\(time) group \(group) is formed")
            try checker.formed(group, self)
        }
        report(.formedCommitted(clusterID), failure, host)
    }

    // MARK: what the shell of a formed node does

    mutating func answerJoin(_ join: JoinRequest, _ envelope: Envelope) {
        if ledGroup(envelope.to) != nil {
            post(.admitJoiner(join, envelope), operationTime())
        } else {
            let group = hosts[envelope.to].raft.group
            let leader = group.flatMap { raft.groups[$0].leader }
            respond(.redirect(leader: leader.map { hosts[$0].address }), envelope)
        }
    }

    mutating func admitJoiner(_ join: JoinRequest, _ envelope: Envelope) throws {
        guard hosts[envelope.to].core?.isFormed == true, let group = ledGroup(envelope.to),
            raft.groups[group].clusterID == join.clusterID, let target = host(at: join.address)
        else { return respond(.error("no quorum"), envelope) }
        if try add(join.dqliteID, target, to: group, by: envelope.to) {
            respond(.joined(join.clusterID, .voter), envelope)
        } else {
            respond(.error("not added"), envelope)
        }
    }
}
