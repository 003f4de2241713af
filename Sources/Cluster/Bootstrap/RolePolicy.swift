/// The role of a dqlite node; the raw values are those of the client protocol (Assign).
public enum MemberRole: UInt64, Codable, Sendable, Hashable, CaseIterable {
    /// Replicates, votes, can lead.
    case voter = 0
    /// Replicates; becomes a voter when one is missing.
    case standBy = 1
    /// Knows the members and replicates nothing.
    case spare = 2
}

/// Which role a new member gets. Pure arithmetic on what the leader knows.
public struct RolePolicy: Sendable, Equatable {
    /// The most voters that a cluster has: more make every commit slower and no fail-over safer.
    public static let maximumVoters = 7

    /// How many voters later joiners fill the cluster up to: odd, 1...7.
    public let voters: Int
    /// How many stand-bys beside them; the rest are spares.
    public let standbys: Int

    /// - Parameters:
    ///   - voters: what `--voters` says; an even number is raised by one, more than 7 are 7. nil takes the larger of 3
    ///     and `expect`, made odd.
    ///   - expect: what `--bootstrap-expect` says, when it was given.
    ///   - standbys: what `--standbys` says.
    public init(
        voters: Int? = nil, expect: Int? = nil, standbys: Int = MembershipOptions.defaultStandbys
    ) {
        self.standbys = standbys
        let wanted = max(1, voters ?? max(3, expect ?? 1))
        self.voters = min(Self.maximumVoters, wanted | 1)
    }

    /// The role for one more member.
    ///
    /// - Parameters:
    ///   - currentVoters: how many voters the cluster has now, the new member not counted.
    ///   - currentStandbys: the same of stand-bys.
    ///   - isFoundingMember: it stands in the agreed founding set: all of these are voters, up to seven.
    ///   - nonVoter: it was started with `--non-voter`: it never votes.
    /// - Returns: `.voter`, `.standBy` or `.spare`; a founding member is never a spare.
    public func role(
        currentVoters: Int, currentStandbys: Int = 0, isFoundingMember: Bool, nonVoter: Bool
    ) -> MemberRole {
        if nonVoter { return .spare }
        if isFoundingMember { return currentVoters < Self.maximumVoters ? .voter : .standBy }
        if currentVoters < voters { return .voter }
        return currentStandbys < standbys ? .standBy : .spare
    }
}
