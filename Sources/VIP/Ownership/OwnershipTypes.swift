import Platform

/// Why an address is no longer held.
public enum ReleaseReason: String, Sendable, Hashable, CaseIterable, Codable {
    /// This node does not lead any more.
    case leadershipLost = "leadership-lost"
    /// The lease ran out: a majority was not heard in time.
    case leaseEnded = "lease-ended"
    /// The configuration does not name the address any more.
    case notDesired = "not-desired"
    /// `Ownership.releaseAll()`.
    case shutdown
    /// The guard process could not be told, so nobody guards the address.
    case guardFailed = "guard-failed"
    /// The interface is gone.
    case interfaceGone = "interface-gone"
    /// Somebody else removed our address and set it himself.
    case conflict
    /// The kernel refused to set it again.
    case failed
    /// The node that handed it over died before it let go.
    case handOverSevered = "hand-over-severed"
}

/// What became of an address or of its interface.
public enum OwnershipEvent: Sendable, Hashable {
    /// Set and announced; `took` counts from the moment at which it was allowed to be.
    case claimed(VirtualAddress, term: UInt64, took: Duration)
    case released(VirtualAddress, reason: ReleaseReason)
    /// It was removed, but not by this process; it is set again.
    case reinstated(VirtualAddress)
    /// An address of the host in its subnet came or went: it was set anew without the connected route, or with it.
    case reseated(VirtualAddress, withRoute: Bool)
    /// Somebody else has set it on this host; it is not touched.
    case conflict(VirtualAddress, String)
    /// Another host answers for it: the claim waits.
    case awaited(VirtualAddress, HardwareAddress)
    /// Nobody answers for it, but neither does the host of the last holder, whose process has ended: the claim waits.
    case withheld(VirtualAddress)
    /// Held, but another host of the LAN has it too: it did not let go in time, or announced it later; nil: it has it no more.
    case foreignHolder(VirtualAddress, HardwareAddress?)
    /// The same goes on, under so many MACs, in words, since it began; the last of them. Once a minute at most.
    case foreignMACs(VirtualAddress, String, last: HardwareAddress)
    /// No frame can leave the interface: it is down, without carrier, or gone.
    case linkDown(String)
    case linkUp(String)
    /// Something failed that is tried again; in words for the operator.
    case failed(VirtualAddress?, String)
}

/// What the shell of the ownership has to do, in this order, each after `OwnershipCore.permits` allowed it.
public enum OwnershipDirective: Sendable, Hashable {
    /// Read the interface and its addresses, and tell `OwnershipCore.observe`.
    case survey
    /// Hear what other hosts say of exactly these addresses; of none: hear nothing.
    case listen(Set<VirtualAddress>, interface: UInt32)
    /// Ask the LAN for it, by one probe.
    case probe(VirtualAddress, on: LinkState)
    /// Have the last holder's host asked whether it can be heard, and learn of the answer by `LeadHint.predecessor`.
    case inquire
    /// Let the guard remove it whenever the lease is over.
    case guardHold(VirtualAddress, interface: UInt32)
    /// Set it with the kernel lifetime.
    case set(VirtualAddress, interface: UInt32, OwnershipSetting)
    case announce(VirtualAddress)
    /// Read the neighbours, beside everything else, and tell them by `OwnershipCore.Input.neighbours`.
    case readNeighbours(Set<IPAddress.Family>, interface: UInt32)
    /// Tell single hosts where addresses are.
    case tellNeighbours([NeighbourNotice])
    case delete(VirtualAddress, interface: UInt32)
    /// Tell the guard that it is deleted.
    case guardRelease(VirtualAddress, interface: UInt32)
    case event(OwnershipEvent)
}

/// How an address is set.
public enum OwnershipSetting: Sendable, Hashable {
    /// It must not be there yet. `prefixRoute`: with the connected route of its subnet, which the host has not otherwise.
    case new(prefixRoute: Bool)
    /// It is there and ours: an earlier run left it.
    case takenOver
    /// It is held: only its lifetime begins anew.
    case refreshed
}

/// The times of the ownership.
public struct OwnershipTiming: Sendable, Hashable {
    /// How long before the end of the lease the deletion begins, so that it is done by then.
    public var lead: Duration = .milliseconds(2)
    /// How long before the end that it knows the lease is read again. A wake-up that is later by no more than this less
    /// `lead` costs nothing; a later one that finds the lease extended, a look at the interface.
    public var look: Duration = .milliseconds(15)
    /// How often the kernel lifetime is refreshed, a quarter of it.
    public var refresh: Duration = .milliseconds(250)
    /// The lifetime given to the kernel, in whole seconds: the shortest that there is.
    public var lifetime: UInt32 = 1
    /// When something that failed is tried again.
    public var retry: Duration = .milliseconds(200)
    /// When a deletion that failed is tried again.
    public var deleteRetry: Duration = .milliseconds(20)
    /// How often the lease is looked at although nobody kicked and nothing else has to be done.
    public var poll: Duration = .seconds(2)
    /// How often it is asked for while there is one, and five times as rarely while there is none: for a `LeaseSource` that
    /// only extends the lease when it is asked. nil when the lease is extended by whoever proves it; then it is looked at
    /// when the end is near that was read last.
    public var pollLeading: Duration?
    /// How often the interface is read although no change was reported.
    public var survey: Duration = .seconds(10)
    /// How long after one reading the next one waits, when changes are reported.
    public var surveyGap: Duration = .milliseconds(10)
    /// When it is looked again after changes have interrupted the reading each time.
    public var surveyAgain: Duration = .milliseconds(100)
    /// When listening to the LAN is tried again after it failed.
    public var listenRetry: Duration = .seconds(1)
    /// How long an address of the host has to be there before ours gives the connected route of its subnet up.
    public var reseat: Duration = .seconds(1)
    /// How the LAN is asked before a claim.
    public var probe = ClaimProbeTiming()

    public init() {}
}

/// Counts since the start.
public struct OwnershipCounters: Sendable, Hashable {
    public var claims: UInt64 = 0
    public var releases: [ReleaseReason: UInt64] = [:]
    /// Addresses that somebody had removed and that were set again.
    public var reinstated: UInt64 = 0
    public var conflicts: UInt64 = 0
    /// Messages of other hosts that claimed an address which was held here.
    public var foreignClaims: UInt64 = 0
    /// Announcements: of IPv4 each a request and a reply of ARP, of IPv6 one advertisement.
    public var announcements: UInt64 = 0
    /// Frames to single neighbours that say where an address is.
    public var neighboursTold: UInt64 = 0
    public var announceErrors: UInt64 = 0
    /// Probes that were sent, before claims and while another host has an address too.
    public var probes: UInt64 = 0
    public var probeErrors: UInt64 = 0
    /// Failures of netlink.
    public var kernelErrors: UInt64 = 0
    public var guardErrors: UInt64 = 0

    public init() {}
}

/// The ownership at one moment, for status and metrics.
public struct OwnershipSnapshot: Sendable, Hashable {
    public enum State: String, Sendable, Hashable, Codable {
        /// Set on this node.
        case held
        /// Not on this node, as it should be.
        case released
        /// This node leads, but somebody else has set the address on this host.
        case conflict
        /// This node leads, but cannot set the address.
        case error
    }

    public struct Address: Sendable, Hashable {
        public var address: VirtualAddress
        public var state: State
        /// More about the state, for the operator: why it is in conflict or error, or who else has it.
        public var detail: String?
        /// Since when it is in this state.
        public var since: BootInstant
        /// The term in which it is held; nil when it is not.
        public var term: UInt64?
        /// How many announcements were sent since it was claimed.
        public var announcements: UInt64
        /// The last failure, also when it was overcome.
        public var lastError: String?
        /// Another host of the LAN that has the address while this one holds it.
        public var foreignHolder: HardwareAddress?
        /// When it was set and first announced; nil while it is not.
        public var setAt: BootInstant?
        public var announcedAt: BootInstant?
    }

    public var interface: String
    /// Whether the interface is there, up, and has carrier.
    public var isLinkUp: Bool
    public var addresses: [Address]
    public var counters: OwnershipCounters
}
