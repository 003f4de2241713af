import Platform
import RaftRig

@testable import Lease

/// One run of a cluster by the clock, through the weather of its seed, and then in calm: never two votes, leaders or leases, no
/// write that is lost; and in the end somebody has a lease, and writes are done.
struct RandomRun {
    struct Outcome {
        var acknowledgements = 0
        var leads = 0
        var transfers = 0
        var dropped = 0
        var declined = 0
        /// Servers that libraft gave up, and that were started again.
        var unavailable = 0
        /// Until somebody had a lease, and a write was done.
        var recovery: Int64 = 0
    }

    struct NoRecovery: Error, CustomStringConvertible {
        var description: String
    }

    private enum Trouble {
        case crash, cut, disconnect, pause, transfer, write, change
        case restart(Int)
        case handOver(to: Int)
        /// What a new leader writes first, as the product does.
        case begin(Int, term: UInt64)
    }

    static let ms: Int64 = 1_000_000
    static let patience: Int64 = 8_000 * ms

    let weather: Weather
    let cluster: RigCluster
    private let delays: Delays
    private var dice: Dice
    private var plans: [(at: Int64, trouble: Trouble)] = []
    private var tickAt: [Int64]
    private var pausedUntil: [Int64]
    private var cutUntil: [Int64]
    private var isCalm = false
    private var written: UInt64 = 0
    private var led: [UInt64]
    /// The first write of each leader.
    private var own: [UInt64?]
    private var outcome = Outcome()
    private let startedAt: Int64
    /// A write in the calm that has to be done.
    private var last: UInt64?

    init(_ weather: Weather, rules: RelayCore.Rules = .init(), guarded: Bool = true, trace: ((String) -> Void)? = nil)
        throws
    {
        self.weather = weather
        let count = weather.count
        cluster = try RigCluster(
            [Rig.Role](repeating: .voter, count: count), guardedBy: guarded ? rules : nil, seed: weather.seed &+ 1)
        cluster.trace = trace
        dice = Dice(weather.seed)
        startedAt = cluster.now
        tickAt = []
        for _ in 0..<count { tickAt.append(startedAt + dice.below(45 * Self.ms)) }
        pausedUntil = [Int64](repeating: 0, count: count)
        cutUntil = [Int64](repeating: 0, count: count * count)
        led = [UInt64](repeating: 0, count: count)
        own = [UInt64?](repeating: nil, count: count)
        let delays = Delays(weather)
        self.delays = delays
        cluster.delay = { way, _, _ in delays.delay(way) }
        cluster.diskDelay = { _ in delays.disk() }
        for id in 1...count { try cluster.start(id) }
        for (mean, trouble) in means { plan(mean, trouble) }
    }

    private var means: [(Int64?, Trouble)] {
        [
            (weather.crashes, .crash), (weather.cuts, .cut), (weather.disconnections, .disconnect),
            (weather.pauses, .pause), (weather.transfers, .transfer), (weather.writes, .write),
            (weather.changes, .change),
        ]
    }

    /// Random times. A class, as the cluster asks for them by closures.
    private final class Delays {
        let weather: Weather
        var dice: Dice
        var isCalm = false

        init(_ weather: Weather) {
            self.weather = weather
            dice = Dice(weather.seed ^ 0xDE1A_1)
        }

        func delay(_ way: RigCluster.Way) -> Int64 {
            if !isCalm, dice.chance(perThousand: weather.slow) { return dice.below(weather.longest) }
            return way == .wire || way == .answer ? 100_000 + dice.below(900_000) : 10_000 + dice.below(190_000)
        }

        func disk() -> Int64 {
            100_000 + dice.below(!isCalm && dice.chance(perThousand: 100) ? weather.slowDisk : weather.disk)
        }
    }

    private mutating func plan(_ mean: Int64?, _ trouble: Trouble) {
        if let mean { plans.append((cluster.now + dice.around(mean), trouble)) }
    }

    // MARK: - Running

    mutating func run() throws -> Outcome {
        let calmAt = startedAt + weather.calmAt
        while true {
            if !isCalm, cluster.now >= calmAt { try calm() }
            if isCalm {
                if cluster.holders.count == 1, cluster.isDone(last) { break }
                // A voter that does not know yet that it is one votes for nobody (DOC/SAFETY.md, "What is not covered").
                if weather.changes != nil, cluster.now > calmAt + Self.patience / 4 { break }
                if cluster.now > calmAt + Self.patience {
                    throw NoRecovery(
                        description: "no lease, or no write, \(Self.patience / Self.ms) ms after the calm began")
                }
            }
            try step()
            if let violation = cluster.ledger.violations.first { throw violation }
        }
        outcome.recovery = cluster.now - calmAt
        outcome.acknowledgements = cluster.ledger.acknowledgements
        for server in cluster.servers {
            outcome.dropped += server.alarms.count
            outcome.declined += server.declined.count
        }
        return outcome
    }

    private mutating func calm() throws {
        cluster.trace?("\(cluster.now / 1000) calm")
        isCalm = true
        delays.isCalm = true
        plans = plans.filter {
            switch $0.trouble {
            case .restart, .begin, .write: true
            default: false
            }
        }
        for pair in cutUntil.indices { cutUntil[pair] = min(cutUntil[pair], cluster.now) }
        for id in pausedUntil.indices { pausedUntil[id] = min(pausedUntil[id], cluster.now) }
    }

    private enum Next { case lane(Int), disk(Int), tick(Int), wake(Int), reading(Int), end(Int), probe(Int), plan(Int) }

    private mutating func step() throws {
        var at = Int64.max
        var next = Next.plan(0)
        func offer(_ time: Int64, _ what: Next) {
            guard time < at else { return }
            at = time
            next = what
        }
        for lane in cluster.laneAt.indices { offer(cluster.laneAt[lane], .lane(lane)) }
        for server in cluster.servers where server.isUp {
            let id = server.id
            let paused = pausedUntil[id - 1]
            offer(max(paused, tickAt[id - 1]), .tick(id))
            if let disk = server.diskAt.first { offer(max(paused, disk), .disk(id)) }
            let reads = server.reading?.until ?? server.readsAt
            if reads < .max { offer(max(paused, reads), .reading(id)) }
            if let wake = server.core?.nextWake {
                offer(max(paused, wake.nanoseconds - server.offset + 100_000), .wake(id))
            }
        }
        for (position, end) in cluster.ends.enumerated() {
            offer(max(end.at, pausedUntil[end.server - 1]), .end(position))
        }
        for (position, probe) in cluster.probes.enumerated() {
            offer(max(probe.at, pausedUntil[probe.server - 1]), .probe(position))
        }
        for (position, plan) in plans.enumerated() { offer(plan.at, .plan(position)) }
        guard at < .max else { throw NoRecovery(description: "nothing happens any more") }
        cluster.now = max(cluster.now, at)
        try perform(next)
    }

    private mutating func perform(_ next: Next) throws {
        switch next {
        case .lane(let lane):
            guard !waits(lane) else { return }
            let place = cluster.place(ofLane: lane)
            cluster.advance(lane)
            try look(place.way == .out ? place.from : place.to)
        case .disk(let id):
            cluster.write(id)
            try look(id)
        case .tick(let id):
            tickAt[id - 1] = cluster.now + 45 * Self.ms
            cluster.tick(id)
            try look(id)
        case .wake(let id): cluster.due(id, planned: cluster.server(id).core?.nextWake)
        case .reading(let id): cluster.readMembers(id)
        case .end(let position): cluster.endsConnection(position)
        case .probe(let position): cluster.answersProbe(position)
        case .plan(let position): try happen(plans.remove(at: position).trouble)
        }
    }

    /// Whether the first of a lane cannot go on yet: a process stands still, or a link is cut.
    private mutating func waits(_ lane: Int) -> Bool {
        let place = cluster.place(ofLane: lane)
        var until = pausedUntil[(place.way == .out ? place.from : place.to) - 1]
        if place.way == .wire || place.way == .answer {
            until = max(until, cutUntil[(place.from - 1) * weather.count + place.to - 1])
        }
        guard until > cluster.now else { return false }
        cluster.postpone(lane, until: until)
        return true
    }

    /// What the daemon does by itself: a new leader writes something, and a server that libraft gave up is started again.
    private mutating func look(_ id: Int) throws {
        let role = cluster.rig.role(id)
        if role == RIG_LEADER {
            let term = cluster.rig.state(id).term
            guard led[id - 1] != term else { return }
            led[id - 1] = term
            own[id - 1] = nil
            outcome.leads += 1
            plans.append((cluster.now + dice.below(5 * Self.ms), .begin(id, term: term)))
        } else if role == RIG_UNAVAILABLE {
            outcome.unavailable += 1
            try crash(id, for: 200 * Self.ms)
        }
    }

    // MARK: - Trouble

    private mutating func crash(_ id: Int, for time: Int64) throws {
        try cluster.crash(id, kept: dice.pick(cluster.rig.writes(id) + 1))
        plans.append((cluster.now + time, .restart(id)))
    }

    private func anyLeader() -> Int? { cluster.servers.map(\.id).first { cluster.rig.isLeader($0) } }

    private mutating func happen(_ trouble: Trouble) throws {
        let count = weather.count
        switch trouble {
        case .crash:
            let id = 1 + dice.pick(count)
            if cluster.server(id).isUp { try crash(id, for: 1 * Self.ms + dice.around(150 * Self.ms)) }
            plan(weather.crashes, .crash)
        case .restart(let id):
            try cluster.start(id)
            tickAt[id - 1] = cluster.now + dice.below(45 * Self.ms)
            if dice.chance(perThousand: weather.early), !isCalm {
                plans.append((cluster.now + dice.below(300 * Self.ms), .handOver(to: id)))
            }
        case .handOver(let id):
            guard let leader = anyLeader(), leader != id else { return }
            outcome.transfers += 1
            cluster.ask(leader, .transfer(to: id))
        case .transfer:
            if let leader = anyLeader() {
                outcome.transfers += 1
                cluster.ask(leader, .transfer(to: 1 + dice.pick(count)))
            }
            plan(weather.transfers, .transfer)
        case .cut:
            cut(until: cluster.now + 5 * Self.ms + dice.around(250 * Self.ms))
            plan(weather.cuts, .cut)
        case .disconnect:
            let from = 1 + dice.pick(count)
            let to = 1 + dice.pick(count)
            if from != to { cluster.disconnect(from, to) }
            plan(weather.disconnections, .disconnect)
        case .pause:
            pausedUntil[dice.pick(count)] = cluster.now + dice.around(150 * Self.ms)
            plan(weather.pauses, .pause)
        case .write:
            for server in cluster.servers where cluster.rig.isLeader(server.id) { write(server.id) }
            plan(isCalm ? 50 * Self.ms : weather.writes, .write)
        case .begin(let id, let term):
            if cluster.rig.isLeader(id), cluster.rig.state(id).term == term { own[id - 1] = write(id) }
        case .change:
            change()
            plan(weather.changes, .change)
        }
    }

    /// Of roles, once the leader has an entry of its own term committed.
    private mutating func change() {
        guard let leader = anyLeader(), cluster.isDone(own[leader - 1]) else { return }
        let member = 1 + dice.pick(weather.count)
        let voters = cluster.rig.voters(leader)
        guard member != leader else { return }
        if !voters.contains(UInt64(member)) {
            cluster.ask(leader, .assign(member, .voter))
        } else if voters.count > weather.leastVoters {
            cluster.ask(leader, .assign(member, dice.chance(perThousand: 500) ? .spare : .standby))
        }
    }

    @discardableResult
    private mutating func write(_ id: Int) -> UInt64? {
        written += 1
        let ticket = cluster.ask(id, .write(written))
        if isCalm, let ticket, last == nil || cluster.outcomes[last ?? 0] != nil && !cluster.isDone(last) {
            last = ticket
        }
        return ticket
    }

    /// One link or all of a server, in one direction or both.
    private mutating func cut(until: Int64) {
        let count = weather.count
        let one = 1 + dice.pick(count)
        let other = dice.chance(perThousand: 500) ? 1 + dice.pick(count) : nil
        let direction = dice.pick(3)
        for peer in 1...count where peer != one && (other == nil || other == peer) {
            if direction != 0 { cutUntil[(one - 1) * count + peer - 1] = until }
            if direction != 1 { cutUntil[(peer - 1) * count + one - 1] = until }
        }
        cluster.trace?(
            "\(cluster.now / 1000) cut s\(one) \(other.map { "and s\($0)" } ?? "off"), \(direction), until \(until / 1000)"
        )
    }
}
