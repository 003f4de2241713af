import CLinux
import Platform

// Asking the LAN before a claim: `ClaimProbe` decides for each address.
extension OwnershipCore {
    /// Something has to be heard from the LAN.
    public var isProbing: Bool { entries.contains { $0.probe.isActive } }

    /// An address could be claimed but for an answer that may still come, within some milliseconds.
    public var isUndecided: Bool { entries.contains { $0.probe.isAllowed && $0.awaited == nil } }

    /// Takes what another host said.
    public mutating func heard(_ sighting: AddressSighting, now: BootInstant) {
        guard sighting.hardwareAddress.bytes != link?.hardwareAddress else { return }
        for index in entries.indices where entries[index].address.address == sighting.address {
            entries[index].probe.heard(sighting.hardwareAddress, as: sighting.claimant, now: now)
        }
    }

    /// Begins, goes on with and ends asking.
    mutating func probes(_ valid: Lease?, now: BootInstant, into directives: inout [OwnershipDirective]) {
        for index in entries.indices {
            let entry = entries[index]
            if isSought(entry, valid, now) {
                entries[index].probe.seek(isAllowed: valid != nil, now: now)
            } else if valid != nil, entry.probe.isWatching, entry.placed != nil || entry.isReported {
                guard mayAsk(entry) else {
                    entries[index].probeAt = nil
                    continue
                }
            } else {
                entries[index].probe.stop()
            }
            let directive = entries[index].probe.next(now: now)
            noteHolder(index)
            switch directive {
            case .send:
                if let link { directives.append(.probe(entry.address, on: link)) }
                entries[index].probeAt = nil
            case .wait(let time): entries[index].probeAt = time
            case .idle, .claim: entries[index].probeAt = nil
            }
        }
    }

    /// Whether the LAN lets us claim the address now, or is not to be asked.
    func isFree(_ entry: OwnedAddress, now: BootInstant) -> Bool {
        !mustAsk(entry) || entry.probe.mayClaim(now: now)
    }

    /// When to go on asking.
    var probeWake: BootInstant? { entries.compactMap(\.probeAt).min() }

    /// To be claimed as soon as the LAN lets us.
    private func isSought(_ entry: OwnedAddress, _ valid: Lease?, _ now: BootInstant) -> Bool {
        guard valid != nil || hint.leads && !isStopped, hasSurveyed, entry.isDesired, entry.placed == nil,
            isDue(entry.retryAt, now)
        else { return false }
        if case .foreign = entry.carried { return false }
        return mustAsk(entry)
    }

    private func mustAsk(_ entry: OwnedAddress) -> Bool {
        // What was held without a break until now needs no question, and goes back at once.
        !hint.isHandedOver && !entry.isReported && mayAsk(entry)
    }

    /// Whether the interface can ask at all.
    private func mayAsk(_ entry: OwnedAddress) -> Bool {
        guard timing.probe.count > 0, entry.address.address.family == .v4, let link else { return false }
        return link.canSend && !link.isLoopback && !link.noARP && link.hardwareType == UInt16(ARPHRD_ETHER)
            && link.hardwareAddress.count == 6
    }

    /// Reports who else has the address, once for each change.
    private mutating func noteHolder(_ index: Int) {
        let entry = entries[index]
        if entry.probe.isWatching || entry.placed != nil {
            entries[index].awaited = nil
            guard entry.probe.holder != entry.foreignHolder else { return }
            entries[index].foreignHolder = entry.probe.holder
            events.append(.foreignHolder(entry.address, entry.probe.holder))
            if entry.probe.holder != nil { counters.conflicts += 1 }
        } else {
            entries[index].foreignHolder = nil
            guard entry.probe.holder != entry.awaited else { return }
            entries[index].awaited = entry.probe.holder
            if let holder = entry.probe.holder { events.append(.awaited(entry.address, holder)) }
        }
    }

    /// What the operator is told of another host that has the address.
    func strangerDetail(_ entry: OwnedAddress) -> String? {
        if let holder = entry.foreignHolder {
            "the host with the MAC \(holder) has it too, and does not let go: find that host and remove the address there"
        } else if let holder = entry.awaited {
            "the host with the MAC \(holder) still answers for it: it is claimed when that ends, at the latest after "
                + "\(timing.probe.bound)"
        } else {
            nil
        }
    }
}
