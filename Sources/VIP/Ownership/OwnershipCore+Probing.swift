import Platform

// Asking the LAN before a claim: `ClaimProbe` decides for each address.
extension OwnershipCore {
    /// Something has to be heard from the LAN.
    public var isProbing: Bool { entries.contains { $0.probe.isActive } }

    /// An address could be claimed but for an answer that may still come, within some milliseconds.
    public var isUndecided: Bool {
        entries.contains { $0.probe.isAllowed && $0.awaited == nil && !$0.isWithheld }
    }

    /// Takes what another host said.
    ///
    /// - Parameter isWhole: nothing else that was said up to now is unheard. Where something is, it may be the answer of the
    ///   last holder, and the claim waits for whoever answers.
    public mutating func heard(_ sighting: AddressSighting, isWhole: Bool = true, now: BootInstant) {
        guard sighting.hardwareAddress.bytes != link?.hardwareAddress else { return }
        for index in entries.indices where entries[index].address.address == sighting.address {
            guard isKept(entries[index]) else {
                let isStranger = isWhole && isStranger(sighting, to: entries[index])
                entries[index].probe.heard(
                    sighting.hardwareAddress, as: isStranger ? .stranger : sighting.claimant, now: now)
                continue
            }
            // Who only asks for it has the kernel's answer. In a planned hand-over the two holders know of each other.
            guard sighting.claimant == .holder, !hint.isHandedOver, !hint.handsOver else { continue }
            counters.foreignClaims += 1
            entries[index].foreignMACs.note(sighting.hardwareAddress)
            entries[index].probe.met(sighting.hardwareAddress, now: now)
            entries[index].schedule.contested(now: now)
        }
    }

    /// Whether it is no member's kernel that says it has the address. A first claim has no last holder: there everybody counts.
    private func isStranger(_ sighting: AddressSighting, to entry: OwnedAddress) -> Bool {
        guard sighting.claimant == .holder, entry.isTakeOver, let members = hint.memberMACs else { return false }
        return !members.contains(sighting.hardwareAddress) && !members.contains(sighting.source)
    }

    /// Begins, goes on with and ends asking.
    mutating func probes(_ valid: Lease?, now: BootInstant, into directives: inout [OwnershipDirective]) {
        var questions: [OwnershipDirective] = []
        // After the probes: who hears this has heard them.
        var inquires = false
        defer {
            listen(now: now, into: &directives)
            directives += questions
            if inquires { directives.append(.inquire) }
        }
        for index in entries.indices {
            let entry = entries[index]
            if isSought(entry, valid, now) {
                entries[index].probe.seek(isAllowed: valid != nil, predecessor: hint.predecessor, now: now)
            } else if valid != nil, entry.probe.isWatching, entry.placed != nil || entry.isReported {
                guard mayAsk(entry) else {
                    entries[index].probeAt = nil
                    continue
                }
            } else {
                entries[index].probe.stop()
            }
            let directive = entries[index].probe.next(now: now)
            noteHolder(index, now: now)
            switch directive {
            case .send:
                if let link { questions.append(.probe(entry.address, on: link)) }
                if entries[index].probe.wantsInquiry { inquires = true }
                entries[index].probeAt = nil
            case .wait(let time): entries[index].probeAt = time
            case .idle, .claim: entries[index].probeAt = nil
            }
        }
    }

    /// Has what others say of our addresses heard, while we ask for them and while we have them.
    private func listen(now: BootInstant, into directives: inout [OwnershipDirective]) {
        let wanted = entries.filter { mayAsk($0) && ($0.probe.isActive || isKept($0)) }.map(\.address)
        let interface = wanted.isEmpty ? 0 : link?.index ?? 0
        guard heeded != (Set(wanted), interface), isDue(heedRetryAt, now) else { return }
        directives.append(.listen(Set(wanted), interface: interface))
    }

    /// Whether the LAN lets us claim the address now, or is not to be asked.
    func isFree(_ entry: OwnedAddress, now: BootInstant) -> Bool {
        !mustAsk(entry) || entry.probe.mayClaim(now: now)
    }

    /// When to go on asking.
    var probeWake: BootInstant? { entries.compactMap(\.probeAt).min() }

    /// To be claimed as soon as the LAN lets us.
    private func isSought(_ entry: OwnedAddress, _ valid: Lease?, _ now: BootInstant) -> Bool {
        guard valid != nil || hint.leads && !isStopped, !hint.handsOver, hasSurveyed, entry.isDesired,
            entry.placed == nil, isDue(entry.retryAt, now)
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
        guard timing.probe.count > 0, let link else { return false }
        return link.canSend && link.silence == nil
    }

    /// Reports that somebody else has the address, and that nobody has it any more: once for each of these changes. Another MAC
    /// is none of them, as it may be another one with each frame.
    private mutating func noteHolder(_ index: Int, now: BootInstant) {
        let entry = entries[index]
        if entry.probe.isWithheld != entry.isWithheld {
            entries[index].isWithheld = entry.probe.isWithheld
            if entry.probe.isWithheld { events.append(.withheld(entry.address)) }
        }
        if entry.probe.isWatching || entry.placed != nil {
            entries[index].awaited = nil
            entries[index].awaitedToldAt = nil
            entries[index].foreignHolder = entry.probe.holder
            switch (entry.foreignHolder, entry.probe.holder) {
            case (nil, let holder?):
                counters.conflicts += 1
                entries[index].foreignMACs.begin(holder, now: now)
                events.append(.foreignHolder(entry.address, holder))
            case (_?, nil):
                entries[index].foreignMACs = ForeignMACs()
                events.append(.foreignHolder(entry.address, nil))
            case (_?, let holder?):
                guard let count = entries[index].foreignMACs.due(now: now) else { return }
                events.append(.foreignMACs(entry.address, "\(count)", last: holder))
            case (nil, nil): break
            }
        } else {
            entries[index].foreignHolder = nil
            entries[index].foreignMACs = ForeignMACs()
            entries[index].awaited = entry.probe.holder
            // In a planned hand-over it is what is to be.
            guard entry.awaited == nil, let holder = entry.probe.holder, !hint.isBeingHandedOver else { return }
            if let told = entry.awaitedToldAt, told.duration(to: now) < ForeignMACs.interval { return }
            entries[index].awaitedToldAt = now
            events.append(.awaited(entry.address, holder))
        }
    }

    /// What the operator is told of another host that has the address.
    func strangerDetail(_ entry: OwnedAddress) -> String? {
        if let holder = entry.foreignHolder {
            "the host with the MAC \(holder) has it too, and does not let go: find that host and remove the address there"
                + (entry.foreignMACs.count.map { " (\($0) so far)" } ?? "")
        } else if let holder = entry.awaited {
            "the host with the MAC \(holder) still answers for it: it is claimed when that ends, at the latest after "
                + "\(timing.probe.bound)"
        } else if entry.isWithheld {
            "the last holder's process has ended, and its host cannot be heard: it is claimed when that host answers, at the "
                + "latest when its kernel has let go of it, \(timing.probe.bound) after the end of the process"
        } else {
            nil
        }
    }
}
