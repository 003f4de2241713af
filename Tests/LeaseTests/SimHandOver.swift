import Lease
import Platform

@testable import Lease

/// The planned hand-over and the address, as the daemons deal with them (`ClusterNode+HandOver`, `Ownership`): offers, the moment for
/// which the giver keeps the address, the claim with or without a question to the LAN.
///
/// The probe is a model of `ClaimProbe`, which has a simulation of its own (`ClaimSimulationTests`): after some milliseconds it is known
/// whether a kernel that can be reached has the address.
extension LeaseSimulation {
    static let handOverLimit: Duration = .milliseconds(100)

    // MARK: the one that gives

    /// A hand-over is asked for.
    mutating func handOver() {
        guard let node = someLeader(), node.giving == nil, node.hasLease(now) else { return }
        let others = nodes.indices.filter { $0 != node.id && node.voters.contains($0) }
        guard !others.isEmpty else { return }
        let to = others[Int(random.below(Int64(others.count)))]
        let term = node.core.lease.term
        node.giving = (term, to)
        trace?("\(now) n\(node.id) offers the lead of term \(term) to n\(to)")
        if calm { handedOver = (node.id, to) }
        queue.add(now + 1_000 * Self.ms, .offerEnds(Int8(node.id), term: term, incarnation: node.incarnation))
        guard rules.asksReadiness else { return startTransfer(node, to) }
        offer(node, to, isMade: false)
    }

    private mutating func offer(_ node: SimVoter, _ to: Int, isMade: Bool) {
        guard let giving = node.giving else { return }
        send(
            node.id, to,
            .offer(term: giving.term, isMade: isMade, isHolder: has(node), incarnation: node.incarnation))
    }

    mutating func handOverReceives(_ node: SimVoter, _ from: Int, _ message: SimMessage) throws {
        switch message {
        case .offer(let term, let isMade, let isHolder, let incarnation):
            guard node.core.gate.term <= term else { return }
            if isMade { node.expected = (term, from, node.local(now).advanced(by: .milliseconds(500)), isHolder) }
            let held = max(0, node.local(now).duration(to: node.core.gate.closedUntil).inNanoseconds)
            send(node.id, from, .ready(term: term, heldFor: held, isMade: isMade, to: incarnation))
        case .ready(let term, let heldFor, let isMade, let incarnation):
            guard incarnation == node.incarnation, let giving = node.giving, giving.term == term,
                giving.successor == from
            else { return }
            guard heldFor == 0 else {
                // It waits, and asks again.
                queue.add(
                    now + heldFor + random.below(2 * Self.ms),
                    .offerAgain(Int8(node.id), to: Int8(from), term: term, incarnation: node.incarnation))
                return
            }
            if isMade { startTransfer(node, from) } else { offer(node, from, isMade: true) }
        case .tookOver(let term):
            guard node.giving?.term == term else { return }
            node.giving = nil
            node.core.letsGo(now: node.local(now))
            try perform(node)
        case .frame, .said: break
        }
    }

    mutating func offerAgain(_ id: Int, _ to: Int, _ term: UInt64) {
        guard nodes[id].giving?.term == term else { return }
        offer(nodes[id], to, isMade: false)
    }

    mutating func offerEnds(_ id: Int, _ term: UInt64) {
        if nodes[id].giving?.term == term { nodes[id].giving = nil }
    }

    // MARK: the address

    /// Whether the leader before gives this node the lead, and waits for it to set the address.
    private func isHandedOver(_ node: SimVoter) -> Bool {
        guard let expected = node.expected, node.core.lease.term == expected.term + 1 else { return false }
        let local = node.local(now)
        guard rules.isHandedOverByRequest else { return local < expected.until }
        // A giver that has not set the address itself yet may be waiting for another kernel.
        guard expected.isHolder, let asked = node.askedToStand, asked.by == expected.from, asked.term == expected.term,
            asked.at.duration(to: local) < Self.handOverLimit, node.core.predecessors.account == nil
        else { return false }
        // The giver lives: it has acknowledged what its successor sent.
        return node.core.lease.acknowledged(since: BootInstant(nanoseconds: .min)).contains(VoterID(expected.from))
    }

    /// Whether the kernel of a host has the address now.
    func has(_ node: SimVoter) -> Bool {
        if !node.isUp { return now < node.leftUntil }
        return node.placed != nil && (node.hasLease(now) || node.gives(now))
    }

    /// Sets the address as soon as that is allowed: to be called whenever the lease may have begun or moved.
    mutating func claim(_ node: SimVoter) throws {
        guard node.isUp, node.placed == nil || !has(node) else { return }
        node.placed = nil
        guard node.hasLease(now) else {
            node.probesUntil = .max
            return
        }
        guard node.configuredTerm == node.core.lease.term else { return }
        if isHandedOver(node) || !rules.probes { return try place(node) }
        guard node.probesUntil == .max else { return }
        node.soughtSince = now
        askForAddress(node)
    }

    private mutating func askForAddress(_ node: SimVoter) {
        node.probesUntil = now + 4 * Self.ms
        queue.add(node.probesUntil, .answered(Int8(node.id), incarnation: node.incarnation))
    }

    /// The answers to the probe are in.
    mutating func answered(_ id: Int) throws {
        let node = nodes[id]
        guard node.probesUntil <= now else { return }
        node.probesUntil = .max
        guard node.hasLease(now), node.placed == nil else { return }
        // A kernel behind a cut cannot be heard: that a host loses daemon and guard behind one is not covered, and not tried.
        let isHeld = nodes.contains { other in
            other.id != id && has(other)
                && (!other.isUp || !(blocked[id * nodes.count + other.id] || blocked[other.id * nodes.count + id]))
        }
        if isHeld, now - node.soughtSince < 2_000 * Self.ms { return askForAddress(node) }
        try place(node)
    }

    private mutating func place(_ node: SimVoter) throws {
        node.placed = node.core.lease.term
        if let handedOver, node.id != handedOver.from, node.id != handedOver.to { outcome.wentElsewhere = true }
        trace?("\(now) n\(node.id) sets the address in term \(node.core.lease.term)")
        for other in nodes where other.id != node.id && has(other) {
            let isPlanned =
                other.isUp && other.gives(now) && other.core.lease.handingOver.map { Int($0.successor) } == node.id
            if !isPlanned {
                throw violation(.twoKernels, "the kernels of n\(other.id) and n\(node.id) have the address")
            }
        }
        if let expected = node.expected, isHandedOver(node) {
            send(node.id, expected.from, .tookOver(term: expected.term))
        }
    }
}
