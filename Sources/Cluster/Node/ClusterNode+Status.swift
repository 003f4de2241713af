import Dqlite
import Lease
import Platform

/// What a node tells of itself and of its cluster.
public struct ClusterStatus: Sendable {
    public enum State: String, Sendable {
        case forming, joining, formed, removed
    }

    public var nodeID: String
    /// 0 while the node takes no part in raft.
    public var dqliteID: DqliteNodeID
    public var address: HostPort
    public var clusterID: String?
    public var state: State
    public var waitingFor: String
    public var leadership: Leadership
    public var members: [DqliteMember]
    /// Last seen; current on the leader.
    public var configuration: ReplicatedConfiguration
    public var warnings: [String]
    /// Questions to the local node about leadership that it did not answer in time.
    public var unansweredPolls: UInt64
    /// Since when members do not answer the leader, by their id; nil while the leader's word is not known.
    public var goneSince: [DqliteNodeID: WallTime]?
    /// Where members are that are not where raft's configuration says, this node among them, as far as is known.
    public var places: [DqliteNodeID: String] = [:]

    /// Members that answer the leader and take nothing from it.
    public var stuck: Set<DqliteNodeID> = []

    /// How many voters may fail at once, now; nil while that is not known, or there is no majority as it is.
    public var failuresSurvived: Int? {
        guard let goneSince else { return nil }
        let voters = members.filter { $0.role == .voter }
        return RoleCore.failuresSurvived(
            voters: voters.count, reachable: voters.count { goneSince[$0.id] == nil && !stuck.contains($0.id) })
    }
}

extension ClusterNode {
    /// This node's view, without asking anybody else.
    public func status() async -> ClusterStatus {
        await refreshMembers()
        let facts = facts.current
        let state: ClusterStatus.State
        if facts.isFormed {
            state = .formed
        } else if case .joining = record.state {
            state = .joining
        } else if case .removed = record.state {
            state = .removed
        } else {
            state = .forming
        }
        var status = ClusterStatus(
            nodeID: record.nodeID.description, dqliteID: facts.local?.dqliteID ?? 0, address: settings.advertised,
            clusterID: facts.clusterID, state: state, waitingFor: waitingFor,
            leadership: leadership, members: facts.members,
            configuration: configuration,
            warnings: warnings + [clashWarning].compactMap { $0 } + moveWarnings + stuckWarnings,
            unansweredPolls: facts.local?.monitor.unanswered ?? 0,
            goneSince: facts.roster.flatMap { $0.isFresh(now: BootClock.now) ? $0.roster : nil }.map { roster in
                Dictionary(
                    roster.members.compactMap { member in member.goneSince.map { (member.id, $0) } },
                    uniquingKeysWith: { first, _ in first })
            })
        if status.goneSince != nil {
            status.stuck = Set(facts.roster?.roster.members.filter { $0.isStuck == true }.map(\.id) ?? [])
        }
        for member in status.members {
            let place = member.id == status.dqliteID ? settings.advertised : self.facts.address(of: member)
            if let place, place.description != member.address { status.places[member.id] = place.description }
        }
        return status
    }

    private var clashWarning: String? {
        guard let initialClash, configuration.addresses.isEmpty else { return nil }
        return "--vip \(initialClash); it is not set: correct --vip, and set an address with `dqlite-vip vip set`"
    }

    private var stuckWarnings: [String] {
        guard leads else { return [] }
        return stuckVoters.reported.sorted().map { id in
            "\(name(of: id)) answers this leader and takes nothing from it, so that it cannot replace one that fails: the lead is "
                + "handed over once, which usually mends it; if this stays, look at the disk of that node, restart dqlite-vip there, "
                + "and if it comes back empty its data directory: it then joins as a new node"
        }
    }

    /// A member as people know it.
    func name(of id: DqliteNodeID) -> String {
        let name = configuration.nodes.first { $0.dqliteID == id }?.name ?? ""
        let member = facts.current.members.first { $0.id == id }
        let place = member.map { self.facts.address(of: $0)?.description ?? $0.address } ?? "an unknown address"
        return name.isEmpty ? "node \(id) at \(place)" : "\(name) (node \(id)) at \(place)"
    }

    private var moveWarnings: [String] {
        guard leads else { return [] }
        return movesWaitFor.sorted { $0.key < $1.key }.map { id, reason in
            "the address of node \(id) is being changed, which is not finished: \(reason); start that node, or give it up with "
                + "`dqlite-vip node remove \(id)`"
        }
    }

    /// The proof that this node leads a formed cluster and acts on its committed configuration: the term, and until when
    /// it holds. nil when it does not lead, or has not yet said `tookUp` for this term.
    ///
    /// Callable from any thread, without waiting.
    public nonisolated var leadershipProof: (term: UInt64, end: BootInstant)? {
        let facts = facts.current
        guard facts.isFormed, !facts.isSuspended, let local = facts.local, let configured = facts.configuredTerm else {
            return nil
        }
        if let giving = facts.giving, let until = giving.until, giving.term == configured {
            let now = BootClock.now
            // The successor is told to stand: the lease is over, and what is held is kept until he has it, for a moment at most.
            // Where he does not take it this node has a lease anew, and nothing else proves anything in this term: the local
            // node says that it leads until it has noticed that it does not.
            let relay = local.relayFacts.current
            // Not after a vote for somebody else, and not longer than the lease would have lasted.
            let kept = relay.lease.term == configured ? relay.lease.kept(now: now).map { min($0, until) } : nil
            let lease = local.relayFacts.lease(now: now).flatMap { $0.term == configured ? $0.end : nil }
            guard let end = [kept, lease].compactMap({ $0 }).max(), end > now else { return nil }
            return (configured, end)
        }
        guard let proof = local.proof(members: facts.members), proof.term == configured else { return nil }
        return proof
    }

    /// Whether this node leads a formed cluster as far as it knows, also when it cannot prove it (yet).
    ///
    /// Callable from any thread, without waiting.
    public nonisolated var leads: Bool {
        let facts = facts.current
        return facts.isFormed && facts.local?.monitor.current.isLeader == true
    }

    /// Leaders whose process ended while this node followed them: when the last of them did, and from when on their hosts have
    /// answered all that was asked; nil when there are none. A process that was heard again has not ended.
    ///
    /// Callable from any thread, without waiting.
    public nonisolated var predecessors: (endedAt: BootInstant, answeredSince: BootInstant?)? {
        facts.current.local?.relayFacts.current.predecessors.map { ($0.endedAt, $0.answeredSince) }
    }

    /// Asks the hosts of these leaders, by their cluster ports. `onAnswer` is called when `predecessors` has changed by that;
    /// it must not block.
    public nonisolated func inquire(_ onAnswer: @escaping @Sendable () -> Void) {
        facts.current.local?.inquire(onAnswer)
    }

    /// Says that whoever acts on the configuration has that of the term now, so that the lead of that term counts.
    ///
    /// What was configured while another node led may not be known here before it is read anew; acting on older knowledge
    /// could set an address that was taken away.
    public nonisolated func tookUp(term: UInt64) {
        facts.update { $0.configuredTerm = term }
    }
}
