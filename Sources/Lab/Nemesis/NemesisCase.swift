import Platform

/// A kind of trouble. What exactly happens in a round follows from the seed, see `plan`.
public enum NemesisCase: String, CaseIterable, Sendable {
    case killDaemon = "kill-daemon"
    case killGuard = "kill-guard"
    case killBoth = "kill-both"
    case stopDaemon = "stop-daemon"
    case stopGuard = "stop-guard"
    case stopBoth = "stop-both"
    case debugger
    case terminate
    case rollingRestart = "rolling-restart"
    case powerOff = "power-off"
    case linkCut = "link-cut"
    case flappingLink = "flapping-link"
    case silentPartition = "silent-partition"
    /// The client reaches all nodes, and the nodes do not reach each other.
    case peerPartition = "peer-partition"
    /// The holder's frames reach nobody.
    case deafPeers = "one-way-out"
    /// Nothing reaches the holder.
    case deafHolder = "one-way-in"
    case minority
    case ringOfMajorities = "ring-of-majorities"
    case followerCut = "follower-cut"
    case loss5 = "loss-5"
    case loss30 = "loss-30"
    case deletedAddress = "deleted-address"
    case fullDisk = "full-disk"
    case clockForward = "clock-forward"
    case clockBack = "clock-back"
    case starvedProcessors = "starved-processors"
    case starvedDisk = "starved-disk"
    case twoFaults = "two-faults"

    public var summary: String {
        switch self {
        case .killDaemon: "kill -9 of the holder's daemon"
        case .killGuard: "kill -9 of the holder's guard"
        case .killBoth: "kill -9 of daemon and guard of the holder in one instant"
        case .stopDaemon: "SIGSTOP of the holder's daemon for 0.2 to 10 s, then SIGCONT"
        case .stopGuard: "SIGSTOP of the holder's guard for 0.2 to 10 s, then SIGCONT"
        case .stopBoth: "SIGSTOP of daemon and guard of the holder for 0.2 to 10 s, then SIGCONT"
        case .debugger: "a debugger holds every thread of the holder's daemon for 0.2 to 10 s"
        case .terminate: "SIGTERM to the holder, and a start"
        case .rollingRestart: "SIGTERM to and start of one node after the other"
        case .powerOff: "the holder loses power, and comes back"
        case .linkCut: "the holder's cable is pulled, and put back"
        case .flappingLink: "the holder's link goes down and up several times"
        case .silentPartition: "the switch forwards nothing of and to the holder"
        case .peerPartition: "the holder reaches its clients and no other node"
        case .deafPeers: "what the holder sends reaches no other node; what they send reaches it"
        case .deafHolder: "what other nodes send does not reach the holder; what it sends reaches them"
        case .minority: "the holder with one other node, cut off from three of five"
        case .ringOfMajorities: "five nodes, each reaching its two neighbours in a ring only"
        case .followerCut: "a node that does not hold the address is cut off, and comes back"
        case .loss5: "5 % of all frames between nodes are lost"
        case .loss30: "30 % of all frames between nodes are lost"
        case .deletedAddress: "somebody deletes the address on the holder, several times"
        case .fullDisk: "the holder's disk is full, under writes"
        case .clockForward: "the wall clock steps an hour forward and back again"
        case .clockBack: "the wall clock steps an hour back and forward again"
        case .starvedProcessors: "24 busy loops at nice -15"
        case .starvedDisk: "3 writers that fsync without end"
        case .twoFaults: "two faults within 100 ms, on one node or on two"
        }
    }

    /// How many nodes the laboratory must have.
    public var nodes: Int {
        switch self {
        case .minority, .ringOfMajorities: 5
        default: 3
        }
    }

    /// What the nodes must be started with.
    public func setup(_ family: IPAddress.Family = .v4) -> NemesisSetup {
        var setup = special
        setup.family = family
        return setup
    }

    private var special: NemesisSetup {
        switch self {
        case .fullDisk: NemesisSetup(nodes: nodes, hasSmallDisks: true)
        case .clockForward, .clockBack: NemesisSetup(nodes: nodes, hasWallClocks: true)
        default: NemesisSetup(nodes: nodes)
        }
    }

    /// Time between two writes of a writer in a round with writes.
    var writeInterval: Duration { self == .fullDisk ? .zero : .milliseconds(20) }

    /// How many write in such a round. A disk is full for libraft only when the segments of 8 MiB are that it made before.
    var writers: Int { self == .fullDisk ? 6 : 2 }

    /// Whether a majority that can act stays connected throughout, so that somebody must serve soon.
    var keepsMajority: Bool {
        switch self {
        case .loss5, .loss30, .starvedProcessors, .starvedDisk, .twoFaults, .fullDisk, .ringOfMajorities: false
        default: true
        }
    }

    /// Parts of lines at level error or critical that belong to the trouble.
    var expectedLines: [String] {
        switch self {
        case .killGuard, .killBoth, .powerOff, .twoFaults:
            ["the guard process is gone", "cannot tell the guard: Broken pipe"]
        // libraft dies by SIGSEGV when no segment can be made for what it has to write; the guard is there for that.
        case .fullDisk:
            [
                "MiB left: free", "No space left on device", "file system is full", "Segmentation", "Crash:",
                "disk I/O error", "has not answered the leader",
            ]
        default: []
        }
    }

    /// Whether the address must not move at all.
    public var mustStay: Bool {
        switch self {
        case .followerCut, .deletedAddress, .clockForward, .clockBack: true
        default: false
        }
    }
}

/// How a laboratory must be made for a case.
public struct NemesisSetup: Hashable, Sendable {
    public var nodes: Int
    /// Each data directory is a small file system of its own.
    public var hasSmallDisks = false
    /// Each node's wall clock can be moved.
    public var hasWallClocks = false
    /// Of the VIP.
    public var family = IPAddress.Family.v4

    public init(nodes: Int, hasSmallDisks: Bool = false, hasWallClocks: Bool = false) {
        self.nodes = nodes
        self.hasSmallDisks = hasSmallDisks
        self.hasWallClocks = hasWallClocks
    }
}

/// What is done in one round, and when.
public struct NemesisPlan: Equatable, Sendable {
    public struct Step: Equatable, Sendable {
        /// Since the begin of the round; a step that takes longer delays what comes after it.
        public var at: Duration
        public var action: NemesisAction

        public init(_ at: Duration, _ action: NemesisAction) {
            self.at = at
            self.action = action
        }
    }

    /// In the order of time.
    public var steps: [Step]
    /// After so long everything is put right that is not yet.
    public var length: Duration

    /// Which step is the first of those at the end that put things right; nil when the last one does not.
    public var firstRelief: Int? {
        let trouble = steps.lastIndex { !$0.action.isRelief } ?? -1
        return trouble + 1 < steps.count ? trouble + 1 : nil
    }
}
