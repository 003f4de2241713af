import Lease

/// What befalls the nodes.
extension LeaseSimulation {
    mutating func pick() -> Int { Int(random.below(Int64(nodes.count))) }

    mutating func crash(_ id: Int) {
        let node = nodes[id]
        guard node.isUp else { return }
        trace?("\(now) n\(id) dies")
        // Its guard takes the address off, unless it is dead, too; in the middle of a hand-over that is not covered (DOC/SAFETY.md).
        let isLeft = random.below(100) < schedule.guardsDie && has(node) && !node.gives(now)
        node.leftUntil = isLeft ? now + 1_000 * Self.ms : 0
        node.isUp = false
        node.log = node.stored
        // Its kernel closes all its connections, at once or after it has torn down what the disk was asked for.
        let closing = 200_000 + random.below(40 * Self.ms)
        for other in nodes where other.id != id && (calm || random.chance(700)) {
            guard !blocked[id * nodes.count + other.id] else { continue }
            queue.add(
                now + closing + random.below(calm ? Self.ms : 40 * Self.ms),
                .ended(
                    Int8(other.id), peer: Int8(id), peerIncarnation: node.incarnation, incarnation: other.incarnation))
        }
        node.incarnation += 1
        if struck == nil { queue.add(now + 1 + random.below(250 * Self.ms), .restart(Int8(id))) }
    }

    mutating func restart(_ id: Int) {
        let node = nodes[id]
        guard !node.isUp else { return }
        trace?("\(now) n\(id) starts")
        node.isUp = true
        node.pausedUntil = 0
        node.role = .follower
        node.leader = nil
        node.votes = SimVoters()
        node.commit = 0
        node.writesUntil = 0
        node.transfer = nil
        node.termStart = 0
        // What an earlier run has set is taken off before anything else is done.
        node.leftUntil = 0
        node.held = [:]
        node.wakeAt = .max
        node.readings = 0
        for other in nodes.indices {
            node.outAt[other] = now
            node.inAt[other] = now
        }
        node.core = core(id, node.local(now), term: node.term, hasVoted: node.votedFor != nil, isNew: false)
        node.leaseEnd = nil
        (node.giving, node.expected, node.askedToStand) = (nil, nil, nil)
        node.placed = nil
        node.probesUntil = .max
        // The newest configuration in the log counts as committed, whether it is or not.
        node.voters = log.voters(node.log)
        node.uncommittedAt = 0
        node.doubtsUpTo = log.configuredAt(node.log)
        queue.add(now + 100 * Self.ms, .checkConfiguration(Int8(id), incarnation: node.incarnation))
        resetTimer(node)
        queue.add(now + electionDelay(node), .election(Int8(id), incarnation: node.incarnation))
    }

    mutating func isolate(_ id: Int, from: Bool, to: Bool) {
        for other in nodes.indices where other != id {
            if from { blocked[id * nodes.count + other] = true }
            if to { blocked[other * nodes.count + id] = true }
        }
    }

    mutating func partition() {
        let one = pick()
        let kind = random.below(3)
        isolate(one, from: kind != 1, to: kind != 2)
        if random.chance(300), nodes.count > 3 {
            let second = pick()
            for other in nodes.indices where other != one && other != second {
                blocked[second * nodes.count + other] = true
                blocked[other * nodes.count + second] = true
            }
            blocked[one * nodes.count + second] = false
            blocked[second * nodes.count + one] = false
        }
        for other in nodes where other.id != one && random.chance(300) { reset(from: one, to: other.id) }
        queue.add(now + 1 + random.below(500 * Self.ms), .heal)
    }

    /// A connection ends although both processes live.
    private mutating func reset(from one: Int, to other: Int) {
        for (id, peer) in [(one, other), (other, one)] {
            queue.add(
                now + random.below(50 * Self.ms),
                .ended(
                    Int8(id), peer: Int8(peer), peerIncarnation: nodes[peer].incarnation,
                    incarnation: nodes[id].incarnation))
        }
    }

    mutating func beCalm() {
        calm = true
        for index in blocked.indices { blocked[index] = false }
        for node in nodes {
            node.pausedUntil = min(node.pausedUntil, now)
            if !node.isUp { restart(node.id) }
            resetTimer(node)
        }
        if let first = schedule.firstElection {
            nodes[0].timeout = first
            queue.add(now + first, .election(0, incarnation: nodes[0].incarnation))
        }
        queue.add(now + Self.patience, .end)
    }

    // MARK: the network

    mutating func send(_ from: Int, _ to: Int, _ message: SimMessage) {
        if blocked[from * nodes.count + to] { return }
        if !calm, random.chance(schedule.loss) { return }
        var at = now + latency()
        if calm || schedule.keepsOrder {
            let pair = from * nodes.count + to
            at = max(at, arrivesAt[pair] + 1)
            arrivesAt[pair] = at
        }
        queue.add(at, .arrive(from: Int8(from), to: Int8(to), message))
        if !calm, random.chance(schedule.duplication) {
            queue.add(
                now + latency() + random.below(300 * Self.ms), .arrive(from: Int8(from), to: Int8(to), message))
        }
    }

    private mutating func latency() -> Int64 {
        if !calm, random.chance(schedule.slow) { return 100_000 + random.below(250 * Self.ms) }
        return 100_000 + random.below(600_000)
    }
}
