import Platform

// What the core orders, in the order of urgency.
extension OwnershipCore {
    /// Deletes at once what must not be held, whoever leads.
    mutating func releases(
        lease: Lease?, valid: Lease?, now: BootInstant, into directives: inout [OwnershipDirective]
    ) {
        for index in entries.indices {
            let entry = entries[index]
            if let place = entry.placed {
                if entry.isUncertain { continue }
                let isElsewhere = hasSurveyed && place != link?.index
                let isSevered = isSevered(entry)
                guard valid == nil || entry.mustGo || isElsewhere || isSevered, isDue(entry.deleteRetryAt, now) else {
                    continue
                }
                entries[index].leaving =
                    valid == nil
                    ? reason(lease)
                    : entry.isUnguarded
                        ? .guardFailed : isElsewhere ? .interfaceGone : isSevered ? .handOverSevered : .failed
                // As after any death.
                if isSevered { entries[index].isTakeOver = true }
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

    func reason(_ lease: Lease?) -> ReleaseReason {
        if isStopped { return .shutdown }
        return lease == nil ? .leadershipLost : .leaseEnded
    }

    /// Refreshes the kernel's lifetimes.
    func refreshes(now: BootInstant, into directives: inout [OwnershipDirective]) {
        for entry in entries where isKept(entry) {
            guard let place = entry.placed else { continue }
            if entry.isHoldStale { directives.append(.guardHold(entry.address, interface: place)) }
            guard entry.refreshAt <= now else { continue }
            directives.append(.set(entry.address, interface: place, .refreshed))
        }
    }

    /// Sets anew what should bring the connected route of its subnet and does not, or the other way round. An IPv6 address
    /// need only be refreshed for that; of an IPv4 address the kernel leaves it as it was.
    mutating func reseats(now: BootInstant, into directives: inout [OwnershipDirective]) {
        // It would be off the interface for a moment, and could not be set again.
        if hint.handsOver { return }
        for index in entries.indices where isKept(entries[index]) {
            let entry = entries[index]
            guard let time = reseatTime(entry), time <= now, let place = entry.placed else { continue }
            if entry.address.address.family == .v6 {
                directives.append(.set(entry.address, interface: place, .refreshed))
                continue
            }
            entries[index].leaving = nil
            directives.append(.delete(entry.address, interface: place))
            directives.append(.set(entry.address, interface: place, .new(prefixRoute: entry.needsRoute)))
            if link?.canSend == true { directives.append(.announce(entry.address)) }
        }
    }

    /// When it is to be set anew; nil when it need not be, or must not: without promotion an address of the host may be a
    /// secondary of ours, and would go with it.
    func reseatTime(_ entry: OwnedAddress) -> BootInstant? {
        guard let reseatAt = entry.reseatAt else { return nil }
        if entry.address.address.family == .v6 { return reseatAt }
        return keepsSecondaries ? max(reseatAt, entry.deleteRetryAt ?? reseatAt) : nil
    }

    /// Whether setting it over itself shall bring the connected route of its subnet: for IPv6 the kernel adds or takes that
    /// then, for IPv4 it does not matter.
    public func bringsRoute(_ address: VirtualAddress, now: BootInstant) -> Bool {
        guard address.address.family == .v6, let entry = entry(address) else { return false }
        if let hasRoute = entry.hasRoute, let reseatAt = entry.reseatAt, now < reseatAt { return hasRoute }
        return entry.needsRoute
    }

    mutating func claims(now: BootInstant, into directives: inout [OwnershipDirective]) {
        // What proves the hand-over is that it has the addresses, and not that it may have more.
        guard let link, hasSurveyed, !hint.handsOver else { return }
        for index in entries.indices {
            let entry = entries[index]
            guard entry.isDesired, entry.placed == nil, isDue(entry.retryAt, now), isFree(entry, now: now) else {
                continue
            }
            if entry.isSpoilt {
                if isDue(entry.deleteRetryAt, now) {
                    directives.append(.delete(entry.address, interface: link.index))
                }
                continue
            }
            let setting: OwnershipSetting
            switch entry.carried {
            case .foreign: continue
            case .absent: setting = .new(prefixRoute: entry.needsRoute)
            case .ours: setting = .takenOver
            }
            if let guarded = entry.guarded, guarded != link.index {
                // The guard knows each address on one interface at a time.
                guard isDue(entry.guardRetryAt, now) else { continue }
                directives.append(.guardRelease(entry.address, interface: guarded))
            }
            entries[index].retryAt = nil
            entries[index].isUnguarded = false
            directives.append(.guardHold(entry.address, interface: link.index))
            directives.append(.set(entry.address, interface: link.index, setting))
            if link.canSend { directives.append(.announce(entry.address)) }
        }
    }

    /// Deletes what the configuration does not name any more: after the claims, so that new addresses come first.
    mutating func retirements(now: BootInstant, into directives: inout [OwnershipDirective]) {
        if isUndecided { return }
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

    mutating func announcements(now: BootInstant, into directives: inout [OwnershipDirective]) {
        guard let link, link.canSend else { return }
        for entry in entries where isKept(entry) {
            if let due = entry.schedule.next, due <= now { directives.append(.announce(entry.address)) }
        }
        guard neighbours?.isActive == true else { return }
        for entry in entries where !isKept(entry) { neighbours?.end(entry.address) }
        switch neighbours?.due(now: now) {
        case .read(let families): directives.append(.readNeighbours(families, interface: link.index))
        case .tell(let notices): directives.append(.tellNeighbours(notices))
        case .nothing, nil: break
        }
    }

    /// The guard forgets what is deleted and is not about to be set.
    mutating func guardReleases(now: BootInstant, into directives: inout [OwnershipDirective]) {
        for index in entries.indices where entries[index].placed == nil {
            let entry = entries[index]
            if !entry.isDesired { end(index, .notDesired) }
            guard let guarded = entry.guarded, isDue(entry.guardRetryAt, now) else { continue }
            let isClaimed = directives.contains { directive in
                if case .guardHold(entry.address, _) = directive { true } else { false }
            }
            if !isClaimed { directives.append(.guardRelease(entry.address, interface: guarded)) }
        }
    }

    func isDue(_ time: BootInstant?, _ now: BootInstant) -> Bool {
        time.map { $0 <= now } ?? true
    }
}
