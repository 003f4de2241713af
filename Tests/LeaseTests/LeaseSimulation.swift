import Lease
import Platform

@testable import Lease

/// Leases over a model of raft, in simulated time: real `VoteGate`s, `LeaseCore`s and `SuccessionCore`s, clocks that differ
/// in rate, a network that loses, repeats, delays and partitions, processes that stop, die and come back, members that
/// come and go, and election timers that go off whenever they like. Then calm, in which timers are libraft's; and in some
/// runs a last blow at the holder.
///
/// A seed repeats its run. It stops at the first instant at which two nodes have a lease.
struct LeaseSimulation {
    struct Violation: Error, CustomStringConvertible {
        enum Kind { case twoHolders, noHolder }

        var kind: Kind
        var description: String
    }

    /// Rules that a test switches off to show that they are needed.
    struct Rules {
        var gate = VoteGate.Rules()
        var surrenders = true
        var transfersEndLease = true
        var forgetsVoters = true
        var followsChanges = true
        var margin = true
        /// Not for safety: without it raft's own timers find the next leader.
        var succeeds = true
        /// Nor this: a survivor that stands says so to the others.
        var tells = true
    }

    /// How long it took, in nanoseconds.
    struct Outcome {
        /// From the calm to a holder.
        var recovery: Int64 = 0
        /// From the blow to another holder; nil without a blow, or if too few voters are left.
        var takeover: Int64?
        /// How often a lease was extended: a run without any proves nothing.
        var extensions = 0
    }

    /// The default timing, `lan`.
    static let hold: Duration = .milliseconds(180)
    static let silence: Duration = .milliseconds(150)
    static let electionTimeout: Int64 = 450 * LeaseSchedule.millisecond
    static let heartbeat: Int64 = 45 * LeaseSchedule.millisecond
    static let ms = LeaseSchedule.millisecond
    /// Within this there is a holder after the calm, and after the blow.
    static let patience: Int64 = 6_000 * ms

    enum Event: BitwiseCopyable {
        case arrive(from: Int8, to: Int8, SimMessage)
        /// The node has written a frame; it reaches the relay.
        case out(Int8, to: Int8, SimFrame, incarnation: UInt32)
        /// The relay has handed a frame to the node; it reads it.
        case handed(Int8, from: Int8, SimFrame, incarnation: UInt32)
        /// The disk has entries of the leader of that term.
        case wrote(Int8, log: SimLog.Entry, for: Int8, term: UInt64, incarnation: UInt32)
        case release(Int8, incarnation: UInt32)
        case heartbeat(Int8, term: UInt64, incarnation: UInt32)
        case election(Int8, incarnation: UInt32)
        /// Another voter's connection has ended.
        case ended(Int8, peer: Int8, peerIncarnation: UInt32, incarnation: UInt32)
        case probe(Int8, of: Int8, peerIncarnation: UInt32, incarnation: UInt32)
        case probed(Int8, of: Int8, peerIncarnation: UInt32, isRefused: Bool, incarnation: UInt32)
        case wake(Int8, incarnation: UInt32)
        /// The members are read, and the relay is told.
        case read(Int8, term: UInt64, incarnation: UInt32)
        case learnt(Int8, SimVoters, reading: UInt32, term: UInt64, named: UInt32, incarnation: UInt32)
        case restart(Int8)
        case crash, pause, partition, heal, transfer, change, write, calm, blow, end
    }

    let schedule: LeaseSchedule
    let rules: Rules
    var random: SimRandom
    var queue = EventQueue()
    var now: Int64 = 0
    var nodes: [SimVoter] = []
    var log: SimLog
    /// By sender times number of nodes, plus receiver.
    var blocked: [Bool]
    var calm = false
    var outcome = Outcome()
    /// The node that was struck in the end, and when.
    var struck: (id: Int, at: Int64)?
    private var holderAt: Int64?
    private var isOver = false
    var trace: ((String) -> Void)?

    init(_ schedule: LeaseSchedule, rules: Rules = Rules(), trace: ((String) -> Void)? = nil) {
        self.schedule = schedule
        self.rules = rules
        self.trace = trace
        random = SimRandom(schedule.seed)
        blocked = [Bool](repeating: false, count: schedule.count * schedule.count)
        log = SimLog(voters: SimVoters(bits: UInt8(1 << schedule.initialVoters) - 1))
        for id in 0..<schedule.count {
            let rate = 1 + Double(random.below(2 * schedule.drift + 1) - schedule.drift) / 1_000_000
            let offset = random.below(1 << 40)
            let node = SimVoter(
                id: id, count: schedule.count, rate: rate, offset: offset,
                gate: gate(BootInstant(nanoseconds: offset), 0), lease: lease(id), succession: succession(id))
            node.timeout = Self.electionTimeout + random.below(Self.electionTimeout)
            nodes.append(node)
            queue.add(random.below(schedule.elections), .election(Int8(id), incarnation: 1))
        }
        plan(schedule.crashes, .crash)
        plan(schedule.pauses, .pause)
        plan(schedule.partitions, .partition)
        plan(schedule.transfers, .transfer)
        plan(schedule.changes, .change)
        if let writes = schedule.writes { queue.add(random.below(2 * writes), .write) }
        queue.add(schedule.calmAt, .calm)
    }

    func gate(_ now: BootInstant, _ term: UInt64) -> VoteGate {
        VoteGate(now: now, term: term, hold: Self.hold, closedAtStart: Self.hold, rules: rules.gate)
    }

    func lease(_ id: Int) -> LeaseCore {
        LeaseCore(
            own: VoterID(id), duration: rules.margin ? LeaseCore.duration(hold: Self.hold) : Self.hold)
    }

    func succession(_ id: Int) -> SuccessionCore {
        SuccessionCore(own: VoterID(id), settings: .init(silence: Self.silence))
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

    mutating func run() throws -> Outcome {
        while !isOver, let (time, event) = queue.next() {
            now = time
            try handle(event)
        }
        return outcome
    }

    // MARK: events

    private mutating func handle(_ event: Event) throws {
        switch event {
        case .arrive(let from, let to, let message):
            guard awake(to, event) else { return }
            try relayReceives(Int(to), Int(from), message)
        case .out(let id, let to, let frame, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try relaySends(Int(id), Int(to), frame)
        case .handed(let id, let from, let frame, let incarnation):
            guard awake(id, incarnation, event) else { return }
            receive(Int(id), Int(from), frame)
        case .wrote(let id, let last, let leader, let term, let incarnation):
            guard nodes[Int(id)].incarnation == incarnation else { return }
            wrote(Int(id), last, for: Int(leader), term)
        case .release(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try releaseHeld(Int(id))
        case .heartbeat(let id, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            heartbeat(Int(id), term)
            if calm { try check(nodes[Int(id)]) }
        case .election(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            electionTimer(Int(id))
        case .ended(let id, let peer, let process, let incarnation):
            guard awake(id, incarnation, event) else { return }
            ended(Int(id), Int(peer), process)
        case .probe(let id, let peer, let process, let incarnation):
            guard awake(id, incarnation, event) else { return }
            probe(Int(id), Int(peer), process)
        case .probed(let id, let peer, let process, let isRefused, let incarnation):
            guard awake(id, incarnation, event) else { return }
            probed(Int(id), Int(peer), process, isRefused)
        case .wake(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            wake(Int(id))
        case .read(let id, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            readMembers(Int(id), term)
        case .learnt(let id, let voters, let reading, let term, let named, let incarnation):
            guard awake(id, incarnation, event), nodes[Int(id)].readings == reading else { return }
            try learnt(Int(id), voters, term, named)
        case .restart(let id): restart(Int(id))
        case .crash: if !calm { crash(pick()) }
        case .pause: if !calm { nodes[pick()].pausedUntil = now + 1 + random.below(600 * Self.ms) }
        case .partition: if !calm { partition() }
        case .heal: if struck == nil { for index in blocked.indices { blocked[index] = false } }
        case .transfer: if !calm { transfer() }
        case .change: if !calm { changeMembers() }
        case .write: writeSomething()
        case .calm: beCalm()
        case .blow: try strike()
        case .end:
            if struck != nil, outcome.takeover != nil { return }
            if struck == nil, holderAt != nil { return }
            traceNodes()
            throw Violation(
                kind: .noHolder,
                description: "seed \(schedule.seed): no holder within 6 s of the \(struck == nil ? "calm" : "blow")")
        }
    }

    private func isRunning(_ id: Int8, _ incarnation: UInt32) -> Bool {
        nodes[Int(id)].incarnation == incarnation
    }

    private mutating func awake(_ id: Int8, _ incarnation: UInt32, _ event: Event) -> Bool {
        isRunning(id, incarnation) && awake(id, event)
    }

    /// A process that is stopped deals with everything when it goes on.
    private mutating func awake(_ id: Int8, _ event: Event) -> Bool {
        let node = nodes[Int(id)]
        guard node.isUp else { return false }
        if node.pausedUntil > now {
            queue.add(node.pausedUntil, event)
            return false
        }
        return true
    }

    private func traceNodes() {
        guard let trace else { return }
        for node in nodes {
            trace(
                "n\(node.id) \(node.role) term \(node.term) voters \(log.voters(node.log)) \(node.lease) "
                    + "\(node.gate) \(node.succession)")
        }
    }

    // MARK: outcome

    /// Whether a node holds what the lease is for.
    private func holds(_ node: SimVoter) -> Bool { node.holds(now) || leadsAlone(node) }

    /// A sole voter sends nothing that its relay could see; as long as that has not seen it lead, the node's own answer
    /// counts (`LocalNode.proof`).
    private func leadsAlone(_ node: SimVoter) -> Bool {
        node.isUp && node.role == .leader && node.lease.term < node.term
            && log.voters(node.log) == SimVoters(bits: 1 << UInt8(node.id))
    }

    /// The lease of a node may have begun or become longer.
    mutating func check(_ node: SimVoter) throws {
        guard holds(node) else { return }
        outcome.extensions += 1
        for other in nodes where other.id != node.id && holds(other) {
            throw Violation(
                kind: .twoHolders,
                description:
                    "seed \(schedule.seed): at \(now) both n\(other.id) (term \(other.lease.term)) and n\(node.id) "
                    + "(term \(node.lease.term)) have a lease")
        }
        guard calm else { return }
        if let struck {
            guard outcome.takeover == nil, node.id != struck.id else { return }
            trace?("\(now) n\(node.id) holds, \((now - struck.at) / Self.ms) ms after the blow")
            outcome.takeover = now - struck.at
            isOver = true
        } else if holderAt == nil {
            trace?("\(now) n\(node.id) holds, \((now - schedule.calmAt) / Self.ms) ms after the calm")
            holderAt = now
            outcome.recovery = now - schedule.calmAt
            // What was under way when the calm began is over by then.
            if schedule.blow == nil {
                isOver = true
            } else {
                queue.add(now + 1_000 * Self.ms + random.below(60 * Self.ms), .blow)
            }
        }
    }

    private mutating func strike() throws {
        guard let holder = nodes.first(where: { holds($0) }) else {
            // What was under way when the calm began may have cost the first holder its lead.
            guard now > schedule.calmAt + Self.patience else { return queue.add(now + 500 * Self.ms, .blow) }
            traceNodes()
            throw Violation(
                kind: .noHolder, description: "seed \(schedule.seed): the lease was lost in the calm, before \(now)")
        }
        let voters = log.voters(holder.log)
        guard voters.haveMajority(in: voters.without(holder.id)), let blow = schedule.blow else {
            isOver = true
            return
        }
        trace?("\(now) \(blow) of n\(holder.id), which leads term \(holder.term) of \(voters)")
        struck = (holder.id, now)
        switch blow {
        case .crash: crash(holder.id)
        case .cut: isolate(holder.id, from: true, to: true)
        }
        queue.add(now + Self.patience, .end)
    }
}
