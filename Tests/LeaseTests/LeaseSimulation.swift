import Lease
import Platform

@testable import Lease

/// Leases over a model of raft, in simulated time: real `VoteGate`s and `LeaseCore`s, clocks that differ in rate, a network
/// that loses, repeats, delays and partitions, processes that stop, die and come back, members that come and go, and
/// election timers that go off whenever they like.
///
/// A seed repeats its run. It stops at the first instant at which two nodes have a lease.
struct LeaseSimulation {
    struct Violation: Error, CustomStringConvertible {
        var description: String
    }

    /// Rules that a test switches off to show that they are needed.
    struct Rules {
        var gate = VoteGate.Rules()
        var surrenders = true
        var followsChanges = true
        var margin = true
    }

    static let hold: Duration = .milliseconds(150)
    static let electionTimeout: Int64 = 300 * LeaseSchedule.millisecond
    private static let ms = LeaseSchedule.millisecond

    enum Event {
        case arrive(from: Int, to: Int, SimMessage)
        /// The node has written a frame; it reaches the relay.
        case out(Int, to: Int, SimFrame, incarnation: UInt64)
        /// The relay has handed a frame to the node; it reads it.
        case handed(Int, from: Int, SimFrame, incarnation: UInt64)
        case release(Int, incarnation: UInt64)
        case heartbeat(Int, incarnation: UInt64)
        case election(Int, incarnation: UInt64)
        case died(seenBy: Int, Int, incarnation: UInt64)
        case restart(Int)
        case crash, pause, partition, heal, transfer, change, calm, end
    }

    let schedule: LeaseSchedule
    let rules: Rules
    var random: SimRandom
    var queue = EventQueue<Event>()
    var now: Int64 = 0
    var nodes: [SimVoter] = []
    var blocked: [Bool]
    var calm = false
    /// When a lease began after the calm; how long that took is the outcome.
    var holderAt: Int64?
    /// How often a lease was extended: a run without any proves nothing.
    var extensions = 0
    var trace: ((String) -> Void)?

    init(_ schedule: LeaseSchedule, rules: Rules = Rules(), trace: ((String) -> Void)? = nil) {
        self.schedule = schedule
        self.rules = rules
        self.trace = trace
        random = SimRandom(schedule.seed)
        blocked = [Bool](repeating: false, count: schedule.count * schedule.count)
        let voters = Array(0..<schedule.initialVoters)
        for id in 0..<schedule.count {
            let rate = 1 + Double(random.below(2 * schedule.drift + 1) - schedule.drift) / 1_000_000
            let offset = random.below(1 << 40)
            let node = SimVoter(
                id: id, count: schedule.count, voters: voters, rate: rate, offset: offset,
                gate: Self.gate(BootInstant(nanoseconds: offset), 0, rules), lease: Self.lease(id, rules))
            nodes.append(node)
            queue.add(random.below(schedule.elections), .election(id, incarnation: 1))
        }
        plan(schedule.crashes, .crash)
        plan(schedule.pauses, .pause)
        plan(schedule.partitions, .partition)
        plan(schedule.transfers, .transfer)
        plan(schedule.changes, .change)
        queue.add(schedule.calmAt, .calm)
    }

    private static func gate(_ now: BootInstant, _ term: UInt64, _ rules: Rules) -> VoteGate {
        VoteGate(now: now, term: term, hold: hold, closedAtStart: hold, rules: rules.gate)
    }

    private static func lease(_ id: Int, _ rules: Rules) -> LeaseCore {
        LeaseCore(own: VoterID(id), duration: rules.margin ? LeaseCore.duration(hold: hold) : hold)
    }

    private mutating func plan(_ mean: Int64?, _ event: Event) {
        guard let mean else { return }
        var at: Int64 = 0
        while true {
            at += 1 + random.below(2 * mean)
            if at >= schedule.calmAt { return }
            queue.add(at, event)
        }
    }

    /// Returns how long after the calm there was a holder; nanoseconds.
    mutating func run() throws -> Int64 {
        while let (time, event) = queue.next() {
            now = time
            try handle(event)
            if let holderAt { return holderAt - schedule.calmAt }
        }
        throw Violation(description: "seed \(schedule.seed): no holder within 6 s of the calm")
    }

    // MARK: events

    private mutating func handle(_ event: Event) throws {
        switch event {
        case .arrive(let from, let to, let message):
            guard awake(to, event) else { return }
            try relayReceives(to, from, message)
        case .out(let id, let to, let frame, let incarnation):
            guard nodes[id].incarnation == incarnation, awake(id, event) else { return }
            try relaySends(id, to, frame)
        case .handed(let id, let from, let frame, let incarnation):
            guard nodes[id].incarnation == incarnation, awake(id, event) else { return }
            receive(id, from, frame)
        case .release(let id, let incarnation):
            guard nodes[id].incarnation == incarnation, awake(id, event) else { return }
            let held = nodes[id].held
            nodes[id].held = []
            nodes[id].releaseAt = 0
            for vote in held { try relaySends(id, vote.to, vote.frame) }
        case .heartbeat(let id, let incarnation):
            guard nodes[id].incarnation == incarnation, nodes[id].role == .leader, awake(id, event) else { return }
            heartbeat(id)
            if calm { try check(nodes[id]) }
        case .election(let id, let incarnation):
            guard nodes[id].incarnation == incarnation, awake(id, event) else { return }
            electionTimer(id)
        case .died(let id, let dead, let incarnation):
            guard nodes[id].isUp, awake(id, event) else { return }
            nodes[id].gate.died(VoteGate.LeaderProcess(voter: VoterID(dead), incarnation: incarnation))
            recheck(id)
        case .restart(let id): restart(id)
        case .crash: if !calm { crash(pick()) }
        case .pause:
            if !calm { nodes[pick()].pausedUntil = now + 1 + random.below(600 * Self.ms) }
        case .partition:
            if !calm { partition() }
        case .heal: for index in blocked.indices { blocked[index] = false }
        case .transfer: if !calm { transfer() }
        case .change: if !calm { changeMembers() }
        case .calm: beCalm()
        case .end:
            for node in nodes {
                trace?("n\(node.id) \(node.role) term \(node.term) voters \(node.voters) \(node.lease) \(node.gate)")
            }
            throw Violation(description: "seed \(schedule.seed): no holder within 6 s of the calm")
        }
    }

    private mutating func pick() -> Int { Int(random.below(Int64(nodes.count))) }

    /// A process that is stopped deals with everything when it goes on.
    private mutating func awake(_ id: Int, _ event: Event) -> Bool {
        guard nodes[id].isUp else { return false }
        if nodes[id].pausedUntil > now {
            queue.add(nodes[id].pausedUntil, event)
            return false
        }
        return true
    }

    // MARK: faults

    private mutating func crash(_ id: Int) {
        let node = nodes[id]
        guard node.isUp else { return }
        trace?("\(now) n\(id) dies")
        node.isUp = false
        // Whoever sees the connection end and the port refuse has proof.
        for other in nodes where other.id != id && random.chance(700) {
            queue.add(now + random.below(40 * Self.ms), .died(seenBy: other.id, id, incarnation: node.incarnation))
        }
        node.incarnation += 1
        queue.add(now + 1 + random.below(250 * Self.ms), .restart(id))
    }

    private mutating func restart(_ id: Int) {
        let node = nodes[id]
        guard !node.isUp else { return }
        trace?("\(now) n\(id) starts")
        node.isUp = true
        node.pausedUntil = 0
        node.role = .follower
        node.votes = []
        node.commit = 0
        node.held = []
        node.outAt = now
        node.inAt = now
        node.heardAt = .min / 2
        node.gate = Self.gate(node.local(now), node.term, rules)
        node.lease = Self.lease(id, rules)
        queue.add(now + electionDelay(), .election(id, incarnation: node.incarnation))
    }

    private mutating func partition() {
        let one = pick()
        let kind = random.below(3)
        for other in nodes.indices where other != one {
            if kind != 1 { blocked[one * nodes.count + other] = true }
            if kind != 2 { blocked[other * nodes.count + one] = true }
        }
        if random.chance(300), nodes.count > 3 {
            let second = pick()
            for other in nodes.indices where other != one && other != second {
                blocked[second * nodes.count + other] = true
                blocked[other * nodes.count + second] = true
            }
            blocked[one * nodes.count + second] = false
            blocked[second * nodes.count + one] = false
        }
        queue.add(now + 1 + random.below(500 * Self.ms), .heal)
    }

    private mutating func beCalm() {
        calm = true
        for index in blocked.indices { blocked[index] = false }
        for node in nodes {
            node.pausedUntil = min(node.pausedUntil, now)
            if !node.isUp { restart(node.id) }
        }
        queue.add(now + 6_000 * Self.ms, .end)
    }

    // MARK: the relay

    private mutating func relaySends(_ id: Int, _ to: Int, _ frame: SimFrame) throws {
        let node = nodes[id]
        let local = node.local(now)
        switch frame.kind {
        case .append(_, _, let entries, _):
            if frame.term > node.lease.term {
                node.lease.leads(in: frame.term)
                try configure(node, node.voters)
            }
            for entry in entries { if let voters = entry.voters { try configure(node, voters) } }
        case .requestVote, .vote(granted: true):
            var candidate = id
            if case .vote = frame.kind { candidate = to }
            if case .hold(let until) = node.gate.vote(for: VoterID(candidate), in: frame.term, now: local) {
                node.held.append((to, frame))
                let at = max(now + 1, node.real(until))
                if at < node.releaseAt || node.releaseAt <= now {
                    node.releaseAt = at
                    queue.add(at, .release(id, incarnation: node.incarnation))
                }
                return
            }
            if rules.surrenders { node.lease.surrender(upTo: frame.term - 1) }
        case .timeoutNow:
            if rules.surrenders {
                node.lease.transfers(now: local, patience: .nanoseconds(Self.electionTimeout))
            }
            for other in nodes where other.id != id {
                send(id, other.id, .released(upTo: local.nanoseconds, incarnation: node.incarnation))
            }
        case .appended, .vote(granted: false): break
        }
        send(
            id, to,
            .frame(
                frame, incarnation: node.incarnation, sentAt: local.nanoseconds,
                wantsPromise: node.lease.wantsPromise(now: local)))
    }

    private mutating func configure(_ node: SimVoter, _ voters: [Int]) throws {
        guard rules.followsChanges || node.lease.end(now: node.local(now)) == nil else { return }
        node.lease.configure(voters: voters.map { VoterID($0) }, now: node.local(now))
        try check(node)
    }

    private mutating func relayReceives(_ id: Int, _ from: Int, _ message: SimMessage) throws {
        let node = nodes[id]
        switch message {
        case .frame(let frame, let incarnation, let sentAt, let wantsPromise):
            if wantsPromise, case .append = frame.kind {
                let leader = VoteGate.LeaderProcess(voter: VoterID(from), incarnation: incarnation)
                let sent = BootInstant(nanoseconds: sentAt)
                if node.gate.promise(to: leader, in: frame.term, sentAt: sent, now: node.local(now)) {
                    send(id, from, .acknowledged(term: frame.term, incarnation: incarnation, sentAt: sentAt))
                }
            }
            node.inAt = max(node.inAt + 1, now + random.below(calm ? 100_000 : 3 * Self.ms))
            queue.add(node.inAt, .handed(id, from: from, frame, incarnation: node.incarnation))
        case .acknowledged(let term, let incarnation, let sentAt):
            guard incarnation == node.incarnation else { return }
            let before = node.lease.end(now: node.local(now))
            node.lease.acknowledge(by: VoterID(from), in: term, sentAt: BootInstant(nanoseconds: sentAt))
            if node.lease.end(now: node.local(now)) != before { try check(node) }
        case .released(let sentAt, let incarnation):
            node.gate.released(
                by: VoteGate.LeaderProcess(voter: VoterID(from), incarnation: incarnation),
                upTo: BootInstant(nanoseconds: sentAt))
            recheck(id)
        }
    }

    private mutating func recheck(_ id: Int) {
        if !nodes[id].held.isEmpty { queue.add(now, .release(id, incarnation: nodes[id].incarnation)) }
    }

    /// The lease of a node may have begun or become longer.
    private mutating func check(_ node: SimVoter) throws {
        guard node.holds(now) else { return }
        extensions += 1
        for other in nodes where other.id != node.id && other.holds(now) {
            throw Violation(
                description:
                    "seed \(schedule.seed): at \(now) both n\(other.id) (term \(other.lease.term)) and n\(node.id) "
                    + "(term \(node.lease.term)) have a lease")
        }
        if calm, holderAt == nil { holderAt = now }
    }

    private mutating func send(_ from: Int, _ to: Int, _ message: SimMessage) {
        if blocked[from * nodes.count + to] { return }
        if !calm, random.chance(schedule.loss) { return }
        queue.add(now + latency(), .arrive(from: from, to: to, message))
        if !calm, random.chance(schedule.duplication) {
            queue.add(now + latency() + random.below(300 * Self.ms), .arrive(from: from, to: to, message))
        }
    }

    private mutating func latency() -> Int64 {
        if !calm, random.chance(schedule.slow) { return 100_000 + random.below(250 * Self.ms) }
        return 100_000 + random.below(600_000)
    }

    // MARK: timers

    func electionBase() -> Int64 { Self.electionTimeout }

    mutating func electionDelay() -> Int64 {
        calm ? Self.electionTimeout + random.below(Self.electionTimeout) : 1 + random.below(2 * schedule.elections)
    }

    /// What a node writes reaches its relay a little later, in order.
    mutating func write(_ id: Int, _ to: Int, _ frame: SimFrame) {
        let node = nodes[id]
        node.outAt = max(node.outAt + 1, now + random.below(calm ? 100_000 : 3 * Self.ms))
        queue.add(node.outAt, .out(id, to: to, frame, incarnation: node.incarnation))
    }
}

/// Events in the order of their time, and of their addition within one time.
struct EventQueue<Event> {
    private var heap: [(time: Int64, order: Int64, event: Event)] = []
    private var added: Int64 = 0

    mutating func add(_ time: Int64, _ event: Event) {
        added += 1
        heap.append((time, added, event))
        var child = heap.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func next() -> (Int64, Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, least) {
                    least = child
                }
                if least == parent { break }
                heap.swapAt(parent, least)
                parent = least
            }
        }
        return (first.time, first.event)
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        heap[left].time != heap[right].time ? heap[left].time < heap[right].time : heap[left].order < heap[right].order
    }
}
