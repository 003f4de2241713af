import Platform
import RaftRig

@testable import Lease

/// Servers of the rig with their relays, and all that lies between them: each frame goes from a server to its relay, over the wire to the
/// other relay, and from there to the other server, each part with a time of its own and in the order of a connection.
///
/// The relays are driven as `RaftRelay` drives `RelayCore`; without a guard they pass everything on. What happens when is up to who
/// uses it: `RigCluster+Steps` by hand, `RandomRun` by the clock.
final class RigCluster {
    /// The parts of a frame's way.
    enum Way: Int, CaseIterable {
        /// From a server to its own relay.
        case out
        /// Between relays, on the connection that the sender has made.
        case wire
        /// Between relays, on the connection that the receiver has made.
        case answer
        /// From a relay to its own server.
        case into
    }

    struct Item {
        enum Content {
            case frame(rig_message, NamedVoters?, wantsPromise: Bool, sentAt: BootInstant)
            case said(PeerMessage)
        }

        var content: Content
        var at: Int64
        /// The processes at both ends.
        var sender: UInt64 = 0
        var receiver: UInt64 = 0
    }

    static let ms: Int64 = 1_000_000
    static let hold: Duration = .milliseconds(180)
    /// What `Timing.lan` makes of it.
    static let settings: RelayCore.Settings = {
        var succession = SuccessionCore.Settings(silence: .milliseconds(150))
        succession.stagger = .microseconds(22_500)
        succession.probePatience = .milliseconds(120)
        return RelayCore.Settings(
            hold: hold, patience: .milliseconds(150), retreat: .milliseconds(450), succession: succession)
    }()

    let rig: Rig
    let count: Int
    let isGuarded: Bool
    let rules: RelayCore.Rules
    let servers: [GuardedServer]
    var now: Int64 = 1000 * ms
    var ledger = Ledger()
    /// How long a part of a way takes, in nanoseconds; by hand nothing takes any time.
    var delay: ((Way, _ from: Int, _ to: Int) -> Int64)?
    var diskDelay: ((Int) -> Int64)?
    var trace: ((String) -> Void)?
    /// After each change of members the node reads them, as nothing else may tell it.
    var readsAfterChanges = true
    /// Lanes on which nothing moves, where it is not the clock that moves it.
    var parked: Set<Int> = []
    private(set) var lanes: [[Item]]
    /// When the first of a lane is due; `Int64.max` for none.
    private(set) var laneAt: [Int64]
    private(set) var ends: [(at: Int64, server: Int, process: VoteGate.LeaderProcess)] = []
    var probes: [(at: Int64, server: Int, process: VoteGate.LeaderProcess)] = []

    /// - Parameter rules: what of the guard is on; nil where there is none.
    init(_ roles: [Rig.Role], guardedBy rules: RelayCore.Rules?, seed: UInt64 = 0) throws {
        rig = try Rig(roles, seed: seed)
        count = roles.count
        isGuarded = rules != nil
        self.rules = rules ?? RelayCore.Rules()
        let count = count
        servers = (1...count).map { GuardedServer(id: $0, count: count) }
        lanes = [[Item]](repeating: [], count: Way.allCases.count * count * count)
        laneAt = [Int64](repeating: .max, count: lanes.count)
    }

    func server(_ id: Int) -> GuardedServer { servers[id - 1] }

    // MARK: - Lanes

    func lane(_ way: Way, _ from: Int, _ to: Int) -> Int { (way.rawValue * count + from - 1) * count + to - 1 }

    func place(ofLane lane: Int) -> (way: Way, from: Int, to: Int) {
        let (rest, to) = lane.quotientAndRemainder(dividingBy: count)
        let (way, from) = rest.quotientAndRemainder(dividingBy: count)
        return (Way(rawValue: way) ?? .out, from + 1, to + 1)
    }

    func push(_ content: Item.Content, _ way: Way, _ from: Int, _ to: Int) {
        guard to >= 1, to <= count else { return }
        let lane = lane(way, from, to)
        let at = max(now + (delay?(way, from, to) ?? 0), lanes[lane].last?.at ?? 0)
        lanes[lane].append(
            Item(content: content, at: at, sender: server(from).incarnation, receiver: server(to).incarnation))
        if lanes[lane].count == 1 { laneAt[lane] = at }
    }

    /// The first of a lane goes on.
    func advance(_ lane: Int) {
        guard !lanes[lane].isEmpty else { return }
        let item = lanes[lane].removeFirst()
        laneAt[lane] = lanes[lane].first?.at ?? .max
        let (way, from, to) = place(ofLane: lane)
        switch way {
        case .out: relayReads(item, from, to)
        case .wire, .answer: arrives(item, from, to)
        case .into: reads(item, from, to)
        }
    }

    /// The first of a lane is due later than it was.
    func postpone(_ lane: Int, until at: Int64) {
        guard !lanes[lane].isEmpty else { return }
        lanes[lane][0].at = max(lanes[lane][0].at, at)
        laneAt[lane] = lanes[lane][0].at
    }

    /// All that is on a lane is lost.
    func lose(_ way: Way, _ from: Int, _ to: Int) {
        let lane = lane(way, from, to)
        for item in lanes[lane] { drop(item) }
        lanes[lane] = []
        laneAt[lane] = .max
    }

    /// The first of a lane is the caller's.
    func removeFirst(_ lane: Int) {
        guard !lanes[lane].isEmpty else { return }
        lanes[lane].removeFirst()
        laneAt[lane] = lanes[lane].first?.at ?? .max
    }

    /// A message, which the caller keeps, goes over the wire once more.
    func repeats(_ message: rig_message) {
        let from = Int(message.from)
        push(
            .frame(rig.repeated(message), nil, wantsPromise: false, sentAt: server(from).local(now)), .wire, from,
            Int(message.to))
    }

    func drop(_ item: Item) {
        if case .frame(let message, _, _, _) = item.content { rig.drop(message) }
    }

    // MARK: - Processes

    func start(_ id: Int) throws {
        let server = server(id)
        let disk = rig.disk(id)
        server.incarnation += 1
        server.isUp = true
        server.held = [:]
        server.reading = nil
        server.readsAt = .max
        server.diskAt = []
        server.met = [UInt64](repeating: 0, count: count)
        let local = server.local(now)
        // The one before may have promised something until it died.
        let closedUntil = server.incarnation > 1 ? local.advanced(by: Self.hold) : nil
        if isGuarded {
            server.core = RelayCore(
                own: VoterID(id), settings: Self.settings,
                gate: VoteGate(
                    now: local, term: disk.term, hasVoted: disk.voted_for != 0, hold: Self.hold,
                    closedUntil: closedUntil,
                    rules: rules.gate),
                lease: LeaseCore(own: VoterID(id), hold: Self.hold), rules: rules)
        }
        trace?("\(now / 1000) s\(id) starts: term \(disk.term), voted for \(disk.voted_for), log to \(disk.last_index)")
        rig.setTime(milliseconds: now / Self.ms)
        try rig.start(id)
        collect(id)
    }

    func crash(_ id: Int, kept: Int = 0) throws {
        trace?("\(now / 1000) s\(id) crashes, \(kept) of \(rig.writes(id)) writes kept")
        let server = server(id)
        try rig.crash(id, kept: kept)
        while rig.outcome() != nil { continue }
        server.isUp = false
        server.core = nil
        for message in server.held.values { rig.drop(message) }
        for other in 1...count where other != id {
            lose(.out, id, other)
            lose(.into, other, id)
            guard self.server(other).isUp else { continue }
            ends.append((now + (delay?(.wire, id, other) ?? 0), other, server.process))
        }
    }

    /// A connection ends although both of its sides live: what is on it is lost.
    func disconnect(_ from: Int, _ to: Int) {
        trace?("\(now / 1000) the connection of s\(from) to s\(to) ends")
        lose(.wire, from, to)
        lose(.answer, to, from)
        if server(to).isUp { ends.append((now, to, server(from).process)) }
    }

    func endsConnection(_ position: Int) {
        let end = ends.remove(at: position)
        let server = server(end.server)
        guard server.isUp, server.core != nil, server.met[Int(end.process.voter) - 1] == end.process.incarnation else {
            return
        }
        knowVoters(server)
        server.core?.ended(end.process, now: server.local(now))
        perform(server)
    }

    func answersProbe(_ position: Int) {
        let probe = probes.remove(at: position)
        let server = server(probe.server)
        guard server.isUp, server.core != nil else { return }
        server.core?.probed(
            probe.process, isRefused: !self.server(Int(probe.process.voter)).isUp, now: server.local(now))
        perform(server)
    }

    // MARK: - Servers

    func tick(_ id: Int) {
        rig.setTime(milliseconds: now / Self.ms)
        rig.tick(id)
        collect(id)
    }

    func write(_ id: Int) {
        if !server(id).diskAt.isEmpty { server(id).diskAt.removeFirst() }
        rig.setTime(milliseconds: now / Self.ms)
        trace?("\(now / 1000) s\(id) disk")
        rig.write(id)
        collect(id)
    }

    @discardableResult
    func ask(_ id: Int, _ request: Rig.Request) -> UInt64? {
        rig.setTime(milliseconds: now / Self.ms)
        let ticket = rig.ask(id, request)
        trace?("\(now / 1000) s\(id) is asked for \(request)\(ticket == nil ? ", and refuses" : "")")
        collect(id)
        return ticket
    }

    /// What became of requests, as clients know it.
    private(set) var outcomes: [UInt64: rig_outcome] = [:]

    /// Whether a client was told that its request is done.
    func isDone(_ ticket: UInt64?) -> Bool { ticket.flatMap { outcomes[$0] }?.status == 0 }

    /// Looks at what a server has done just now.
    func collect(_ id: Int) {
        while let message = rig.take(id) {
            trace?("\(now / 1000) s\(id) → s\(message.to) \(message.text)")
            push(
                .frame(message, NamedVoters(message, in: rig), wantsPromise: false, sentAt: server(id).local(now)),
                .out,
                id, Int(message.to))
        }
        let server = server(id)
        while server.diskAt.count < rig.writes(id) {
            server.diskAt.append(max(now + (diskDelay?(id) ?? 0), server.diskAt.last ?? 0))
        }
        while let outcome = rig.outcome() {
            outcomes[outcome.ticket] = outcome
            if outcome.index == 0, readsAfterChanges, server.core != nil { server.readsAt = min(server.readsAt, now) }
            guard outcome.status == 0, outcome.index > 0 else { continue }
            trace?("\(now / 1000) s\(id) acknowledges \(outcome.index)/\(outcome.term)")
            ledger.acknowledges(outcome, rig: rig)
        }
        guard rig.isLeader(id) else { return }
        let term = rig.state(id).term
        if ledger.leads(id, in: term, rig: rig) { trace?("\(now / 1000) s\(id) leads term \(term)") }
    }

    private func reads(_ item: Item, _ from: Int, _ to: Int) {
        guard case .frame(let message, _, _, _) = item.content else { return }
        trace?("\(now / 1000) s\(to) reads of s\(from): \(message.text)")
        rig.setTime(milliseconds: now / Self.ms)
        rig.deliver(message)
        collect(to)
    }
}
