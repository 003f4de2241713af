import CLinux
import Glibc
import Platform

/// Decides which addresses of one interface are set, refreshed, announced and deleted. A value without clock and I/O.
///
/// The shell calls `step`, carries out what it says, and after each directive tells `completed` or `failed`; it steps again
/// until nothing is left to do. Right before a directive it asks `permits` with a lease and a time read at that moment.
///
/// What always holds, whatever fails: an address is set only under a valid lease, and after the guard took its deadline; no
/// later than the lease ends the deletion is ordered; and nothing is deleted but what we set, or what carries our tag and is
/// on our list.
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
        /// Let go of everything, for good.
        case releaseAll
    }

    public let interface: String
    let timing: OwnershipTiming
    private let schedule: AnnounceSchedule
    public private(set) var counters = OwnershipCounters()

    private var entries: [OwnedAddress] = []
    private var link: LinkState?
    private var knowsLink = false
    /// The addresses of the interface are known, for all entries.
    private var hasSurveyed = false
    private var surveyAt: BootInstant
    private var surveyedAt: BootInstant?
    private var guardTickAt = BootInstant(nanoseconds: 0)
    private var kickedAt: BootInstant?
    private var isStopped = false
    private var events: [OwnershipEvent] = []

    public init(
        interface: String, timing: OwnershipTiming = OwnershipTiming(), schedule: AnnounceSchedule = AnnounceSchedule(),
        now: BootInstant
    ) {
        self.interface = interface
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
        note(valid, now: now)

        if surveyAt <= now { directives.append(.survey) }
        releases(lease: lease, valid: valid, now: now, into: &directives)
        if let valid {
            upkeep(valid, now: now, into: &directives)
            claims(valid, now: now, into: &directives)
            retirements(now: now, into: &directives)
            announcements(now: now, into: &directives)
        }
        guardReleases(valid: valid, into: &directives)

        directives += events.map(OwnershipDirective.event)
        events.removeAll(keepingCapacity: true)
        entries.removeAll(where: \.isDone)
        return directives
    }

    /// Whether a directive may be carried out at this very moment.
    public func permits(_ directive: OwnershipDirective, lease: Lease?, now: BootInstant) -> Bool {
        switch directive {
        case .survey, .event:
            return true
        case .guardHold(let address, _, _):
            return isValid(lease, now) && entry(address)?.isDesired == true
        case .set(let address, let interface, _):
            guard isValid(lease, now), let entry = entry(address), entry.isDesired, !entry.isUnguarded,
                !entry.isUncertain, let guarded = entry.guarded
            else { return false }
            if case .foreign = entry.carried { return false }
            return guarded.interface == interface && guarded.until > now
        case .announce(let address):
            guard let entry = entry(address) else { return false }
            return isValid(lease, now) && isKept(entry)
        case .delete(let address, _):
            guard let entry = entry(address), !entry.isUncertain else { return false }
            if case .foreign = entry.carried { return false }
            return true
        case .guardRelease(let address, _):
            return entry(address) != nil
        }
    }

    /// When to step at the latest, when nothing happens before. To be asked with the lease and the time of the last step.
    public func nextWake(lease: Lease?, now: BootInstant) -> BootInstant {
        var next = surveyAt
        if entries.isEmpty { return next }
        next = min(next, now.advanced(by: timing.poll))
        let valid = isValid(lease, now) ? lease : nil
        if let valid { next = min(next, releaseTime(valid)) }
        for entry in entries {
            if entry.placed != nil {
                if let again = entry.deleteRetryAt { next = min(next, again) }
                if valid == nil && !entry.isUncertain { next = min(next, entry.deleteRetryAt ?? now) }
                guard valid != nil, isKept(entry) else { continue }
                next = min(next, entry.refreshAt, guardTickAt)
                if let announce = entry.schedule.next, link?.canSend == true { next = min(next, announce) }
            } else if valid != nil, entry.isDesired, let again = entry.retryAt {
                next = min(next, again)
            }
        }
        return max(next, now)
    }

    /// Whether a netlink event changes anything for us, so that the interface has to be read. Our own doings do not.
    public func isNews(_ event: NetlinkEvent) -> Bool {
        switch event {
        case .addressAdded(let found):
            guard let entry = entries.first(where: { $0.address.address == found.address }) else {
                return isOfHost(found)
            }
            return !(entry.placed == found.interfaceIndex && found.matches(entry.address))
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
    private func isOfHost(_ found: InterfaceAddress) -> Bool {
        found.interfaceIndex == link?.index && !found.isTagged
    }

    private func isValid(_ lease: Lease?, _ now: BootInstant) -> Bool {
        guard let lease, !isStopped else { return false }
        return now < releaseTime(lease)
    }

    private func releaseTime(_ lease: Lease) -> BootInstant {
        lease.end.advanced(by: .zero - timing.lead)
    }

    private func entry(_ address: VirtualAddress) -> OwnedAddress? {
        entries.first { $0.address == address }
    }

    /// Set, and to stay so while the lease lasts.
    private func isKept(_ entry: OwnedAddress) -> Bool {
        entry.placed != nil && entry.isDesired && !entry.mustGo && !entry.isUncertain
            && entry.placed == link?.index
    }

    private func index(of address: VirtualAddress) -> Int? {
        entries.firstIndex { $0.address == address }
    }

    // MARK: Learning

    private mutating func take(_ input: Input, now: BootInstant) {
        switch input {
        case .wake: break
        case .kicked(let at): kickedAt = at
        case .desired(let addresses): want(addresses, now: now)
        case .netlink(let event): hear(event, now: now)
        case .releaseAll: isStopped = true
        }
    }

    private mutating func hear(_ event: NetlinkEvent, now: BootInstant) {
        guard isNews(event) else { return }
        switch event {
        case .linkChanged(let changed) where changed.name == interface && changed.index == link?.index:
            update(link: changed, now: now)
            return
        case .addressAdded(let found), .addressRemoved(let found):
            if let index = entries.firstIndex(where: { $0.address.address == found.address }) {
                if case .addressRemoved = event, found.matches(entries[index].address),
                    entries[index].placed == found.interfaceIndex
                {
                    // Somebody may have set his own in its place by now: until that is known it is not touched.
                    entries[index].isUncertain = true
                }
                surveyAt = now
                return
            }
        case .linkChanged, .linkRemoved:
            surveyAt = now
            return
        case .overrun:
            for index in entries.indices where entries[index].placed != nil {
                entries[index].isUncertain = true
            }
        }
        // Many changes that do not concern our addresses cost one survey in each gap, not one for each.
        let soonest = surveyedAt?.advanced(by: timing.surveyGap) ?? now
        surveyAt = min(surveyAt, max(now, soonest))
    }

    private mutating func want(_ addresses: [VirtualAddress], now: BootInstant) {
        for index in entries.indices { entries[index].isDesired = addresses.contains(entries[index].address) }
        for address in addresses where entry(address) == nil {
            entries.append(OwnedAddress(address, schedule: schedule, now: now))
            // What the interface carries under it is not known yet.
            surveyAt = now
            hasSurveyed = false
        }
    }

    /// Takes what a survey found: the interface, nil when there is none, and the addresses of all interfaces.
    public mutating func observe(link found: LinkState?, addresses: [InterfaceAddress], now: BootInstant) {
        hasSurveyed = true
        surveyedAt = now
        surveyAt = now.advanced(by: timing.survey)
        update(link: found, now: now)
        for index in entries.indices {
            let entry = entries[index]
            let same = addresses.filter { $0.address == entry.address.address }
            let place = entry.placed ?? found?.index
            entries[index].needsRoute = entry.address.needsPrefixRoute(
                among: addresses.filter { $0.interfaceIndex == found?.index })
            let exact = same.first { $0.interfaceIndex == place && $0.matches(entry.address) }
            if entry.placed != nil {
                if let exact, exact.isTagged || !entry.isUncertain {
                    // Without the tag and never removed it was changed in place: the refresh gives it back tag and lifetime.
                    entries[index].carried = .ours
                    entries[index].isUncertain = false
                } else {
                    entries[index].carried = .absent
                    entries[index].displaced()
                }
            }
            guard entries[index].placed == nil else { continue }
            if let foreign = same.first(where: { !$0.isTagged }) {
                meet(foreign, at: index, now: now)
            } else {
                let wasForeign = if case .foreign = entries[index].carried { true } else { false }
                if wasForeign { entries[index].retryAt = nil }
                entries[index].carried = exact == nil ? .absent : .ours
            }
        }
    }

    private mutating func meet(_ foreign: InterfaceAddress, at index: Int, now: BootInstant) {
        let place = foreign.interfaceIndex == link?.index ? interface : "interface \(foreign.interfaceIndex)"
        let text =
            "\(foreign.address)/\(foreign.prefixLength) is already set on \(place) by somebody else; remove it there, "
            + "then it is claimed at once"
        if entries[index].carried != .foreign(text) {
            entries[index].carried = .foreign(text)
            events.append(.conflict(entries[index].address, text))
            counters.conflicts += 1
        }
    }

    private mutating func update(link new: LinkState?, now: BootInstant) {
        let old = link
        let isFirst = !knowsLink
        knowsLink = true
        link = new
        let (was, isNow) = (old?.canSend ?? isFirst, new?.canSend ?? false)
        if was != isNow { events.append(isNow ? .linkUp(interface) : .linkDown(interface)) }
        for index in entries.indices {
            if old?.index != new?.index {
                entries[index].retryAt = nil
            } else if isNow && (!was || old?.hardwareAddress != new?.hardwareAddress) {
                entries[index].schedule.linkReturned(now: now)
            }
        }
    }

    /// Keeps the states and the times that follow from the lease.
    private mutating func note(_ valid: Lease?, now: BootInstant) {
        for index in entries.indices {
            guard let valid, entries[index].isDesired else {
                entries[index].eligibleSince = nil
                if entries[index].placed == nil { entries[index].enter(.released, now: now) }
                continue
            }
            if entries[index].placed != nil {
                entries[index].term = valid.term
                entries[index].enter(.held, now: now)
                report(index, valid)
            } else {
                if entries[index].eligibleSince == nil {
                    let recent = kickedAt.map { $0.duration(to: now) < .seconds(1) } ?? false
                    entries[index].eligibleSince = recent ? kickedAt : now
                }
                if case .foreign = entries[index].carried {
                    entries[index].enter(.conflict, now: now)
                    end(index, .conflict)
                } else if link == nil && hasSurveyed {
                    entries[index].lastError = "there is no interface \(interface)"
                    entries[index].enter(.error, now: now)
                    end(index, .interfaceGone)
                } else if entries[index].retryAt != nil {
                    entries[index].enter(.error, now: now)
                    end(index, entries[index].isUnguarded ? .guardFailed : .failed)
                }
            }
        }
        kickedAt = nil
    }

    /// Reports a claim that was carried out.
    private mutating func report(_ index: Int, _ lease: Lease) {
        guard let claimedAt = entries[index].claimedAt else { return }
        entries[index].claimedAt = nil
        let address = entries[index].address
        if entries[index].isReported {
            counters.reinstated += 1
            events.append(.reinstated(address))
        } else {
            counters.claims += 1
            let took = entries[index].eligibleSince.map { $0.duration(to: claimedAt) } ?? .zero
            events.append(.claimed(address, term: lease.term, took: max(took, .zero)))
        }
        entries[index].isReported = true
        entries[index].eligibleSince = nil
    }

    /// Reports that an address is not held any more, once.
    private mutating func end(_ index: Int, _ reason: ReleaseReason) {
        entries[index].term = nil
        entries[index].claimedAt = nil
        entries[index].announcements = 0
        guard entries[index].isReported else { return }
        entries[index].isReported = false
        counters.releases[reason, default: 0] += 1
        events.append(.released(entries[index].address, reason: reason))
    }

    // MARK: Directives

    /// Deletes at once what must not be held, whoever leads.
    private mutating func releases(
        lease: Lease?, valid: Lease?, now: BootInstant, into directives: inout [OwnershipDirective]
    ) {
        for index in entries.indices {
            let entry = entries[index]
            if let place = entry.placed {
                if entry.isUncertain { continue }
                let isElsewhere = hasSurveyed && place != link?.index
                guard valid == nil || entry.mustGo || isElsewhere, isDue(entry.deleteRetryAt, now) else { continue }
                entries[index].leaving =
                    valid == nil
                    ? reason(lease)
                    : entry.isUnguarded ? .guardFailed : isElsewhere ? .interfaceGone : .failed
                directives.append(.delete(entry.address, interface: place))
            } else if valid == nil {
                end(index, reason(lease))
                // An earlier run left it: it carries our tag, and it is on our list.
                if entry.carried == .ours, let link, isDue(entry.deleteRetryAt, now) {
                    directives.append(.delete(entry.address, interface: link.index))
                }
            }
        }
    }

    private func reason(_ lease: Lease?) -> ReleaseReason {
        if isStopped { return .shutdown }
        return lease == nil ? .leadershipLost : .leaseEnded
    }

    /// Moves the guard's deadlines and refreshes the kernel's lifetimes.
    private mutating func upkeep(_ lease: Lease, now: BootInstant, into directives: inout [OwnershipDirective]) {
        let isTick = guardTickAt <= now
        if isTick { setGuardTick(lease, now: now) }
        for entry in entries where isKept(entry) {
            guard let place = entry.placed else { continue }
            let isOver = entry.guarded.map { $0.until <= now } ?? true
            if isTick || isOver, entry.guarded?.until != lease.end {
                directives.append(.guardHold(entry.address, interface: place, until: lease.end))
            }
            if entry.refreshAt <= now {
                directives.append(.set(entry.address, interface: place, .refreshed))
            }
        }
    }

    private mutating func setGuardTick(_ lease: Lease, now: BootInstant) {
        // A quarter of what is left of a short lease, so that the guard's deadline is moved in time.
        let quarter = max(now.duration(to: lease.end) / 4, .milliseconds(1))
        guardTickAt = now.advanced(by: min(timing.guardTick, quarter))
    }

    private mutating func claims(_ lease: Lease, now: BootInstant, into directives: inout [OwnershipDirective]) {
        guard let link, hasSurveyed else { return }
        for index in entries.indices {
            let entry = entries[index]
            guard entry.isDesired, entry.placed == nil, isDue(entry.retryAt, now) else { continue }
            let setting: OwnershipSetting
            switch entry.carried {
            case .foreign: continue
            case .absent: setting = .new(prefixRoute: entry.needsRoute)
            case .ours: setting = .takenOver
            }
            entries[index].retryAt = nil
            entries[index].isUnguarded = false
            directives.append(.guardHold(entry.address, interface: link.index, until: lease.end))
            directives.append(.set(entry.address, interface: link.index, setting))
            if link.canSend { directives.append(.announce(entry.address)) }
        }
    }

    /// Deletes what the configuration does not name any more: after the claims, so that new addresses come first.
    private mutating func retirements(now: BootInstant, into directives: inout [OwnershipDirective]) {
        for index in entries.indices where !entries[index].isDesired && !entries[index].mustGo {
            let entry = entries[index]
            if let place = entry.placed, place == link?.index, hasSurveyed, !entry.isUncertain,
                isDue(entry.deleteRetryAt, now)
            {
                entries[index].leaving = .notDesired
                directives.append(.delete(entry.address, interface: place))
            }
        }
    }

    private func announcements(now: BootInstant, into directives: inout [OwnershipDirective]) {
        guard link?.canSend == true else { return }
        for entry in entries where isKept(entry) {
            if let due = entry.schedule.next, due <= now { directives.append(.announce(entry.address)) }
        }
    }

    /// The guard forgets what is deleted and is not about to be set.
    private mutating func guardReleases(valid: Lease?, into directives: inout [OwnershipDirective]) {
        for index in entries.indices where entries[index].placed == nil {
            let entry = entries[index]
            if !entry.isDesired { end(index, .notDesired) }
            guard let guarded = entry.guarded else { continue }
            let isClaiming = directives.contains(
                .guardHold(entry.address, interface: guarded.interface, until: valid?.end ?? guarded.until))
            if !isClaiming { directives.append(.guardRelease(entry.address, interface: guarded.interface)) }
        }
    }

    private func isDue(_ time: BootInstant?, _ now: BootInstant) -> Bool {
        time.map { $0 <= now } ?? true
    }

    // MARK: Results

    /// A directive was carried out. Of an announcement, `wasSent` says whether a frame left: not when the interface does
    /// not use ARP.
    public mutating func completed(_ directive: OwnershipDirective, wasSent: Bool = true, now: BootInstant) {
        switch directive {
        case .survey, .event: break
        case .guardHold(let address, let interface, let until):
            guard let index = index(of: address) else { return }
            entries[index].guarded = (interface, until)
            entries[index].isUnguarded = false
        case .set(let address, let interface, _):
            guard let index = index(of: address) else { return }
            entries[index].refreshAt = now.advanced(by: timing.refresh)
            guard entries[index].placed == nil else { return }
            entries[index].placed = interface
            entries[index].carried = .ours
            entries[index].claimedAt = now
            entries[index].schedule.claimed(now: now)
        case .announce(let address):
            guard let index = index(of: address) else { return }
            _ = entries[index].schedule.due(now: now)
            if entries[index].claimedAt != nil { entries[index].claimedAt = now }
            if wasSent {
                entries[index].announcements += 1
                counters.announcements += 1
            }
        case .delete(let address, _):
            guard let index = index(of: address) else { return }
            entries[index].carried = .absent
            entries[index].displaced()
            if let reason = entries[index].leaving { end(index, reason) }
            entries[index].leaving = nil
        case .guardRelease(let address, let interface):
            guard let index = index(of: address), entries[index].guarded?.interface == interface else { return }
            entries[index].guarded = nil
        }
    }

    /// A directive failed; what follows from it comes with the next step.
    public mutating func failed(_ directive: OwnershipDirective, _ error: SystemError, now: BootInstant) {
        let again = now.advanced(by: timing.retry)
        var subject: Int?
        switch directive {
        case .event: return
        case .survey:
            counters.kernelErrors += 1
            surveyAt = entries.contains(where: \.isUncertain) ? now.advanced(by: timing.deleteRetry) : again
        case .guardHold(let address, _, _):
            counters.guardErrors += 1
            subject = index(of: address)
            if let subject {
                entries[subject].isUnguarded = true
                entries[subject].retryAt = again
            }
        case .set(let address, let interface, _):
            counters.kernelErrors += 1
            subject = index(of: address)
            if let subject { setFailed(subject, interface, error, now: now) }
        case .announce(let address):
            counters.announceErrors += 1
            subject = index(of: address)
            if let subject { _ = entries[subject].schedule.due(now: now) }
        case .delete(let address, _):
            counters.kernelErrors += 1
            subject = index(of: address)
            if let subject { entries[subject].deleteRetryAt = now.advanced(by: timing.deleteRetry) }
        case .guardRelease(let address, let interface):
            // The guard removes at the deadline what is not there: no harm.
            counters.guardErrors += 1
            completed(.guardRelease(address, interface: interface), now: now)
            return
        }
        let text = error.description
        if let subject {
            let isNew = entries[subject].lastError != text
            entries[subject].lastError = text
            if isNew { events.append(.failed(entries[subject].address, text)) }
        } else {
            events.append(.failed(nil, text))
        }
    }

    private mutating func setFailed(_ index: Int, _ interface: UInt32, _ error: SystemError, now: BootInstant) {
        if entries[index].placed != nil {
            // A refresh: the address is still there, for now.
            entries[index].refreshAt = now.advanced(by: min(timing.retry, .milliseconds(50)))
            if error.errno == ENODEV { surveyAt = now }
            return
        }
        entries[index].retryAt = now.advanced(by: timing.retry)
        switch error.errno {
        case EEXIST, ENODEV:
            surveyAt = now
        case EPERM, EACCES, EINVAL, EADDRNOTAVAIL, EOPNOTSUPP, EAFNOSUPPORT, ENETDOWN, ENOBUFS, ENOMEM:
            break
        default:
            // No answer of the kernel: it may have done it all the same.
            entries[index].placed = interface
            entries[index].isDoubtful = true
            entries[index].isUncertain = true
            surveyAt = now
        }
    }

    // MARK: Telling

    public var snapshot: OwnershipSnapshot {
        OwnershipSnapshot(
            interface: interface, isLinkUp: link?.canSend ?? false,
            addresses: entries.filter { $0.isDesired || $0.placed != nil }.map { entry in
                var detail: String?
                if entry.state == .conflict, case .foreign(let text) = entry.carried { detail = text }
                if entry.state == .error { detail = entry.lastError }
                return .init(
                    address: entry.address, state: entry.state, detail: detail, since: entry.since, term: entry.term,
                    announcements: entry.announcements, lastError: entry.lastError)
            },
            counters: counters)
    }

    /// The addresses that are set, or may be.
    public var placed: [VirtualAddress] { entries.filter { $0.placed != nil }.map(\.address) }
}
