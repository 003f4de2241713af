/// What the operator wants of roles, removal and leaving. Where it is about other nodes, that of the leader counts.
public struct MembershipOptions: Sendable, Hashable {
    /// After which time a member that cannot be reached is removed; nil: never.
    public struct ReapTimes: Sendable, Hashable {
        public var voter, standBy, spare: Duration?

        public init(voter: Duration? = nil, standBy: Duration? = nil, spare: Duration? = nil) {
            self.voter = voter
            self.standBy = standBy
            self.spare = spare
        }
    }

    public static let defaultStandbys = 3
    public static let defaultDemoteAfter: Duration = .seconds(10)

    /// How many members replicate without a vote, ready to take a voter's place. The rest are spares.
    public var standbys = Self.defaultStandbys
    /// How long a voter or stand-by may be unreachable before another takes its place.
    public var demoteAfter = Self.defaultDemoteAfter
    public var reapAfter = ReapTimes()
    /// `--voters` was given: more voters than that are not only not made, but taken back.
    public var votersAreGiven = false
    /// Where this node shares its fate with others: a rack, a host, a power supply. nil: not told.
    public var failureDomain: String?
    /// This node removes itself from the cluster when it stops in order.
    public var leavesOnShutdown = false
    /// A node that was removed joins again.
    public var rejoins = false

    public init() {}
}
