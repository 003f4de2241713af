import Platform

/// What `OwnershipCore` knows of one address.
struct OwnedAddress {
    /// What the interface carries under this address.
    enum Carried: Hashable {
        case absent
        /// With our tag: we set it, or an earlier run did.
        case ours
        /// Without our tag, as described.
        case foreign(String)
    }

    let address: VirtualAddress
    var isDesired = true
    var carried = Carried.absent
    /// No address of the host lies in its subnet: it has to bring the connected route.
    var needsRoute = false
    /// Whether it was set with that route; nil when somebody else set it.
    var hasRoute: Bool?
    /// When it is set anew, with the route or without.
    var reseatAt: BootInstant?
    /// It is being set anew for that.
    var isReseated = false
    /// It is on the interface in a state in which it does not serve, and in which a refresh leaves it.
    var isSpoilt = false
    /// The index of the interface on which we have set it, or may have.
    var placed: UInt32?
    /// Its removal was reported, or a set was not answered, and the interface was not read since: what is there now may be
    /// somebody else's, and is not touched.
    var isUncertain = false
    /// A set failed in a way that does not tell whether it was done: it is deleted, to be sure.
    var isDoubtful = false
    /// The lease may have lapsed and come back unseen: the guard may have removed it.
    var mayHaveLapsed = false
    /// The interface on which the guard watches it.
    var guarded: UInt32?
    /// The guard may have removed it since it was told of it, and is told again before it is set.
    var isHoldStale = false
    /// The guard is not told before this that it may forget it.
    var guardRetryAt: BootInstant?
    /// The guard did not take it.
    var isUnguarded = false
    /// Why its deletion was ordered.
    var leaving: ReleaseReason?
    var refreshAt = BootInstant(nanoseconds: 0)
    var schedule: AnnounceSchedule
    /// Whether the LAN lets us claim it.
    var probe: ClaimProbe
    /// When to go on asking the LAN.
    var probeAt: BootInstant?
    /// It was set on the word of the one that handed it over, and without asking the LAN.
    var isGiven = false
    /// It was wanted here while another node may have led: its claim is a take-over, and who may still have it is a member.
    var isTakeOver = false
    /// The host that answered, while the claim waits for it.
    var awaited: HardwareAddress?
    /// When that was told last; nil again with the next claim.
    var awaitedToldAt: BootInstant?
    /// The claim waits although nobody answers, because the last holder's host cannot be heard.
    var isWithheld = false
    /// The host that has the address beside us, the last one that was heard.
    var foreignHolder: HardwareAddress?
    /// Under how many MACs it is had.
    var foreignMACs = ForeignMACs()
    /// From when on it could have been claimed.
    var eligibleSince: BootInstant?
    /// When the claim was carried out, as long as that is not reported.
    var claimedAt: BootInstant?
    /// When it was set, and when its first announcement was sent after that.
    var setAt: BootInstant?
    var announcedAt: BootInstant?
    /// It is held as far as events have told.
    var isReported = false
    var term: UInt64?
    /// No claim before this.
    var retryAt: BootInstant?
    /// No deletion before this.
    var deleteRetryAt: BootInstant?
    var announcements: UInt64 = 0
    var lastError: String?
    var state = OwnershipSnapshot.State.released
    var since: BootInstant

    init(_ address: VirtualAddress, schedule: AnnounceSchedule, probe: ClaimProbe, now: BootInstant) {
        self.address = address
        self.schedule = schedule
        self.probe = probe
        since = now
    }

    /// Set in a way in which it must not stay, whoever leads.
    var mustGo: Bool { isDoubtful || isUnguarded || isSpoilt }

    /// Nothing of it is left: neither wanted nor set nor guarded.
    var isDone: Bool { !isDesired && placed == nil && guarded == nil && !isReported }

    mutating func enter(_ state: OwnershipSnapshot.State, now: BootInstant) {
        if state != self.state { since = now }
        self.state = state
    }

    /// It is not on the interface any more.
    mutating func displaced() {
        placed = nil
        isGiven = false
        isDoubtful = false
        isUncertain = false
        mayHaveLapsed = false
        isSpoilt = false
        hasRoute = nil
        reseatAt = nil
        deleteRetryAt = nil
        setAt = nil
        announcedAt = nil
        schedule.released()
    }
}
