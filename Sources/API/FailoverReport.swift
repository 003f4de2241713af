public import Platform

/// What `GET /status` tells under `failover`: the timers, leases and take-overs of this node. Counts are since its start.
public struct FailoverReport: Hashable, Sendable, Codable {
    public var timing: Timers
    /// For how long this node's lease lasts from now on; null without one.
    public var leaseRemaining: Double?
    /// Leases that began.
    public var leases: UInt64
    /// Leases that ended, by reason.
    public var leasesLost: [String: UInt64]
    /// Elections that this node began before raft's own timer would have, by reason.
    public var elections: [String: UInt64]
    /// Raft streams that pass without being understood at present.
    public var unreadableStreams: Int
    public var takeovers: Takeovers
    public var addresses: Addresses

    /// Milliseconds. The same on all members.
    public struct Timers: Hashable, Sendable, Codable {
        /// "fast", "lan" or "wan"; null for other times.
        public var profile: String?
        public var latency: Double
        public var heartbeat: Double
        public var electionTimeout: Double
        public var lease: Double
        public var silence: Double

        public init(
            profile: String?, latency: Double, heartbeat: Double, electionTimeout: Double, lease: Double,
            silence: Double
        ) {
            self.profile = profile
            self.latency = latency
            self.heartbeat = heartbeat
            self.electionTimeout = electionTimeout
            self.lease = lease
            self.silence = silence
        }

        private enum CodingKeys: String, CodingKey {
            case profile
            case latency = "latency_ms"
            case heartbeat = "heartbeat_ms"
            case electionTimeout = "election_timeout_ms"
            case lease = "lease_ms"
            case silence = "silence_ms"
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(profile, forKey: .profile)
            try container.encode(latency, forKey: .latency)
            try container.encode(heartbeat, forKey: .heartbeat)
            try container.encode(electionTimeout, forKey: .electionTimeout)
            try container.encode(lease, forKey: .lease)
            try container.encode(silence, forKey: .silence)
        }
    }

    /// Take-overs of the addresses by this node.
    public struct Takeovers: Hashable, Sendable, Codable {
        public var count: UInt64
        /// Milliseconds of all of them together, by phase.
        public var sums: [String: Double]
        /// null before the first.
        public var last: Takeover?

        public init(count: UInt64 = 0, sums: [String: Double] = [:], last: Takeover? = nil) {
            self.count = count
            self.sums = sums
            self.last = last
        }

        private enum CodingKeys: String, CodingKey {
            case count
            case sums = "sums_ms"
            case last
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(count, forKey: .count)
            try container.encode(sums, forKey: .sums)
            try container.encode(last, forKey: .last)
        }
    }

    public struct Takeover: Hashable, Sendable, Codable {
        public var term: UInt64
        /// When it was done.
        public var at: WallTime
        /// "dead", "silent", "transferred", "timeout".
        public var reason: String
        public var total: Double
        /// Milliseconds by phase: "detection", "election", "lease", "address", "announce"; without those that are not known.
        public var phases: [String: Double]

        public init(term: UInt64, at: WallTime, reason: String, total: Double, phases: [String: Double]) {
            self.term = term
            self.at = at
            self.reason = reason
            self.total = total
            self.phases = phases
        }

        private enum CodingKeys: String, CodingKey {
            case term
            case at
            case reason
            case total = "total_ms"
            case phases = "phases_ms"
        }
    }

    /// What this node did with virtual addresses.
    public struct Addresses: Hashable, Sendable, Codable {
        public var claims: UInt64
        public var releases: [String: UInt64]
        /// Set again after somebody had removed them.
        public var reinstated: UInt64
        public var conflicts: UInt64
        public var announcements: UInt64
        /// Frames to single neighbours that said where an address is.
        public var neighboursTold: UInt64
        /// Failures of the kernel, the guard and the announcements.
        public var errors: UInt64

        public init(
            claims: UInt64 = 0, releases: [String: UInt64] = [:], reinstated: UInt64 = 0, conflicts: UInt64 = 0,
            announcements: UInt64 = 0, neighboursTold: UInt64 = 0, errors: UInt64 = 0
        ) {
            self.claims = claims
            self.releases = releases
            self.reinstated = reinstated
            self.conflicts = conflicts
            self.announcements = announcements
            self.neighboursTold = neighboursTold
            self.errors = errors
        }

        private enum CodingKeys: String, CodingKey {
            case claims, releases, reinstated, conflicts, announcements
            case neighboursTold = "neighbours_told"
            case errors
        }
    }

    public init(
        timing: Timers, leaseRemaining: Double? = nil, leases: UInt64 = 0, leasesLost: [String: UInt64] = [:],
        elections: [String: UInt64] = [:], unreadableStreams: Int = 0, takeovers: Takeovers = Takeovers(),
        addresses: Addresses = Addresses()
    ) {
        self.timing = timing
        self.leaseRemaining = leaseRemaining
        self.leases = leases
        self.leasesLost = leasesLost
        self.elections = elections
        self.unreadableStreams = unreadableStreams
        self.takeovers = takeovers
        self.addresses = addresses
    }

    private enum CodingKeys: String, CodingKey {
        case timing
        case leaseRemaining = "lease_remaining_ms"
        case leases
        case leasesLost = "leases_lost"
        case elections
        case unreadableStreams = "unreadable_streams"
        case takeovers
        case addresses
    }

    // Written out for the nulls, as in `DiscoveryReport`.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(timing, forKey: .timing)
        try container.encode(leaseRemaining, forKey: .leaseRemaining)
        try container.encode(leases, forKey: .leases)
        try container.encode(leasesLost, forKey: .leasesLost)
        try container.encode(elections, forKey: .elections)
        try container.encode(unreadableStreams, forKey: .unreadableStreams)
        try container.encode(takeovers, forKey: .takeovers)
        try container.encode(addresses, forKey: .addresses)
    }
}
