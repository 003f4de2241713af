import Platform

@testable import Cluster

/// Watches all disks and all clusters at once, which no node can.
struct SimChecker {
    let seed: UInt64
    /// Looks only at what the user would see, two clusters, and not at what leads there.
    let onlyClusters: Bool
    /// Every agreement that a node ever promised itself to, with the index of the host.
    private(set) var promises: [(host: Int, nodeID: NodeID, agreement: Agreement)] = []
    /// Hosts whose raft directory was emptied since their last start.
    private var raftWiped: [Int] = []
    /// Identities whose disk is gone.
    private(set) var lost: [NodeID] = []
    private var identities: [(host: Int, nodeID: NodeID)] = []
    /// How many records became `.formed`.
    private(set) var formedHosts = 0

    init(seed: UInt64, onlyClusters: Bool) {
        self.seed = seed
        self.onlyClusters = onlyClusters
    }

    private func violation(_ text: String) -> Simulation.Violation {
        Simulation.Violation(seed: seed, description: text)
    }

    mutating func forget(_ host: Int) {
        lost += identities.filter { $0.host == host }.map(\.nodeID)
        identities.removeAll { $0.host == host }
    }

    mutating func raftWiped(_ host: Int) {
        raftWiped.append(host)
    }

    /// A record is about to be written.
    mutating func check(_ host: Int, _ old: NodeRecord?, _ new: NodeRecord, _ world: Simulation) throws {
        if case .formed = new.state { formedHosts += 1 }
        guard let old else {
            identities.append((host, new.nodeID))
            guard case .fresh = new.state else { throw violation("n\(host) begins in \(new.state)") }
            return
        }
        if old.nodeID != new.nodeID {
            guard raftWiped.contains(host) else { throw violation("n\(host) changes its node id") }
            forget(host)
            identities.append((host, new.nodeID))
            raftWiped.removeAll { $0 == host }
            return
        }
        if onlyClusters { return }
        guard new.generation >= old.generation else { throw violation("n\(host) goes back in generations") }
        guard isLegal(old, new) else {
            throw violation("I5: n\(host) goes from \(SimTrace.text(old.state)) to \(SimTrace.text(new.state))")
        }
        if case .agreed(let agreement) = new.state, old.state != new.state {
            try checkExclusive(host, new.nodeID, agreement, world)
            promises.append((host, new.nodeID, agreement))
        }
    }

    private func isLegal(_ old: NodeRecord, _ new: NodeRecord) -> Bool {
        if old.state == new.state { return true }
        switch (old.state, new.state) {
        case (.fresh, .agreed): return true
        case (.fresh, .founding(let agreement, _, .creating)): return agreement.members.count == 1
        case (.fresh, .joining(_, nil, false)), (.withdrawn, .joining(_, nil, false)): return true
        case (.agreed(let before), .agreed(let after)):
            // Only the founder's own, to which not all have agreed.
            return before.founder == old.nodeID && after.founder < before.founder
        case (.agreed(let before), .fresh): return before.founder == old.nodeID || new.generation > old.generation
        case (.agreed(let before), .withdrawn(let after)): return before == after && new.generation > old.generation
        case (.agreed(let before), .founding(let after, _, .creating)):
            return before == after && after.founder == old.nodeID && new.dqliteID == DqliteID.bootstrap
        case (.agreed(let before), .joining(_, .some(let after), false)): return before == after
        case (.agreed, .joining(_, nil, false)): return new.generation > old.generation
        case (.withdrawn, .fresh): return true
        case (.founding(let a, let b, .creating), .founding(let c, let d, .inviting)): return a == c && b == d
        case (.founding(let a, let b, .inviting), .founding(let c, let d, .admitting)): return a == c && b == d
        case (.founding, .fresh), (.joining(_, .some, _), .fresh): return new.generation > old.generation
        case (.founding, .joining(_, nil, false)), (.joining(_, .some, _), .joining(_, nil, false)):
            return new.generation > old.generation
        case (.joining(let a, let b, false), .joining(let c, let d, true)): return a == c && b == d
        case (.founding(_, let before, _), .formed(let after)), (.joining(let before, _, _), .formed(let after)):
            return before == after
        default: return false
        }
    }

    /// I5, seen from outside: whoever promises itself again was released by the death of every earlier agreement.
    private func checkExclusive(
        _ host: Int, _ nodeID: NodeID, _ agreement: Agreement, _ world: Simulation
    ) throws {
        for promise in promises where promise.nodeID == nodeID && promise.agreement.proposal != agreement.proposal {
            if !isDead(promise.agreement, besides: nodeID, world) {
                throw violation(
                    "I5: n\(host) agrees to \(agreement.proposal.short) while \(promise.agreement.proposal.short) can still be formed"
                )
            }
        }
    }

    /// Whether a cluster with this agreement can never be formed, given that `nodeID` is about to leave it.
    private func isDead(_ agreement: Agreement, besides nodeID: NodeID, _ world: Simulation) -> Bool {
        let group = world.raft.groups.first { $0.agreement?.proposal == agreement.proposal }
        if group?.formed == true { return false }
        // Not more than the founder was ever in it, and the founder has dropped it.
        let founderHolds = world.hosts.contains { host in
            guard let record = host.record, record.nodeID == agreement.founder, record.nodeID != nodeID else {
                return false
            }
            switch record.state {
            case .agreed(let own), .founding(let own, _, _): return own.proposal == agreement.proposal
            default: return false
            }
        }
        if !founderHolds, group?.grew != true { return true }
        // Or fewer than a majority can still be members.
        let left = agreement.members.count { member in
            !world.hosts.contains { host in
                guard let record = host.record, record.nodeID == member.nodeID else { return false }
                return record.generation == member.generation
            }
        }
        return left >= agreement.fatalLosses
    }

    /// A cluster has just been formed.
    func formed(_ group: Int, _ world: Simulation) throws {
        let formed = world.raft.groups.indices.filter { world.isFormed($0) }
        if formed.count > 1 {
            throw violation("I1: \(formed.count) clusters are formed: groups \(formed)")
        }
        guard let agreement = world.raft.groups[group].agreement else {
            throw violation("a cluster without agreement is formed")
        }
        let members = world.raft.groups[group].voters.count { voter in
            agreement.members.contains { $0.dqliteID == voter.dqliteID }
        }
        if members < agreement.majority {
            throw violation("I1: formed with \(members) of the \(agreement.majority) members needed")
        }
    }
}

extension Simulation {
    /// A formed cluster that the store has not taken for dead.
    func isFormed(_ index: Int) -> Bool {
        let group = raft.groups[index]
        return group.formed && !store.lapsed.contains { $0 == group.clusterID }
    }

    /// All that are up say that they are in the one formed cluster: so they must be.
    func checkEnd() throws {
        let said = hosts.first { !$0.dead }?.record?.clusterID
        guard let group = raft.groups.firstIndex(where: { $0.formed && $0.clusterID == said }) else {
            throw Violation(seed: schedule.seed, description: "nodes say formed, and no cluster is")
        }
        for index in hosts.indices where !hosts[index].dead {
            guard let record = hosts[index].record, record.clusterID == raft.groups[group].clusterID,
                hosts[index].raft.group == group,
                raft.groups[group].voters.contains(where: { $0.dqliteID == record.dqliteID && $0.host == index })
            else {
                throw Violation(
                    seed: schedule.seed, description: "n\(index) says it is a member of the formed cluster and is not")
            }
        }
    }

    /// I7 is not met. That is allowed only when a disk that is gone for ever held what the others cannot do without.
    func overdue() throws -> Outcome {
        func gone(_ id: NodeID) -> Bool {
            !hosts.contains { !$0.dead && $0.record?.nodeID == id }
        }
        if let group = raft.groups.firstIndex(where: \.formed) {
            let alive = raft.groups[group].voters.count { voter in
                !hosts[voter.host].dead && hosts[voter.host].raft.dqliteID == voter.dqliteID
                    && hosts[voter.host].raft.group == group
            }
            if 2 * alive <= raft.groups[group].voters.count {
                return .stuckForLostDisk(why: "the formed cluster has lost its majority")
            }
        }
        for host in hosts where !host.dead {
            switch host.record?.state {
            case .joining(_, .some(let agreement), _), .founding(let agreement, _, .admitting),
                .withdrawn(let agreement):
                if agreement.members.contains(where: { gone($0.nodeID) }) {
                    return .stuckForLostDisk(why: "an unformed cluster has lost a member")
                }
            case .fresh, .agreed, .founding, .joining, .formed, .removed, nil:
                break
            }
        }
        let states = hosts.map { host in
            host.dead
                ? "dead" : (!host.isUp ? "down " : "") + (host.record.map { SimTrace.text($0.state) } ?? "none")
        }
        throw Violation(
            seed: schedule.seed,
            description:
                "I7: no cluster of all within \(Double(schedule.bound) / 1e9) s after the last fault: \(states)")
    }
}
