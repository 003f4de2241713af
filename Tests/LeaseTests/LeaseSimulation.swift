import Lease
import Platform

@testable import Lease

/// Leases over a model of raft, in simulated time: the product's own `RelayCore`s, clocks that differ in rate, a network that loses,
/// repeats, delays and partitions, processes that stop, die and come back, members that come and go, hand-overs, clients that read
/// and write, and election timers that go off whenever they like. Raft is libraft's: with its departures from the paper. Then
/// calm, in which timers are libraft's; and in some runs a last blow at the holder.
///
/// A seed repeats its run. It stops at the first instant at which something is so that must never be.
struct LeaseSimulation {
    struct Violation: Error, CustomStringConvertible {
        enum Kind {
            /// Two nodes have a lease.
            case twoLeases
            /// Two kernels have the address, and it is no planned hand-over.
            case twoKernels
            /// A follower hears two leaders of one term.
            case twoLeaders
            /// Something that was acknowledged is gone.
            case lostWrite
            /// A read does not show what was acknowledged before it began.
            case staleRead
            case noHolder
        }

        var kind: Kind
        var description: String
    }

    /// Rules that a test switches off to show that they are needed.
    struct Rules {
        var relay = RelayCore.Rules()
        var margin = true
        /// The giver asks first whether the other's votes could leave.
        var asksReadiness = true
        /// A leader commits an entry of its term before it answers reads and changes the voters.
        var opensTerm = true
        /// A read is answered only under a lease that holds after it.
        var readsUnderLease = true
        /// Handed over is what the giver's own request has reached, and not what was offered.
        var isHandedOverByRequest = true
        /// The LAN is asked before a claim.
        var probes = true
        /// After a start the voters that a node goes by are compared with its log.
        var checksConfiguration = true
    }

    /// How long it took, in nanoseconds, and what happened how often.
    struct Outcome {
        /// From the calm to a holder.
        var recovery: Int64 = 0
        /// From the blow to another holder; nil without a blow, or if too few voters are left.
        var takeover: Int64?
        /// How often a lease was extended: a run without any proves nothing.
        var extensions = 0
        /// Second votes that were kept from leaving.
        var secondVotes = 0
        var declined = 0
        /// Answers that could not be told from late ones, until the node was asked.
        var fences = 0
        var reads = 0
        /// In a run with one hand-over: the longest time without the address, and whether a third node got it.
        var gap: Int64?
        var wentElsewhere = false
        /// Nodes that were started anew, since they went by voters that are in no log.
        var restarts = 0
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
        case heartbeat(Int8, term: UInt64, incarnation: UInt32)
        case election(Int8, incarnation: UInt32)
        /// Another voter's connection has ended.
        case ended(Int8, peer: Int8, peerIncarnation: UInt32, incarnation: UInt32)
        case probe(Int8, of: Int8, peerIncarnation: UInt32, incarnation: UInt32)
        case probed(Int8, of: Int8, peerIncarnation: UInt32, isRefused: Bool, incarnation: UInt32)
        case wake(Int8, incarnation: UInt32)
        /// The members are read, and the relay is told.
        case read(Int8, term: UInt64, incarnation: UInt32)
        case learnt(Int8, SimVoters, RelayCore.Reading, incarnation: UInt32)
        case takeUp(Int8, term: UInt64, incarnation: UInt32)
        case checkConfiguration(Int8, incarnation: UInt32)
        case offerAgain(Int8, to: Int8, term: UInt64, incarnation: UInt32)
        case offerEnds(Int8, term: UInt64, incarnation: UInt32)
        /// The LAN was asked for the address, and whoever answers has.
        case answered(Int8, incarnation: UInt32)
        /// A client is answered.
        case told(Int8, SimLog.Entry, since: SimLog.Entry, term: UInt64, incarnation: UInt32)
        case restart(Int8)
        case crash, pause, partition, heal, handOver, change, write, ask, calm, blow, end
    }

    let schedule: LeaseSchedule
    let rules: Rules
    let departures: Departures
    var random: SimRandom
    var queue = EventQueue()
    var now: Int64 = 0
    var nodes: [SimVoter] = []
    var log: SimLog
    /// By sender times number of nodes, plus receiver.
    var blocked: [Bool]
    /// When the last message of each pair arrives: connections keep the order.
    var arrivesAt: [Int64]
    /// The newest entry of which a client was told.
    var acknowledged: SimLog.Entry = 0
    var calm = false
    var outcome = Outcome()
    /// The node that was struck in the end, and when.
    var struck: (id: Int, at: Int64)?
    private var holderAt: Int64?
    /// The one hand-over of such a run, and when the address was last anywhere.
    var handedOver: (from: Int, to: Int)?
    private var servedAt: Int64 = 0
    private var isOver = false
    var trace: ((String) -> Void)?

    init(
        _ schedule: LeaseSchedule, rules: Rules = Rules(), departures: Departures = Departures(),
        trace: ((String) -> Void)? = nil
    ) {
        self.schedule = schedule
        self.rules = rules
        self.departures = departures
        self.trace = trace
        random = SimRandom(schedule.seed)
        blocked = [Bool](repeating: false, count: schedule.count * schedule.count)
        arrivesAt = [Int64](repeating: 0, count: schedule.count * schedule.count)
        let voters = SimVoters(bits: UInt8(1 << schedule.initialVoters) - 1)
        log = SimLog(voters: voters)
        for id in 0..<schedule.count {
            let rate = 1 + Double(random.below(2 * schedule.drift + 1) - schedule.drift) / 1_000_000
            let offset = random.below(1 << 40)
            // Some have never run before, and have promised nothing.
            let node = SimVoter(
                id: id, count: schedule.count, rate: rate, offset: offset, voters: voters,
                core: core(
                    id, BootInstant(nanoseconds: offset), term: 0, hasVoted: false, isNew: schedule.areNew))
            node.timeout = Self.electionTimeout + random.below(Self.electionTimeout)
            nodes.append(node)
            queue.add(random.below(schedule.elections), .election(Int8(id), incarnation: 1))
        }
        plan(schedule.crashes, .crash)
        plan(schedule.pauses, .pause)
        plan(schedule.partitions, .partition)
        plan(schedule.transfers, .handOver)
        plan(schedule.changes, .change)
        if let writes = schedule.writes { queue.add(random.below(2 * writes), .write) }
        if let reads = schedule.reads { queue.add(random.below(2 * reads), .ask) }
        queue.add(schedule.calmAt, .calm)
    }

    func core(_ id: Int, _ now: BootInstant, term: UInt64, hasVoted: Bool, isNew: Bool) -> RelayCore {
        let lease = LeaseCore(
            own: VoterID(id), duration: rules.margin ? LeaseCore.duration(hold: Self.hold) : Self.hold)
        return RelayCore(
            own: VoterID(id),
            settings: .init(
                hold: Self.hold, patience: .milliseconds(150), retreat: .nanoseconds(Self.electionTimeout),
                succession: .init(silence: Self.silence)),
            gate: VoteGate(
                now: now, term: term, hasVoted: hasVoted, hold: Self.hold,
                closedUntil: isNew ? nil : now.advanced(by: Self.hold), rules: rules.relay.gate),
            lease: lease, rules: rules.relay)
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
            if handedOver != nil { noteService() }
        }
        return outcome
    }

    private mutating func noteService() {
        if nodes.contains(where: { has($0) }) {
            servedAt = now
        } else if servedAt > 0 {
            outcome.gap = max(outcome.gap ?? 0, now - servedAt)
        }
        if outcome.gap == nil, servedAt > 0 { outcome.gap = 0 }
    }

    func violation(_ kind: Violation.Kind, _ text: String) -> Violation {
        traceNodes()
        return Violation(kind: kind, description: "seed \(schedule.seed), at \(now): \(text)")
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
            try receive(Int(id), Int(from), frame)
        case .wrote(let id, let last, let leader, let term, let incarnation):
            guard nodes[Int(id)].incarnation == incarnation else { return }
            wrote(Int(id), last, for: Int(leader), term)
        case .heartbeat(let id, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            heartbeat(Int(id), term)
            if calm { try check(nodes[Int(id)]) }
        case .election(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try electionTimer(Int(id))
        case .ended(let id, let peer, let process, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try ended(Int(id), Int(peer), process)
        case .probe(let id, let peer, let process, let incarnation):
            guard awake(id, incarnation, event) else { return }
            probe(Int(id), Int(peer), process)
        case .probed(let id, let peer, let process, let isRefused, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try probed(Int(id), Int(peer), process, isRefused)
        case .wake(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try wake(Int(id))
        default: try handleOther(event)
        }
    }

    private mutating func handleOther(_ event: Event) throws {
        switch event {
        case .read(let id, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            read(Int(id), term)
        case .learnt(let id, let voters, let reading, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try learnt(Int(id), voters, reading)
        case .takeUp(let id, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try takeUp(Int(id), term)
        case .checkConfiguration(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            checkConfiguration(Int(id))
        case .offerAgain(let id, let to, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            offerAgain(Int(id), Int(to), term)
        case .offerEnds(let id, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            offerEnds(Int(id), term)
        case .answered(let id, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try answered(Int(id))
        case .told(let id, let found, let before, let term, let incarnation):
            guard awake(id, incarnation, event) else { return }
            try told(Int(id), found, since: before, term)
        case .restart(let id): restart(Int(id))
        case .crash: if !calm { crash(pick()) }
        case .pause: if !calm { nodes[pick()].pausedUntil = now + 1 + random.below(600 * Self.ms) }
        case .partition: if !calm { partition() }
        case .heal: if struck == nil { for index in blocked.indices { blocked[index] = false } }
        case .handOver: if !calm || schedule.handsOverAfter != nil { handOver() }
        case .change: if !calm { try changeMembers() }
        case .write: try writeSomething()
        case .ask: ask()
        case .calm: beCalm()
        case .blow: try strike()
        case .end:
            if schedule.handsOverAfter != nil, holderAt != nil {
                isOver = true
                return
            }
            if struck != nil, outcome.takeover != nil { return }
            if struck == nil, holderAt != nil { return }
            throw violation(.noHolder, "no holder within 6 s of the \(struck == nil ? "calm" : "blow")")
        default: break
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
            trace("n\(node.id) \(node.role) term \(node.term) voters \(node.voters) \(node.core)")
        }
    }

    // MARK: outcome

    /// Whether a node may hold what the lease is for.
    private func holds(_ node: SimVoter) -> Bool { node.hasLease(now) || leadsAlone(node) }

    /// A sole voter sends nothing that its relay could see; as long as that has not seen it lead, the node's own answer
    /// counts (`LocalNode.proof`).
    private func leadsAlone(_ node: SimVoter) -> Bool {
        node.isUp && node.role == .leader && node.core.lease.term < node.term
            && node.voters == SimVoters(bits: 1 << UInt8(node.id))
    }

    /// The lease of a node may have begun or become longer.
    mutating func check(_ node: SimVoter) throws {
        guard holds(node) else { return }
        outcome.extensions += 1
        for other in nodes where other.id != node.id && holds(other) {
            throw violation(
                .twoLeases,
                "both n\(other.id) (term \(other.core.lease.term)) and n\(node.id) (term \(node.core.lease.term)) have "
                    + "a lease")
        }
        try claim(node)
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
            if let after = schedule.handsOverAfter {
                queue.add(now + 10 * Self.ms + after, .handOver)
                queue.add(now + after + 2_000 * Self.ms, .end)
            } else if schedule.blow == nil {
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
            throw violation(.noHolder, "the lease was lost in the calm")
        }
        let voters = holder.voters
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
