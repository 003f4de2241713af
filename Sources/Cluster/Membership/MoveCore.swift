import Dqlite
import Platform

/// A member whose address is being changed, which raft does by removing and adding it: written down before the removal, and
/// crossed out when the member has its role again. Whoever leads meanwhile brings it to its end.
public struct MovingNode: Codable, Sendable, Equatable {
    public var dqliteID: DqliteNodeID
    /// Where it is to be listed.
    public var address: String
    /// What it was, and is to be again.
    public var role: DqliteRole

    public init(dqliteID: DqliteNodeID, address: String, role: DqliteRole) {
        self.dqliteID = dqliteID
        self.address = address
        self.role = role
    }
}

/// What is left to do of a change of address that was not brought to its end. A pure function of what is committed and of who
/// answers; it names one change at most, and is asked again after it.
struct MoveCore: Sendable, Equatable {
    enum Step: Sendable, Equatable {
        /// Nothing is left, or nothing that the care for the roles would not do.
        case forget
        case add(address: String)
        case assign(DqliteRole)
        /// It cannot go on now; nothing else has to wait for it.
        case wait(String)
    }

    /// How many voters and stand-bys there should be.
    var voters: Int
    var standbys: Int

    /// - Parameters:
    ///   - members: as committed.
    ///   - present: those that answer, the leader among them.
    ///   - place: where the node answers under its identity; nil when it does not.
    ///   - isNonVoter: it was started with `--non-voter`.
    func next(
        _ move: MovingNode, _ members: [DqliteMember], present: Set<DqliteNodeID>, place: HostPort?, isNonVoter: Bool
    ) -> Step {
        let voting = members.filter { $0.role == .voter }.map(\.id)
        guard let member = members.first(where: { $0.id == move.dqliteID }) else {
            guard let place else { return .wait("it does not answer at \(move.address)") }
            guard Self.isSafe(voting, present) else { return .wait("too few of the voters answer to commit it") }
            // Its address may be listed for another that has moved, too; then it asks for its own when that is done.
            let isTaken = members.contains { $0.address == place.description }
            return .add(address: isTaken ? Membership.placeholder(for: move.dqliteID) : place.description)
        }
        guard move.role.rawValue < member.role.rawValue, !isNonVoter, isWanted(move.role, members) else {
            return .forget
        }
        guard present.contains(member.id) else { return .wait("it does not answer") }
        guard move.role != .voter || Self.isSafe(voting + [member.id], present) else {
            return .wait("too few of the voters answer to commit it")
        }
        return .assign(move.role)
    }

    /// Another may have been given the place meanwhile. One voter more than an even number is none too many: so many there were.
    private func isWanted(_ role: DqliteRole, _ members: [DqliteMember]) -> Bool {
        let count = members.count { $0.role == role }
        return switch role {
        case .voter: count < voters || count.isMultiple(of: 2)
        case .standby: count < standbys
        case .spare: true
        }
    }

    private static func isSafe(_ voters: [DqliteNodeID], _ present: Set<DqliteNodeID>) -> Bool {
        voters.count(where: present.contains) >= RoleCore.majority(of: voters.count)
    }
}
