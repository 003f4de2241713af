import Dqlite
import Platform

/// Which member should have which role: what the leader does next to keep the cluster able to survive a failure.
///
/// A pure function of what is committed and of who can be reached. It names at most one change, because raft takes one at a
/// time; after it, it is asked again. Each change is such that a majority of the voters can be reached before and after it,
/// without the help of nodes that are only hoped for. DOC/MEMBERSHIP.md gives the reasons of the order.
struct RoleCore: Sendable, Equatable {
    /// Whether a member answers the leader.
    enum Presence: Sendable, Hashable {
        /// Without interruption since then.
        case reachable(since: BootInstant)
        /// Not any more since then.
        case gone(since: BootInstant)
    }

    struct Member: Sendable, Hashable {
        var id: DqliteNodeID
        /// As committed.
        var role: DqliteRole
        /// Started with `--non-voter`.
        var isNonVoter = false
        /// `--failure-domain`; nodes that give none are taken to share one.
        var failureDomain: String?
        var presence: Presence
        /// Since when it is gone when the leader before had missed it already; only reaping counts that. nil: since `presence`
        /// says.
        var absentSince: BootInstant?

        /// It answers and takes nothing from the leader: it is no copy that could be counted on, and no reason to give its place
        /// away either.
        var isStuck = false

        /// Whether it counts when others are lost.
        var isReachable: Bool { if case .reachable = presence { !isStuck } else { false } }
    }

    enum Decision: Sendable, Hashable {
        case assign(DqliteNodeID, DqliteRole, Reason)
        case remove(DqliteNodeID)
        /// Nothing to do; something may be due at this time, even if nothing happens.
        case nothing(until: BootInstant?)
    }

    /// Why a role is given, for the log.
    enum Reason: String, Sendable, Hashable {
        case voterMissing = "a voter is missing"
        case voterGone = "it cannot be reached"
        case tooManyVoters = "there are more voters than wanted"
        case nonVoter = "it was started with --non-voter"
        case standbyMissing = "a stand-by is missing"
        case tooManyStandbys = "there are more stand-bys than wanted"
    }

    /// How many voters there should be; odd.
    var voters: Int
    /// More are taken back even if the cluster then survives fewer failures.
    var mayShrink: Bool
    var standbys: Int
    var demoteAfter: Duration
    var reapAfter: MembershipOptions.ReapTimes
    /// How long a node has to be there before it gets a better role: one that comes and goes is no help.
    var steadyAfter: Duration = .seconds(1)
    /// The fewest voters that reaping leaves: below three no failure is survived.
    static let fewestAfterReaping = 3

    init(policy: RolePolicy, options: MembershipOptions) {
        voters = policy.voters
        mayShrink = options.votersAreGiven
        standbys = options.standbys
        demoteAfter = options.demoteAfter
        reapAfter = options.reapAfter
    }

    static func majority(of voters: Int) -> Int { voters / 2 + 1 }

    /// How many of the voters may fail at once, now, without the cluster losing its leader for good; nil: it has no majority
    /// as it is.
    static func failuresSurvived(voters: Int, reachable: Int) -> Int? {
        let left = reachable - majority(of: voters)
        return voters > 0 && left >= 0 ? left : nil
    }

    /// What to do next.
    ///
    /// - Parameters:
    ///   - members: all, as committed; this node counts as reachable whatever it says.
    ///   - own: the leader, which never gives itself another role.
    func decide(_ members: [Member], own: DqliteNodeID, now: BootInstant) -> Decision {
        let view = View(members, own: own, core: self, now: now)
        // Without a majority nothing can be committed; with a proposal under way that waits for the dead, less than nothing.
        guard view.voters.contains(where: { $0.id == own }), view.isSafe(view.voters) else {
            return .nothing(until: view.nextDeadline)
        }
        return surplusVoter(view) ?? missingVoter(view) ?? uselessVoter(view) ?? standbys(view) ?? reaped(view)
            ?? .nothing(until: view.nextDeadline)
    }

    // MARK: - Voters

    /// More voters than wanted: one that is gone goes first.
    private func surplusVoter(_ view: View) -> Decision? {
        guard view.voters.count > voters else { return nil }
        if let lost = view.longestGone(of: .voter) { return demote(lost, .voterGone, view) }
        let others = view.voters.filter { $0.id != view.own }
        if let member = others.first(where: \.isNonVoter) { return demote(member, .nonVoter, view) }
        // One of an even number costs nothing; one of an odd number does, so it takes the operator's word. While one is silent
        // that may turn out to be the one.
        guard mayShrink || view.voters.count.isMultiple(of: 2), others.allSatisfy(\.isReachable) else { return nil }
        let crowd = view.crowd(of: view.voters)
        guard
            let member = others.max(by: { first, second in
                let (left, right) = (crowd[first.domain] ?? 0, crowd[second.domain] ?? 0)
                return left != right ? left < right : first.id < second.id
            })
        else { return nil }
        return demote(member, .tooManyVoters, view)
    }

    /// Fewer voters than wanted, those not counted that are gone: the replacement comes before the dead one goes.
    private func missingVoter(_ view: View) -> Decision? {
        let useful = view.voters.filter { !view.isLost($0) && !$0.isNonVoter }
        guard useful.count < voters, view.voters.count <= voters else { return nil }
        let crowd = view.crowd(of: useful)
        let candidates = view.members.filter { $0.role != .voter && !$0.isNonVoter && view.isSteady($0) }
        let best = candidates.min { first, second in
            let left = (crowd[first.domain] ?? 0, first.role.rawValue, first.id)
            let right = (crowd[second.domain] ?? 0, second.role.rawValue, second.id)
            // What has the data already is a voter in a moment; among such, another failure domain.
            return (left.1, left.0, left.2) < (right.1, right.0, right.2)
        }
        guard let best, view.isSafe(view.voters + [best]) else { return nil }
        return .assign(best.id, .voter, .voterMissing)
    }

    /// Voters that are no use and that nobody can replace: without a dead one of an even number the majority is smaller.
    private func uselessVoter(_ view: View) -> Decision? {
        if let member = view.voters.first(where: { $0.isNonVoter && $0.isReachable && $0.id != view.own }) {
            return demote(member, .nonVoter, view)
        }
        guard view.voters.count >= 4, view.voters.count.isMultiple(of: 2), let lost = view.longestGone(of: .voter)
        else { return nil }
        return demote(lost, .voterGone, view)
    }

    private func demote(_ member: Member, _ reason: Reason, _ view: View) -> Decision? {
        guard view.isSafe(view.voters.filter { $0.id != member.id }) else { return nil }
        let hasRoom = view.members.count { $0.role == .standby } < standbys
        let role: DqliteRole = member.isReachable && !member.isNonVoter && hasRoom ? .standby : .spare
        return .assign(member.id, role, reason)
    }

    // MARK: - The others

    private func standbys(_ view: View) -> Decision? {
        let present = view.members.filter { $0.role == .standby }
        if let member = present.first(where: \.isNonVoter) { return .assign(member.id, .spare, .nonVoter) }
        if present.count > standbys {
            let member = view.longestGone(of: .standby) ?? present.max { $0.id < $1.id }
            return member.map { .assign($0.id, .spare, .tooManyStandbys) }
        }
        let spare = view.members.filter { $0.role == .spare && !$0.isNonVoter && view.isSteady($0) }
            .min { $0.id < $1.id }
        guard let spare else { return nil }
        if present.count < standbys { return .assign(spare.id, .standby, .standbyMissing) }
        return view.longestGone(of: .standby).map { .assign($0.id, .spare, .voterGone) }
    }

    private func reaped(_ view: View) -> Decision? {
        for member in view.members where member.id != view.own {
            guard let due = view.reapTime(of: member), due <= view.now else { continue }
            if member.role == .voter {
                let rest = view.voters.filter { $0.id != member.id }
                guard rest.count >= Self.fewestAfterReaping, view.isSafe(rest) else { continue }
            }
            return .remove(member.id)
        }
        return nil
    }
}

extension RoleCore {
    /// Why a member cannot be removed now; nil when it can. Of the leader itself it is not asked.
    static func objection(toRemoving id: DqliteNodeID, _ members: [Member], own: DqliteNodeID) -> String? {
        let voters = members.filter { $0.role == .voter }
        func reachable(_ list: [Member]) -> Int { list.count { $0.id == own || $0.isReachable } }
        guard reachable(voters) >= majority(of: voters.count) else {
            return "only \(reachable(voters)) of the \(voters.count) voters can be reached, and no change can be "
                + "committed without \(majority(of: voters.count)) of them: start the others first"
        }
        let rest = voters.filter { $0.id != id }
        guard rest.count < voters.count, reachable(rest) < majority(of: rest.count) else { return nil }
        return "the cluster would lose its quorum: of the \(rest.count) voters that remain \(reachable(rest)) can be "
            + "reached, and \(majority(of: rest.count)) are needed: start the others first, or remove those that are gone for good"
    }
}

extension RoleCore {
    /// What is derived from the members for one decision.
    private struct View {
        let members: [Member]
        let voters: [Member]
        let own: DqliteNodeID
        let core: RoleCore
        let now: BootInstant

        init(_ members: [Member], own: DqliteNodeID, core: RoleCore, now: BootInstant) {
            // In one order, so that the same members always give the same decision.
            self.members = members.sorted { $0.id < $1.id }.map { member in
                var member = member
                if member.id == own {
                    member.presence = .reachable(since: BootInstant(nanoseconds: 0))
                    // Another has to lead before it can stop voting.
                    member.isNonVoter = false
                    member.isStuck = false
                }
                return member
            }
            voters = self.members.filter { $0.role == .voter }
            self.own = own
            self.core = core
            self.now = now
        }

        func isSafe(_ voters: [Member]) -> Bool {
            !voters.isEmpty && voters.count(where: \.isReachable) >= RoleCore.majority(of: voters.count)
        }

        func isSteady(_ member: Member) -> Bool {
            guard case .reachable(let since) = member.presence, !member.isStuck else { return false }
            return since.advanced(by: core.steadyAfter) <= now
        }

        /// Gone for so long that another takes its place.
        func isLost(_ member: Member) -> Bool {
            guard case .gone(let since) = member.presence else { return false }
            return since.advanced(by: core.demoteAfter) <= now
        }

        func longestGone(of role: DqliteRole) -> Member? {
            members.filter { $0.role == role && isLost($0) }
                .min { first, second in
                    guard case .gone(let left) = first.presence, case .gone(let right) = second.presence else {
                        return false
                    }
                    return left != right ? left < right : first.id < second.id
                }
        }

        /// How many of them share each failure domain.
        func crowd(of members: [Member]) -> [String: Int] {
            members.reduce(into: [:]) { $0[$1.domain, default: 0] += 1 }
        }

        func reapTime(of member: Member) -> BootInstant? {
            guard case .gone(let since) = member.presence else { return nil }
            let time =
                switch member.role {
                case .voter: core.reapAfter.voter
                case .standby: core.reapAfter.standBy
                case .spare: core.reapAfter.spare
                }
            guard let time else { return nil }
            let alone = since.advanced(by: time)
            guard let absent = member.absentSince else { return alone }
            // The word of another counts from when this leader has missed the member for a while, too.
            return min(alone, max(absent.advanced(by: time), since.advanced(by: core.demoteAfter)))
        }

        /// When time alone may change the decision.
        var nextDeadline: BootInstant? {
            members.flatMap { member -> [BootInstant] in
                switch member.presence {
                case .reachable(let since): [since.advanced(by: core.steadyAfter)]
                case .gone(let since): [since.advanced(by: core.demoteAfter)] + [reapTime(of: member)].compactMap { $0 }
                }
            }.filter { $0 > now }.min()
        }
    }
}

extension RoleCore.Member {
    fileprivate var domain: String { failureDomain ?? "" }
}
