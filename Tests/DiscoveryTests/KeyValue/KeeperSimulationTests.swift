import Platform
import Testing

@testable import Discovery

/// Three nodes and a store in virtual time: requests and answers are late or lost, the store is away and is wiped, nodes
/// crash, claim, lead in turn.
@Suite("keeper core: seeded schedules")
struct KeeperSimulationTests {
    @Test(
        "never do two nodes hold the right to found; no other cluster's key is written over; in the end all is in place"
    )
    func schedules() async throws {
        // On a thread of its own: it computes for seconds, and other tests run beside it.
        let found = try await BlockingThread.run(named: "simulation", stackSize: 4 << 20) { () -> [String] in
            for seed in 0..<1000 as Range<UInt64> {
                var simulation = KeeperSimulation(seed: seed, wipes: seed.isMultiple(of: 3))
                simulation.run()
                if !simulation.faults.isEmpty { return ["seed \(seed)"] + simulation.faults }
            }
            return []
        }
        #expect(found == [])
    }
}

private struct KeeperSimulation {
    struct Node {
        var announcement: DiscoveryAnnouncement
        var core: KeeperCore
        var claim: ClaimProgress?
        /// Until when this node believes in its right to found.
        var heldUntil: BootInstant?
        /// Set while a request is on its way: its life, so that a crash makes the answer void.
        var isBusy = false
        var life = 0
        var wakeAt: BootInstant?
    }

    enum Event {
        case wake(Int)
        case apply(Int, KeeperCore.Request, sent: BootInstant, life: Int, isAnswerLost: Bool)
        case answer(Int, KeeperCore.Request, KeeperCore.Answer, sent: BootInstant, life: Int)
        case fault
    }

    private var dice: Dice
    private var now = KeeperHarness.start
    private var store = ModelStore()
    private var nodes: [Node] = []
    private var events: [(at: BootInstant, event: Event)] = []
    private var awayUntil = KeeperHarness.start
    private let wipes: Bool
    private let calm = KeeperHarness.start + .seconds(90)
    private let formation: BootInstant
    private let eagerness: UInt64
    private var term: UInt64 = 1
    private(set) var faults: [String] = []

    init(seed: UInt64, wipes: Bool) {
        dice = Dice(seed: seed)
        self.wipes = wipes
        eagerness = [100, 30, 10][Int(dice.next() % 3)]
        formation = now + .seconds(Int64(dice.next() % 80))
        for index in 0..<3 {
            let announcement = DiscoveryAnnouncement.example("n\(index)", port: UInt16(8800 + index))
            nodes.append(Node(announcement: announcement, core: KeeperCore(seed: dice.next())))
            nodes[index].core.announce(announcement)
            wake(index)
        }
        if chance(10) { store.writeByHand(.example("r", of: chance(50) ? "R" : nil, under: nil)) }
        events.append((now, .fault))
    }

    private mutating func chance(_ percent: UInt64) -> Bool { dice.next() % 100 < percent }

    private mutating func milliseconds(_ bound: UInt64) -> Duration { .milliseconds(Int64(dice.next() % bound)) }

    mutating func run() {
        let end = calm + .seconds(60)
        while let index = events.indices.min(by: { events[$0].at < events[$1].at }), events[index].at < end {
            let (at, event) = events.remove(at: index)
            now = at
            store.lapse(at: now)
            handle(event)
            checkClaims()
            guard faults.isEmpty else { return }
        }
        now = end
        store.lapse(at: now)
        checkEnd()
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .wake(let index):
            guard nodes[index].wakeAt == now else { return }
            nodes[index].wakeAt = nil
            go(index)
        case .apply(let index, let request, let sent, let life, let isAnswerLost):
            // A store that is away answers nothing, and does nothing.
            let isAway = now < awayUntil
            let answer = isAway ? KeeperCore.Answer.failed(.away) : store.perform(request, at: now)
            let delay = isAnswerLost ? Duration.seconds(3) : milliseconds(200)
            events.append(
                (now + delay, .answer(index, request, isAnswerLost ? .failed(.away) : answer, sent: sent, life: life)))
        case .answer(let index, let request, let answer, let sent, let life):
            guard nodes[index].life == life else { return }
            nodes[index].isBusy = false
            if var claim = nodes[index].claim {
                nodes[index].core.finished(request, answer, in: &claim, sent: sent, now: now)
                nodes[index].claim = claim
            } else {
                nodes[index].core.finished(request, answer, sent: sent, now: now)
            }
            go(index)
        case .fault:
            guard now < calm else { return settle() }
            disturb()
            events.append((now + milliseconds(4000), .fault))
        }
    }

    /// What a node does next.
    private mutating func go(_ index: Int) {
        guard !nodes[index].isBusy else { return }
        if let claim = nodes[index].claim {
            switch nodes[index].core.next(in: claim, now: now) {
            case .perform(let request): return send(index, request)
            case .decided(.held(let until)): nodes[index].heldUntil = until
            case .decided(.taken): nodes[index].heldUntil = nil
            case .failed, .blocked: break
            }
            nodes[index].claim = nil
        }
        switch nodes[index].core.next(now: now) {
        case .perform(let request): send(index, request)
        case .wait(let until): nodes[index].wakeAt = until
        }
        if let until = nodes[index].wakeAt { events.append((until, .wake(index))) }
    }

    private mutating func wake(_ index: Int) {
        nodes[index].wakeAt = now
        events.append((now, .wake(index)))
    }

    private mutating func send(_ index: Int, _ request: KeeperCore.Request) {
        nodes[index].isBusy = true
        let life = nodes[index].life
        if now < calm, chance(10) {
            return events.append((now + .seconds(3), .answer(index, request, .failed(.away), sent: now, life: life)))
        }
        // Late requests are done although the one who sent them has long given them up.
        let isLate = now < calm && chance(5)
        let isAnswerLost = isLate || now < calm && chance(10)
        let delay = isLate ? milliseconds(20000) : milliseconds(300)
        events.append(
            (now + delay, .apply(index, request, sent: now, life: life, isAnswerLost: isAnswerLost && !isLate)))
        if isLate {
            nodes[index].life += 1
            let life = nodes[index].life
            events.append((now + .seconds(3), .answer(index, request, .failed(.away), sent: now, life: life)))
        }
    }

    private mutating func disturb() {
        let index = Int(dice.next() % 3)
        switch dice.next() % 10 {
        case 0: awayUntil = now + milliseconds(20000)
        case 1 where wipes: store.wipe()
        case 2:
            // A crash and a restart: the same node in a new process.
            nodes[index].life += 1
            nodes[index].core = KeeperCore(seed: dice.next())
            (nodes[index].claim, nodes[index].isBusy, nodes[index].heldUntil) = (nil, false, nil)
            nodes[index].core.announce(nodes[index].announcement)
            wake(index)
        case _ where now > formation: announce(leader: chance(50) ? index : nil)
        default:
            guard chance(eagerness), nodes[index].claim == nil, !nodes[index].isBusy else { return }
            nodes[index].claim = try? nodes[index].core.beginClaim(of: chance(30) ? "C\(index)" : nil)
            wake(index)
        }
    }

    /// At most one leads cluster A; each leads in a term of its own.
    private mutating func announce(leader: Int?) {
        term += 1
        for index in nodes.indices {
            nodes[index].announcement = .example(
                "n\(index)", cluster: "A", leads: index == leader ? term : nil, port: UInt16(8800 + index))
            nodes[index].core.announce(nodes[index].announcement)
            nodes[index].heldUntil = nil
            wake(index)
        }
    }

    private mutating func settle() {
        awayUntil = now
        announce(leader: 0)
    }

    private mutating func checkClaims() {
        faults += store.trespasses
        // A store that lost its data cannot keep its word.
        guard !wipes else { return }
        let holders = nodes.filter { $0.heldUntil.map { $0 > now } == true }.map(\.announcement.node.nodeID)
        if holders.count > 1 { faults.append("at \(now) the right to found is held by \(holders)") }
    }

    private mutating func checkEnd() {
        guard case .read(let snapshot) = store.perform(.read, at: now) else { return }
        for node in nodes {
            let wanted = RecordCoding.encode(node.announcement.node)
            if snapshot.nodes[node.announcement.node.nodeID] != wanted {
                faults.append("\(node.announcement.node.nodeID) is not in the store")
            }
            if !node.core.isRegistered(at: now) { faults.append("\(node.announcement.node.nodeID) does not know") }
        }
        let leader = snapshot.leader.flatMap { RecordCoding.leader($0.record) }
        let isForeign = leader?.clusterID == "R"
        if leader != nodes[0].announcement.leader, !isForeign {
            faults.append("the leader key names \(leader.map { "\($0)" } ?? "nobody")")
        }
        if isForeign, nodes[0].core.problem == nil { faults.append("another cluster's key is not told") }
    }
}
