import Platform

/// The timers of raft and what is derived from them. All members of a cluster must use the same.
public struct Timing: Sendable, Equatable {
    /// What libdqlite calls the network latency, in whole milliseconds, 1...3600000. It heartbeats every 1.5 times
    /// this, and a follower that hears nothing for 15 to 30 times this stands for election.
    public var latency: Duration

    public init(latency: Duration) {
        self.latency = latency
    }

    /// The default, for machines of one LAN: heartbeat 30 ms, election timeout 300 to 600 ms. The shortest setting
    /// without one spurious change of leader on a machine whose cores are all busy.
    public static let lan = Timing(latency: .milliseconds(20))

    /// libraft's base election timeout; each follower draws from one to two times this.
    public var electionTimeout: Duration { latency * 15 }
    /// How long a follower's promise to its leader binds, and so about how long a lease lasts: five heartbeats, half an
    /// election timeout.
    public var hold: Duration { electionTimeout / 2 }
    /// How long nothing may come from the leader before the others ask each other whether it is lost: four heartbeats.
    public var silence: Duration { latency * 6 }
    /// Between two heartbeats of the leader.
    public var heartbeat: Duration { latency * 3 / 2 }
}
