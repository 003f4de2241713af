import Platform

/// Decides which addresses of one interface are set, refreshed, announced and deleted. A value without clock and I/O.
///
/// The shell calls `step`, carries out what it says, and after each directive tells `completed` or `failed`; it steps again
/// until nothing is left to do. Right before a directive it asks `permits` with a lease and a time read at that moment.
///
/// What always holds, whatever fails: an address is set only under a valid lease, and after the guard was told of it; no later
/// than the lease ends the deletion is ordered; and nothing is deleted but what we set, or what carries our tag and is on our
/// list. What was decided under a lease is carried out before the end that the lease had then, or decided anew.
public struct OwnershipCore: Sendable {
    /// What the shell learned.
    public enum Input: Sendable, Hashable {
        /// Time passed, or the lease changed.
        case wake
        /// Leadership changed at this time.
        case kicked(at: BootInstant)
        /// The addresses that this node shall hold while it leads.
        case desired([VirtualAddress])
        /// What the kernel reports; only what `isNews` finds to matter need be told.
        case netlink(NetlinkEvent)
        /// The neighbours may not have heard of us: a partition healed.
        case announceAgain
        /// The neighbours that were asked for; none when they cannot be read.
        case neighbours([Neighbour])
        /// Let go of everything, for good.
        case releaseAll
    }

    public let interface: String
    let timing: OwnershipTiming
    let schedule: AnnounceSchedule
    public internal(set) var counters = OwnershipCounters()

    var entries: [OwnedAddress] = []
    var link: LinkState?
    var knowsLink = false
    /// The addresses of the interface are known, for all entries.
    var hasSurveyed = false
    var surveyAt: BootInstant
    var surveyedAt: BootInstant?
    /// The lease at the last step; nil when there was none. Until its end the guard has removed nothing.
    var covering: Lease?
    var kickedAt: BootInstant?
    var isStopped = false
    /// When single neighbours are told; nil for never.
    var neighbours: NeighbourSchedule?
    /// Which addresses are listened for, and where.
    var heeded: (addresses: Set<VirtualAddress>, interface: UInt32) = ([], 0)
    var heedRetryAt: BootInstant?
    var heedError: String?
    /// The host's addresses do not go with ours: `SecondaryPromotion`. To be set by the shell, at each survey.
    public var keepsSecondaries = false
    /// What the shell knows of the lead beyond the lease; to be set before each step.
    public var hint = LeadHint()
    var events: [OwnershipEvent] = []

    public init(
        interface: String, timing: OwnershipTiming = OwnershipTiming(), schedule: AnnounceSchedule = AnnounceSchedule(),
        neighbours: NeighbourSchedule? = nil, now: BootInstant
    ) {
        self.interface = interface
        self.neighbours = neighbours
        self.timing = timing
        self.schedule = schedule
        surveyAt = now
    }

    // MARK: Deciding

    /// What has to be done now. An empty answer: nothing until `nextWake`, or until something happens.
    public mutating func step(_ input: Input, lease: Lease?, now: BootInstant) -> [OwnershipDirective] {
        take(input, now: now)
        let valid = isValid(lease, now) ? lease : nil
        var directives: [OwnershipDirective] = []
        cover(valid, now: now)
        note(valid, now: now)
        if valid == nil, !hint.leads {
            for index in entries.indices { entries[index].isTakeOver = true }
        }

        releases(lease: lease, valid: valid, now: now, into: &directives)
        if surveyAt <= now { directives.append(.survey) }
        probes(valid, now: now, into: &directives)
        if valid != nil {
            refreshes(now: now, into: &directives)
            reseats(now: now, into: &directives)
            claims(now: now, into: &directives)
            retirements(now: now, into: &directives)
            announcements(now: now, into: &directives)
        }
        guardReleases(now: now, into: &directives)

        directives += events.map(OwnershipDirective.event)
        events.removeAll(keepingCapacity: true)
        entries.removeAll(where: \.isDone)
        return directives
    }

    /// Whether a directive may be carried out at this very moment.
    public func permits(_ directive: OwnershipDirective, lease: Lease?, now: BootInstant) -> Bool {
        switch directive {
        case .survey, .event, .listen, .inquire, .readNeighbours:
            return true
        case .guardHold(let address, let interface):
            guard isCovered(lease, now), let entry = entry(address), entry.isDesired else { return false }
            return entry.guarded.map { $0 == interface } ?? true
        case .set(let address, let interface, let setting):
            guard isCovered(lease, now), let entry = entry(address), entry.isDesired, !entry.isUnguarded,
                !entry.isUncertain
            else { return false }
            if case .foreign = entry.carried { return false }
            if case .new = setting, entry.placed != nil { return false }
            if setting != .refreshed && (hint.handsOver || !isFree(entry, now: now)) { return false }
            return entry.guarded == interface && !entry.isHoldStale
        case .probe(let address, _):
            return entry(address)?.probe.isActive == true
        case .announce(let address):
            guard let entry = entry(address) else { return false }
            return isCovered(lease, now) && isKept(entry)
        case .tellNeighbours(let notices):
            let kept = Set(entries.filter(isKept).map(\.address))
            return isCovered(lease, now) && notices.allSatisfy { kept.contains($0.address) }
        case .delete(let address, _):
            guard let entry = entry(address), !entry.isUncertain else { return false }
            if case .foreign = entry.carried { return false }
            return true
        case .guardRelease(let address, let interface):
            return entry(address)?.guarded == interface
        }
    }

    /// When to step at the latest, when nothing happens before. To be asked with the lease and the time of the last step.
    public func nextWake(lease: Lease?, now: BootInstant) -> BootInstant {
        var next = surveyAt
        if entries.isEmpty { return next }
        if let probeWake { next = min(next, probeWake) }
        let valid = isValid(lease, now) ? lease : nil
        next = min(next, now.advanced(by: poll(valid)))
        if let valid {
            // The end that it has by then is read well before this one, so that a wake-up may be late.
            let look = valid.end.advanced(by: .zero - timing.look)
            next = min(next, look > now ? look : releaseTime(valid.end))
        }
        if valid != nil, link?.canSend == true, let tell = neighbours?.next { next = min(next, tell) }
        for entry in entries {
            if entry.placed != nil {
                if let again = later(entry.deleteRetryAt, now) { next = min(next, again) }
                if valid == nil && !entry.isUncertain { next = min(next, entry.deleteRetryAt ?? now) }
                guard valid != nil, isKept(entry) else { continue }
                next = min(next, entry.refreshAt)
                if !hint.handsOver, let reseat = reseatTime(entry) { next = min(next, reseat) }
                if let announce = entry.schedule.next, link?.canSend == true { next = min(next, announce) }
            } else {
                if valid != nil, entry.isDesired, let again = later(entry.retryAt, now) { next = min(next, again) }
                if entry.guarded != nil, let again = later(entry.guardRetryAt, now) { next = min(next, again) }
            }
        }
        return max(next, now)
    }

    /// When to step by all means: shortly before the end of the lease that is known. Everything else that waits for `nextWake` may
    /// come later by an eighth of the time, as the kernel's timers do when NTP makes its clock slow.
    public func latestWake(lease: Lease?, now: BootInstant) -> BootInstant {
        guard let lease, isValid(lease, now) else { return BootInstant(nanoseconds: .max) }
        return releaseTime(lease.end).advanced(by: .zero - (timing.look - timing.lead) / 4)
    }

    /// Whether a netlink event changes anything for us, so that the interface has to be read. Our own doings do not.
    public func isNews(_ event: NetlinkEvent) -> Bool {
        switch event {
        case .addressAdded(let found):
            guard let entry = entries.first(where: { $0.address.address == found.address }) else {
                return isOfHost(found)
            }
            return found.isUnusable || !(entry.placed == found.interfaceIndex && found.matches(entry.address))
        case .addressRemoved(let found):
            guard let entry = entries.first(where: { $0.address.address == found.address }) else {
                return isOfHost(found)
            }
            return entry.placed != nil || entry.carried != .absent
        case .linkChanged(let changed): return changed.name == interface || changed.index == link?.index
        case .linkRemoved(let index): return index == link?.index
        case .overrun: return true
        }
    }

    /// Whether the host's own addresses of the interface change, on which it depends how ours are set.
    func isOfHost(_ found: InterfaceAddress) -> Bool {
        found.interfaceIndex == link?.index && !found.isTagged
    }

    func isValid(_ lease: Lease?, _ now: BootInstant) -> Bool {
        guard let lease, !isStopped else { return false }
        return now < releaseTime(lease.end)
    }

    /// Whether the lease is valid, and was so from the last step on without a gap in which the guard may have acted. When it
    /// is not so after a directive, step at once.
    public func isCovered(_ lease: Lease?, _ now: BootInstant) -> Bool {
        guard let covering, isValid(lease, now) else { return false }
        return now < releaseTime(covering.end)
    }

    /// The time, when it is still to come. What was due and is left undone waits for something else.
    private func later(_ time: BootInstant?, _ now: BootInstant) -> BootInstant? {
        time.flatMap { $0 > now ? $0 : nil }
    }

    /// How long it sleeps at most, whatever it knows.
    private func poll(_ valid: Lease?) -> Duration {
        guard let leading = timing.pollLeading else { return timing.poll }
        return valid == nil ? leading * 5 : leading
    }

    func releaseTime(_ end: BootInstant) -> BootInstant {
        end.advanced(by: .zero - timing.lead)
    }

    func entry(_ address: VirtualAddress) -> OwnedAddress? {
        entries.first { $0.address == address }
    }

    /// Set, and to stay so while the lease lasts.
    func isKept(_ entry: OwnedAddress) -> Bool {
        entry.placed != nil && entry.isDesired && !entry.mustGo && !entry.isUncertain
            && !isSevered(entry)
            && entry.placed == link?.index
    }

    /// Set on the word of a node that died before it let go.
    func isSevered(_ entry: OwnedAddress) -> Bool { hint.isSevered && entry.isGiven }

    func index(of address: VirtualAddress) -> Int? {
        entries.firstIndex { $0.address == address }
    }

    // MARK: Telling

    public var snapshot: OwnershipSnapshot {
        OwnershipSnapshot(
            interface: interface, isLinkUp: link?.canSend ?? false,
            addresses: entries.filter { $0.isDesired || $0.placed != nil }.map { entry in
                var detail = strangerDetail(entry)
                if entry.state == .conflict, case .foreign(let text) = entry.carried { detail = text }
                if entry.state == .error { detail = entry.lastError }
                return .init(
                    address: entry.address, state: entry.state, detail: detail, since: entry.since, term: entry.term,
                    announcements: entry.announcements, lastError: entry.lastError,
                    foreignHolder: entry.foreignHolder, setAt: entry.setAt, announcedAt: entry.announcedAt)
            },
            counters: counters)
    }

    /// The addresses that are set, or may be.
    public var placed: [VirtualAddress] { entries.filter { $0.placed != nil }.map(\.address) }
}
