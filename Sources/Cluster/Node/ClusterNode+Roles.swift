import Dqlite
import Logging
import Platform

/// The leader's care for the members: who can be reached, and that those who vote are there. What to do is `RoleCore`'s
/// decision.
extension ClusterNode {
    /// Between two looks at the members.
    private static let look: Duration = .milliseconds(500)
    /// The same while all is well: a look costs each member a connection.
    private static let calmLook: Duration = .seconds(1)
    /// How long a member may take to answer.
    private static let patience: Duration = .seconds(1)

    /// Goes on until it is cancelled: as the leader it keeps the roles, otherwise it makes sure that this node still is a
    /// member.
    func keepRoles() async {
        var watch: (term: UInt64, members: MemberWatch)?
        var standing = StandingWatch(now: BootClock.now)
        while !Task.isCancelled {
            var pause = Self.look
            if !isStopping, handingOver == nil, let term = leadershipProof?.term {
                var current = watch.flatMap { $0.term == term ? $0.members : nil } ?? newWatch()
                pause = await keepRoles(in: term, &current)
                watch = (term, current)
                standing = StandingWatch(now: BootClock.now)
            } else if !leads {
                watch = nil
                await considerStanding(&standing)
                if leadership.leader != nil { pause = Self.calmLook }
            }
            try? await rest(pause == Self.calmLook ? nil : pause)
        }
    }

    private func newWatch() -> MemberWatch {
        let now = BootClock.now
        return MemberWatch(now: now, absences: facts.current.roster?.absences(now: now) ?? [:])
    }

    /// One look at the members, and one change at most.
    ///
    /// - Returns: how long to wait before the next one.
    private func keepRoles(in term: UInt64, _ watch: inout MemberWatch) async -> Duration {
        guard let own = facts.current.local?.dqliteID, let members = try? await membership.members() else {
            return Self.look
        }
        let before = BootClock.now
        watch.keep(members.map(\.id), now: before)
        async let places = placesOfMoving(members)
        let answers = await attendances(members, roster(members, term, own, watch))
        let found = await places
        let now = BootClock.now
        for member in members where member.id != own {
            if answers[member.id] != nil { watch.answered(member.id, now: now) } else { watch.silent(member.id) }
        }
        let roster = roster(members, term, own, watch, answers)
        facts.update { $0.hear(roster, now: now) }
        guard leadershipProof?.term == term, handingOver == nil, !isStopping else { return Self.look }
        do {
            try await noteOptions(answers, members)
            if try await goOnWithMoves(present: Set(answers.keys).union([own]), found) { return settings.timing.hold }
            let entries = configuration.nodes
            let list = members.map { member in
                let entry = entries.first { $0.dqliteID == member.id }
                return RoleCore.Member(
                    id: member.id, role: member.role,
                    isNonVoter: member.id == own ? settings.nonVoter : entry?.isNonVoter == true,
                    failureDomain: entry?.failureDomain, presence: watch.presence(of: member.id),
                    absentSince: watch.absentSince(member.id), isStuck: stuckVoters.reported.contains(member.id))
            }
            let core = RoleCore(policy: settings.rolePolicy, options: settings.membership)
            let isCalm = answers.count == members.count - 1
            return try await perform(
                core.decide(list, own: own, now: now), members, look: isCalm ? Self.calmLook : Self.look)
        } catch {
            logger.debug("the roles of the members cannot be changed now", metadata: ["error": "\(error)"])
            return Self.look
        }
    }

    /// Carries out a decision.
    ///
    /// - Returns: how long to wait before the next one.
    private func perform(
        _ decision: RoleCore.Decision, _ members: [DqliteMember], look: Duration
    ) async throws -> Duration {
        switch decision {
        case .nothing(let until):
            let due = until.map { BootClock.now.duration(to: $0) } ?? look
            return min(look, max(.milliseconds(50), due))
        case .assign(let id, let role, let reason):
            guard let member = members.first(where: { $0.id == id }) else { return Self.look }
            do {
                try await membership.assign(member, role, of: members, reason: reason.rawValue) {
                    try await self.confirm($0)
                }
                lastRoleFailure = nil
            } catch {
                tellOnce(
                    "the role of a member could not be changed",
                    [
                        "node.dqlite_id": "\(id)", "node.address": "\(member.address)", "node.role": "\(role)",
                        "reason": "\(reason.rawValue)", "error": "\(error)",
                    ])
                // Whatever stands in the way is there for longer than a moment.
                return Self.look * 2
            }
        case .remove(let id):
            guard let member = members.first(where: { $0.id == id }) else { return Self.look }
            do {
                _ = try await remove(member, for: .reaped, force: false)
            } catch {
                tellOnce(
                    "a member that is gone could not be removed",
                    [
                        "node.dqlite_id": "\(id)", "node.address": "\(member.address)", "error": "\(error)",
                    ])
                return Self.look * 2
            }
        }
        // The lease is carried over one change. After that time it is one that the new voters give, or there is none, and then
        // nothing is changed.
        return settings.timing.hold
    }

    /// A warning, unless it is the same as the one before: what fails is tried again every second.
    private func tellOnce(_ message: Logger.Message, _ metadata: Logger.Metadata) {
        let failure = "\(message) \(metadata.sorted { $0.key < $1.key })"
        logger.log(level: failure == lastRoleFailure ? .debug : .warning, message, metadata: metadata)
        lastRoleFailure = failure
    }

    private func roster(
        _ members: [DqliteMember], _ term: UInt64, _ own: DqliteNodeID, _ watch: MemberWatch,
        _ answers: [DqliteNodeID: Attendance] = [:]
    ) -> Roster {
        let (now, wall) = (BootClock.now, WallTime.now)
        // Of who does not answer it is known what it said before, perhaps to the leader before.
        let (known, ownMACs) = (facts.current.roster?.roster, facts.current.ownMACs)
        return Roster(
            clusterID: facts.current.clusterID ?? "", term: term, leader: own,
            members: members.map { member in
                var entry = Roster.Member(id: member.id, address: member.address, role: member.role)
                entry.macs = member.id == own ? ownMACs : answers[member.id].map(\.macs) ?? known?.macs(of: member.id)
                if stuckVoters.reported.contains(member.id) { entry.isStuck = true }
                // One answer that is late, or not asked for yet, is no news.
                if member.id != own, let since = watch.absentSince(member.id), since.duration(to: now) > Self.patience {
                    let silence = since.duration(to: now).inMilliseconds
                    entry.silentFor = silence
                    entry.goneSince = WallTime(milliseconds: wall.milliseconds - silence)
                }
                return entry
            })
    }

    /// Tells the roster to all others and gathers who answers at the very address, under the very id.
    func attendances(_ members: [DqliteMember], _ roster: Roster) async -> [DqliteNodeID: Attendance] {
        let own = facts.current.local?.dqliteID
        return await withTaskGroup(of: (DqliteNodeID, Attendance?).self) { tasks in
            for member in members where member.id != own {
                tasks.addTask { [peers, view, facts] in
                    (member.id, try? await Self.attendance(of: member, facts.address(of: member), roster, view, peers))
                }
            }
            var found: [DqliteNodeID: Attendance] = [:]
            for await (id, answer) in tasks { found[id] = answer }
            return found
        }
    }

    private static func attendance(
        of member: DqliteMember, _ place: HostPort?, _ roster: Roster, _ view: NodeView, _ peers: PeerClient
    ) async throws -> Attendance {
        let address = try place ?? HostPort(parsing: member.address)
        let attendance: Attendance
        do {
            guard case .present(let answer) = try await peers.ask(.roster(roster), of: address, timeout: patience)
            else { throw PortFailure(reason: .malformed, text: "\(address) answered something else") }
            attendance = answer
        } catch let failure as PortFailure where failure.reason == .malformed {
            // A version that knows no rosters is there all the same.
            guard
                case .peer(.view(let view)) = try await peers.ask(.peer(.hello(view)), of: address, timeout: patience)
            else { throw failure }
            attendance = Attendance(
                dqliteID: view.dqliteID, nodeID: view.nodeID.description, name: view.name, isNonVoter: view.nonVoter)
        }
        guard attendance.dqliteID == member.id else {
            throw PortFailure(reason: .wrongNode, text: "node \(attendance.dqliteID) answers at \(address)")
        }
        return attendance
    }

    func confirm(_ member: DqliteMember) async throws {
        guard let roster = facts.current.roster?.roster else { return }
        _ = try await Self.attendance(of: member, facts.address(of: member), roster, view, peers)
    }

    /// Commits what the members say of themselves, so that it is known of those that are not there.
    private func noteOptions(_ answers: [DqliteNodeID: Attendance], _ members: [DqliteMember]) async throws {
        var isNews = false
        for (id, answer) in answers {
            let known = configuration.nodes.first { $0.dqliteID == id }
            var entry = ReplicatedConfiguration.NodeEntry(
                dqliteID: id, nodeID: answer.nodeID, name: answer.name, isNonVoter: answer.isNonVoter,
                failureDomain: answer.failureDomain)
            entry.labels = known?.labels
            guard known != entry else { continue }
            try await store.apply(.describeNode(entry))
            isNews = true
        }
        // A removal that came to nothing.
        for removal in configuration.removed ?? []
        where !removing.contains(removal.dqliteID) && members.contains(where: { $0.id == removal.dqliteID }) {
            try await store.apply(.forgetRemoval(removal.dqliteID))
            isNews = true
        }
        if isNews { try await refreshConfiguration() }
    }

    // MARK: - The others

    /// What this node says of itself when the leader calls the roll.
    func answer(_ roster: Roster, from peer: PortPeer) -> PortReply {
        guard !isStopping, let local = facts.current.local else {
            return .failed(PortFailure(reason: .notReady, text: "\(settings.advertised) takes part in no cluster now"))
        }
        let known = facts.current.roster
        if believes(roster, of: peer, local) {
            facts.update { $0.hear(roster, now: BootClock.now) }
            if known?.roster.leader != roster.leader { report(.leaderKnown(leaderAddress)) }
        }
        return .present(
            Attendance(
                dqliteID: local.dqliteID, nodeID: record.nodeID.description, name: settings.name,
                isNonVoter: settings.nonVoter, failureDomain: settings.membership.failureDomain,
                macs: facts.current.ownMACs))
    }

    /// Tells one member who the members are, at once, so that a new spare need not wait for it.
    func callRoll() async {
        guard let roster = facts.current.roster?.roster, let own = facts.current.local?.dqliteID, leads else { return }
        var news = roster
        news.members = facts.current.members.map { member in
            let known = roster.members.first { $0.id == member.id }
            return Roster.Member(
                id: member.id, address: member.address, role: member.role, goneSince: known?.goneSince,
                silentFor: known?.silentFor, isStuck: known?.isStuck, macs: known?.macs)
        }
        guard news.leader == own else { return }
        _ = await attendances(facts.current.members, news)
    }
}
