import Platform

// What the core learns: wishes, the kernel's reports, and surveys.
extension OwnershipCore {
    mutating func take(_ input: Input, now: BootInstant) {
        switch input {
        case .wake: break
        case .kicked(let at): kickedAt = at
        case .desired(let addresses): want(addresses, now: now)
        case .netlink(let event): hear(event, now: now)
        case .announceAgain:
            for index in entries.indices { announceAnew(index, now: now) }
        case .neighbours(let found):
            neighbours?.learnt(found, except: Set(entries.map(\.address.address)), now: now)
        case .releaseAll: isStopped = true
        }
    }

    mutating func hear(_ event: NetlinkEvent, now: BootInstant) {
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

    mutating func want(_ addresses: [VirtualAddress], now: BootInstant) {
        for index in entries.indices { entries[index].isDesired = addresses.contains(entries[index].address) }
        for address in addresses where entry(address) == nil {
            entries.append(OwnedAddress(address, schedule: schedule, probe: ClaimProbe(timing: timing.probe), now: now))
            // What the interface carries under it is not known yet.
            surveyAt = now
            hasSurveyed = false
        }
    }

    /// Takes what a survey found: the interface, nil when there is none, and the addresses of all interfaces.
    ///
    /// - Parameter isWhole: false when changes interrupted the reading, so that some address may be missing.
    public mutating func observe(
        link found: LinkState?, addresses: [InterfaceAddress], isWhole: Bool = true, now: BootInstant
    ) {
        hasSurveyed = true
        surveyedAt = now
        surveyAt = now.advanced(by: isWhole ? timing.survey : timing.surveyAgain)
        update(link: found, now: now)
        for index in entries.indices {
            let entry = entries[index]
            let same = addresses.filter { $0.address == entry.address.address }
            // Passed over, or gone: what is gone is reported by itself.
            if !isWhole, entry.placed != nil, same.isEmpty { continue }
            let place = entry.placed ?? found?.index
            entries[index].needsRoute = entry.address.needsPrefixRoute(
                among: addresses.filter { $0.interfaceIndex == found?.index })
            let exact = same.first { $0.interfaceIndex == place && $0.matches(entry.address) }
            if entry.placed != nil {
                if let exact, exact.isTagged || !entry.isUncertain {
                    // Without the tag and never removed it was changed in place: the refresh gives it back tag and lifetime.
                    entries[index].carried = .ours
                    entries[index].isUncertain = false
                    entries[index].mayHaveLapsed = false
                } else {
                    if entry.mayHaveLapsed { end(index, .leaseEnded) }
                    entries[index].carried = .absent
                    entries[index].displaced()
                }
            }
            let isSpoilt = exact.map { $0.isUnusable && ($0.isTagged || entries[index].placed != nil) } ?? false
            if isSpoilt && !entry.isSpoilt {
                let text =
                    "\(entry.address) is on \(interface) and not served, because duplicate address detection found another "
                    + "host or goes on: it is removed and set without that"
                entries[index].lastError = text
                events.append(.failed(entry.address, text))
            }
            entries[index].isSpoilt = isSpoilt
            noteRoute(index, now: now)
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

    /// Plans to set it anew when it has the connected route of its subnet and needs it not, or the other way round. Without
    /// the route nobody can be answered; with one too many there is time to see whether the host's address stays.
    private mutating func noteRoute(_ index: Int, now: BootInstant) {
        let entry = entries[index]
        guard entry.placed != nil, let hasRoute = entry.hasRoute, hasRoute != entry.needsRoute else {
            entries[index].reseatAt = nil
            return
        }
        if entry.reseatAt == nil {
            entries[index].reseatAt = entry.needsRoute ? now : now.advanced(by: timing.reseat)
        }
    }

    mutating func meet(_ foreign: InterfaceAddress, at index: Int, now: BootInstant) {
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

    mutating func update(link new: LinkState?, now: BootInstant) {
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
                announceAnew(index, now: now)
                // What was set on a link that was down has not got the route of its subnet, until it is set over itself.
                if !was, entries[index].address.address.family == .v6 { entries[index].refreshAt = now }
            }
        }
    }

    private mutating func announceAnew(_ index: Int, now: BootInstant) {
        entries[index].schedule.linkReturned(now: now)
        if isKept(entries[index]) { neighbours?.begin(entries[index].address, now: now) }
    }

    /// Notes until when the guard cannot have removed anything. Who slept past that (SIGSTOP, a machine too busy), or could
    /// not delete what a lost lease left, looks at the interface before anything else, and tells the guard anew.
    mutating func cover(_ valid: Lease?, now: BootInstant) {
        defer { covering = valid }
        guard let valid else { return }
        if let covering, covering.term == valid.term, covering.end.advanced(by: .zero - GuardCore.lead) > now { return }
        for index in entries.indices where entries[index].placed != nil {
            entries[index].isHoldStale = true
            entries[index].isUncertain = true
            entries[index].mayHaveLapsed = true
            surveyAt = now
        }
    }

    /// Keeps the states and the times that follow from the lease.
    mutating func note(_ valid: Lease?, now: BootInstant) {
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
    mutating func report(_ index: Int, _ lease: Lease) {
        guard let claimedAt = entries[index].claimedAt else { return }
        entries[index].claimedAt = nil
        let address = entries[index].address
        let isReseated = entries[index].isReseated
        entries[index].isReseated = false
        if entries[index].isReported, isReseated {
            events.append(.reseated(address, withRoute: entries[index].hasRoute ?? false))
        } else if entries[index].isReported {
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
    mutating func end(_ index: Int, _ reason: ReleaseReason) {
        entries[index].term = nil
        entries[index].claimedAt = nil
        entries[index].announcements = 0
        entries[index].isReseated = false
        guard entries[index].isReported else { return }
        entries[index].isReported = false
        counters.releases[reason, default: 0] += 1
        events.append(.released(entries[index].address, reason: reason))
    }
}
