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
    case earlyHandOver = "early-hand-over"
    case handOverAfterRestartOfAll = "hand-over-after-restart-of-all"
    case handOverAfterRestartOfOne = "hand-over-after-restart-of-one"
    case handOverAfterWipe = "hand-over-after-restart-of-a-wiped-node"
    case failOverTwice = "fail-over-twice"
    case terminateThenKill = "terminate-then-kill"
    case twoBecomeOne = "two-become-one"
    case oneBecomesTwo = "one-becomes-two"
    case stoppedFollower = "stopped-follower-with-buffers"
    case slewedClocks = "slewed-clocks"

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
        case .earlyHandOver: "failover 0 to 600 ms after a cluster has formed on empty disks"
        case .handOverAfterRestartOfAll: "all start anew at once, and 0 to 600 ms after the address is there a failover"
        case .handOverAfterRestartOfOne: "failover 0 to 600 ms after one node is back, to it or to anybody"
        case .handOverAfterWipe: "failover 0 to 600 ms after a node is back with an empty disk, to it or to anybody"
        case .failOverTwice: "failover twice within 300 ms, in half of the rounds back to where the lead was"
        case .terminateThenKill: "SIGTERM to the holder, and 0 to 30 ms later SIGKILL of its daemon and guard"
        case .twoBecomeOne: "one of two nodes is removed, or leaves when it is stopped"
        case .oneBecomesTwo: "a second node joins a single one"
        case .stoppedFollower: "a node stands still while others write, and goes on when the third is out of reach"
        case .slewedClocks: "clocks that run 8.3 % too fast and too slow, and then the holder's cable is pulled"
        }
    }

    /// How many nodes the laboratory must have.
    public var nodes: Int {
        switch self {
        case .minority, .ringOfMajorities: 5
        case .twoBecomeOne, .oneBecomesTwo: 2
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
        case .slewedClocks: NemesisSetup(nodes: nodes, hasSlewedClocks: true)
        // Whoever is out comes back with its next start.
        case .twoBecomeOne, .oneBecomesTwo: NemesisSetup(nodes: nodes, further: ["--leave-on-shutdown", "--rejoin"])
        default: NemesisSetup(nodes: nodes)
        }
    }

    /// Whether it says nothing without writes.
    public var needsWrites: Bool { self == .fullDisk || self == .stoppedFollower }

    /// Whether the round begins with a new cluster on empty disks.
    var formsAnew: Bool { self == .earlyHandOver }

    /// Whether all members are at the end what they were before, by id and role.
    var keepsMembers: Bool {
        switch self {
        case .earlyHandOver, .handOverAfterWipe, .twoBecomeOne, .oneBecomesTwo: false
        default: true
        }
    }

    /// How long a client may be without an answer until everything is put right: what is planned interrupts nobody.
    public var outageLimit: Duration? {
        switch self {
        case .earlyHandOver, .handOverAfterRestartOfAll, .handOverAfterRestartOfOne, .handOverAfterWipe, .failOverTwice,
            .twoBecomeOne, .oneBecomesTwo:
            .milliseconds(20)
        default: nil
        }
    }

    /// Time between two writes of a writer in a round with writes.
    var writeInterval: Duration { self == .fullDisk ? .zero : .milliseconds(20) }

    /// How many write in such a round. A disk is full for libraft only when the segments of 8 MiB are that it made before.
    var writers: Int { self == .fullDisk ? 6 : 2 }

    /// Whether a majority that can act stays connected throughout, so that somebody must serve soon.
    var keepsMajority: Bool {
        switch self {
        case .loss5, .loss30, .starvedProcessors, .starvedDisk, .twoFaults, .fullDisk, .ringOfMajorities,
            .stoppedFollower:
            false
        default: true
        }
    }

    /// Parts of lines at level error or critical that belong to the trouble.
    var expectedLines: [String] {
        switch self {
        case .killGuard, .killBoth, .powerOff, .twoFaults, .earlyHandOver, .handOverAfterRestartOfAll,
            .handOverAfterRestartOfOne, .handOverAfterWipe, .terminateThenKill, .stoppedFollower:
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
        case .followerCut, .deletedAddress, .clockForward, .clockBack, .oneBecomesTwo: true
        default: false
        }
    }
}
