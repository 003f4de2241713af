import Glibc
import Platform

// What came of the orders.
extension OwnershipCore {
    /// A directive was carried out. Of an announcement, `wasSent` says whether a frame left: not when the interface does
    /// not use ARP.
    public mutating func completed(_ directive: OwnershipDirective, wasSent: Bool = true, now: BootInstant) {
        switch directive {
        case .survey, .event, .inquire, .readNeighbours: break
        case .listen(let addresses, let interface):
            heeded = (addresses, interface)
            heedRetryAt = nil
            heedError = nil
        case .guardHold(let address, let interface):
            guard let index = index(of: address) else { return }
            entries[index].guarded = interface
            entries[index].isHoldStale = false
            entries[index].guardRetryAt = nil
            entries[index].isUnguarded = false
        case .set(let address, let interface, let setting):
            guard let index = index(of: address) else { return }
            entries[index].refreshAt = now.advanced(by: timing.refresh)
            guard entries[index].placed == nil else {
                noteRefreshedRoute(index, now: now)
                return
            }
            entries[index].placed = interface
            entries[index].isGiven = hint.isHandedOver
            entries[index].carried = .ours
            if case .new(let hasRoute) = setting {
                entries[index].hasRoute = hasRoute
            } else if address.address.family == .v6 {
                entries[index].hasRoute = entries[index].needsRoute
            }
            entries[index].claimedAt = now
            entries[index].setAt = now
            entries[index].schedule.claimed(now: now)
            neighbours?.begin(address, now: now)
            entries[index].probe.claimed(now: now)
        case .probe(let address, _):
            guard let index = index(of: address) else { return }
            entries[index].probe.sent(now: now)
            counters.probes += 1
        case .announce(let address):
            guard let index = index(of: address) else { return }
            _ = entries[index].schedule.due(now: now)
            if entries[index].claimedAt != nil { entries[index].claimedAt = now }
            if wasSent {
                entries[index].announcements += 1
                if entries[index].announcedAt == nil { entries[index].announcedAt = now }
                counters.announcements += 1
            }
        case .tellNeighbours(let notices):
            if wasSent { counters.neighboursTold += UInt64(notices.count) }
        case .delete(let address, _):
            guard let index = index(of: address) else { return }
            entries[index].carried = .absent
            // Whatever makes the kernel refuse to serve it, it is not fought in a loop.
            if entries[index].isSpoilt { entries[index].retryAt = now.advanced(by: timing.retry) }
            // Nothing but the reseat orders it without a reason.
            entries[index].isReseated = entries[index].placed != nil && entries[index].leaving == nil
            entries[index].displaced()
            if let reason = entries[index].leaving { end(index, reason) }
            entries[index].leaving = nil
        case .guardRelease(let address, let interface):
            guard let index = index(of: address), entries[index].guarded == interface else { return }
            entries[index].guarded = nil
            entries[index].guardRetryAt = nil
        }
    }

    /// A directive failed; what follows from it comes with the next step.
    public mutating func failed(_ directive: OwnershipDirective, _ error: SystemError, now: BootInstant) {
        let again = now.advanced(by: timing.retry)
        var subject: Int?
        switch directive {
        case .event, .inquire: return
        case .readNeighbours:
            counters.announceErrors += 1
            neighbours?.learnt([], except: [], now: now)
            return
        case .tellNeighbours:
            // Why is told of the broadcast; the next round follows.
            counters.announceErrors += 1
            return
        case .listen:
            counters.probeErrors += 1
            heedRetryAt = now.advanced(by: timing.listenRetry)
            guard error.description != heedError else { return }
            heedError = error.description
        case .survey:
            counters.kernelErrors += 1
            surveyAt = entries.contains(where: \.isUncertain) ? now.advanced(by: timing.deleteRetry) : again
        case .guardHold(let address, let interface):
            counters.guardErrors += 1
            subject = index(of: address)
            if let subject {
                // It may have heard of it all the same: then it has to hear that it may forget it.
                entries[subject].guarded = interface
                entries[subject].isUnguarded = true
                entries[subject].retryAt = again
            }
        case .set(let address, let interface, _):
            counters.kernelErrors += 1
            subject = index(of: address)
            if let subject { setFailed(subject, interface, error, now: now) }
        case .probe(let address, _):
            counters.probeErrors += 1
            subject = index(of: address)
            // As one that was lost.
            if let subject { entries[subject].probe.sent(now: now) }
        case .announce(let address):
            counters.announceErrors += 1
            subject = index(of: address)
            if let subject { _ = entries[subject].schedule.due(now: now) }
        case .delete(let address, _):
            counters.kernelErrors += 1
            subject = index(of: address)
            if let subject { entries[subject].deleteRetryAt = now.advanced(by: timing.deleteRetry) }
        case .guardRelease(let address, _):
            // Until it hears of it the guard looks for what is not there.
            counters.guardErrors += 1
            if let index = index(of: address) { entries[index].guardRetryAt = again }
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

    private mutating func noteRefreshedRoute(_ index: Int, now: BootInstant) {
        let entry = entries[index]
        guard entry.address.address.family == .v6 else { return }
        let hasRoute = bringsRoute(entry.address, now: now)
        entries[index].hasRoute = hasRoute
        if hasRoute == entry.needsRoute { entries[index].reseatAt = nil }
        if let before = entry.hasRoute, before != hasRoute {
            events.append(.reseated(entry.address, withRoute: hasRoute))
        }
    }

    mutating func setFailed(_ index: Int, _ interface: UInt32, _ error: SystemError, now: BootInstant) {
        if entries[index].placed != nil {
            // A refresh: the address is still there, for now.
            entries[index].refreshAt = now.advanced(by: min(timing.retry, .milliseconds(50)))
            if entries[index].reseatAt != nil { entries[index].reseatAt = entries[index].refreshAt }
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
}
