import Platform

@testable import Cluster

/// A whole cluster in one thread and in simulated time: real `BootstrapCore`s, a network that loses, delays, repeats and
/// partitions, processes that die between any two directives, and a simplified raft (`SimRaft`).
///
/// Everything is drawn from the seed, so that a seed repeats its run. It stops at the first violated invariant.
struct Simulation {
    /// What is wrong, and with which invariant of DOC/ARCHITECTURE.md.
    struct Violation: Error, CustomStringConvertible {
        var seed: UInt64
        var description: String
    }

    /// What a run without violation came to.
    enum Outcome: Equatable {
        /// All nodes that are up are members of the one formed cluster; nanoseconds after the end of the faults.
        case formed(Int64)
        /// Waits for a disk that was lost for ever in the one window in which that matters.
        case stuckForLostDisk(why: String)
        /// The store took a formed cluster for dead, and another was founded.
        case lapsed
    }

    /// A host: its disk, and the process on it when it runs.
    ///
    /// A class, so that looking at one field does not copy the others.
    final class Host {
        let address: HostPort
        var record: NodeRecord?
        var raft = SimRaft.Disk()
        var core: BootstrapCore?
        /// `core` is there.
        var isUp = false
        /// Counted up with each crash, so that what an earlier process waited for reaches no later one.
        var incarnation = 0
        var nodeRuns = false
        var dead = false
        var discovers: [HostPort] = []
        var wakeAt: Int64 = 0

        init(_ address: HostPort) {
            self.address = address
        }
    }

    enum Message {
        case request(PeerRequest, Envelope)
        case reply(PeerReply, Envelope)
        case event(BootstrapEvent, host: Int, incarnation: Int)
        case create(ClusterID, Agreement, host: Int, incarnation: Int)
        case admit(FoundingMember, ClusterID, host: Int, incarnation: Int)
        case commitFormed(ClusterID, host: Int, incarnation: Int)
        case admitJoiner(JoinRequest, Envelope)
        case claim(ClusterID?, host: Int, incarnation: Int, askedAt: Int64, answers: Bool)
    }

    struct Envelope {
        var from: Int
        var incarnation: Int
        var to: Int
        var id: PeerRequestID
        var sentAt: Int64
        var within: Int64
    }

    let schedule: SimSchedule
    let rules: BootstrapCore.Rules
    let trace: ((String) -> Void)?
    var random: BootstrapRandom
    var now: Int64 = 0
    var queue = SimQueue()
    var hosts: [Host] = []
    var raft = SimRaft()
    var store = SimStore()
    var messages: [Message?] = []
    var freeSlots: [Int] = []
    var tokens: [Envelope] = []
    /// `blocked[from * count + to]`: messages in this direction are lost.
    var blocked: [Bool]
    var calm = false
    var checker: SimChecker
    var events = 0

    init(
        _ schedule: SimSchedule, rules: BootstrapCore.Rules = BootstrapCore.Rules(), onlyClusters: Bool = false,
        trace: ((String) -> Void)? = nil
    ) {
        self.schedule = schedule
        self.rules = rules
        self.trace = trace
        random = BootstrapRandom(seed: schedule.seed ^ 0x5EED_0F_C1A5_7E12)
        let count = schedule.nodes.count
        blocked = [Bool](repeating: false, count: count * count)
        checker = SimChecker(seed: schedule.seed, onlyClusters: onlyClusters)
        for index in 0..<count { hosts.append(Host(Self.address(index))) }
    }

    /// The index of a host stands in its port, so that finding a host costs nothing.
    static func address(_ index: Int) -> HostPort { HostPort(host: "n", port: UInt16(8800 + index)) }

    func host(at address: HostPort) -> Int? {
        let index = Int(address.port) - 8800
        return index < hosts.count ? index : nil
    }

    // MARK: running

    mutating func run() throws -> Outcome {
        plan()
        var looked = 0
        while let entry = queue.next() {
            now = entry.time
            events += 1
            try handle(entry)
            // Only then can the answer have changed.
            let mayBeAll = checker.formedHosts != looked || entry.kind == .calm || entry.kind == .startProcess
            looked = checker.formedHosts
            if calm, mayBeAll, allFormed() {
                try checkEnd()
                return .formed(now - schedule.calmAt)
            }
            if now > schedule.calmAt + schedule.bound { return store.lapsed.isEmpty ? try overdue() : .lapsed }
        }
        throw Violation(seed: schedule.seed, description: "the simulation ran out of events")
    }

    private mutating func plan() {
        for index in hosts.indices {
            hosts[index].discovers = discovery(of: index, full: !schedule.smallWorld || schedule.calmAt == 0)
            queue.add(schedule.nodes[index].startsAt, .startProcess, index, 0)
        }
        let faultTime = UInt64(max(1, schedule.calmAt))
        for _ in 0..<schedule.partitions {
            let at = Int64(random.below(faultTime))
            queue.add(at, .partition, Int(random.below(3)))
            queue.add(at + 20_000_000 + Int64(random.below(400_000_000)), .heal, 0)
        }
        for _ in 0..<schedule.wipes {
            queue.add(Int64(random.below(faultTime)), .wipe, Int(random.below(UInt64(hosts.count))))
        }
        for _ in 0..<schedule.raftWipes {
            queue.add(Int64(random.below(faultTime)), .raftWipe, Int(random.below(UInt64(hosts.count))))
        }
        if schedule.smallWorld, !schedule.isFaultless {
            for index in hosts.indices where random.below(2) == 0 {
                queue.add(Int64(random.below(faultTime)), .changeDiscovery, index)
            }
        }
        if schedule.crashes > 0 {
            for _ in 0..<random.below(4) {
                queue.add(Int64(random.below(faultTime)), .crash, Int(random.below(UInt64(hosts.count))))
            }
            if random.below(3) == 0 { queue.add(Int64(random.below(faultTime)), .moveLeader, 0) }
        }
        queue.add(schedule.calmAt, .calm, 0)
        queue.add(30_000_000, .raftTick, 0)
    }

    /// What discovery tells a host: everything, or with a small world and faults whatever it likes.
    private mutating func discovery(of index: Int, full: Bool) -> [HostPort] {
        var list: [HostPort] = []
        for other in hosts.indices where full || other == index || random.below(3) > 0 {
            list.append(hosts[other].address)
        }
        for dead in 0..<schedule.deadAddresses where full || random.below(2) == 0 {
            list.append(HostPort(host: "n", port: UInt16(9900 + dead)))
        }
        return list
    }

    private mutating func handle(_ entry: SimQueue.Entry) throws {
        switch entry.kind {
        case .message:
            guard let message = messages[entry.subject] else { return }
            messages[entry.subject] = nil
            freeSlots.append(entry.subject)
            try deliver(message)
        case .wake:
            let host = hosts[entry.subject]
            if host.incarnation == entry.detail, host.isUp, host.wakeAt == now {
                try step(entry.subject, .tick)
            }
        case .startProcess:
            if entry.detail == hosts[entry.subject].incarnation { try startProcess(entry.subject) }
        case .crash:
            if !calm { crash(entry.subject) }
        case .raftTick:
            queue.add(now + 30_000_000, .raftTick, 0)
            try tickRaft()
            if schedule.claims { reportLeaders() }
        case .partition:
            if !calm { partition(entry.subject) }
        case .heal:
            for index in blocked.indices { blocked[index] = false }
        case .changeDiscovery:
            if !calm { hosts[entry.subject].discovers = discovery(of: entry.subject, full: false) }
        case .wipe, .raftWipe:
            if !calm {
                crash(entry.subject)
                trace?("\(time) n\(entry.subject) disk wiped \(entry.kind)")
                if entry.kind == .wipe {
                    hosts[entry.subject].record = nil
                    checker.forget(entry.subject)
                } else {
                    checker.raftWiped(entry.subject)
                }
                hosts[entry.subject].raft = SimRaft.Disk()
            }
        case .moveLeader:
            if !calm {
                for group in raft.groups.indices { try lead(group, nil) }
            }
        case .calm:
            try calmDown()
        }
    }

    private mutating func calmDown() throws {
        trace?("\(time) -- the faults end")
        calm = true
        for index in blocked.indices { blocked[index] = false }
        for index in hosts.indices {
            hosts[index].discovers = discovery(of: index, full: true)
            if schedule.nodes[index].dies {
                if hosts[index].isUp { crash(index) }
                hosts[index].incarnation += 1
                hosts[index].dead = true
            } else if !hosts[index].isUp, schedule.nodes[index].startsAt <= now {
                hosts[index].incarnation += 1
                queue.add(now + Int64(random.below(50_000_000)), .startProcess, index, hosts[index].incarnation)
            }
        }
    }

    private mutating func partition(_ kind: Int) {
        let count = hosts.count
        let one = Int(random.below(UInt64(count)))
        for other in 0..<count where other != one {
            switch kind {
            case 0:
                blocked[one * count + other] = true
                blocked[other * count + one] = true
            case 1:
                if random.below(2) == 0 { blocked[one * count + other] = true }
            default:
                for third in 0..<count where (third < one) != (other < one) {
                    blocked[third * count + other] = true
                    blocked[other * count + third] = true
                }
            }
        }
        trace?("\(time) partition \(kind) around n\(one)")
    }

    var time: String { "\(Double(now / 10_000) / 100) ms" }

    // MARK: processes

    private mutating func startProcess(_ index: Int) throws {
        guard !hosts[index].isUp, !hosts[index].dead else { return }
        let node = schedule.nodes[index]
        let options = BootstrapOptions(
            mode: node.mode, clusterName: "c", name: "n", address: hosts[index].address, nonVoter: node.nonVoter,
            timing: schedule.timing)
        do {
            hosts[index].core = try BootstrapCore(
                options: options, record: hosts[index].record, raftIsEmpty: hosts[index].raft.isEmpty,
                random: BootstrapRandom(seed: random.next()), rules: rules)
        } catch {
            throw Violation(seed: schedule.seed, description: "n\(index) refuses to start: \(error)")
        }
        hosts[index].isUp = true
        trace?("\(time) n\(index) starts as \(hosts[index].core?.record.nodeID.short ?? "-")")
        try step(index, .start)
    }

    mutating func crash(_ index: Int) {
        guard hosts[index].isUp else { return }
        trace?("\(time) n\(index) crashes")
        hosts[index].core = nil
        hosts[index].isUp = false
        hosts[index].nodeRuns = false
        for group in raft.groups.indices where raft.groups[group].leader == index { raft.groups[group].leader = nil }
        hosts[index].incarnation += 1
        queue.add(
            now + 1_000_000 + Int64(random.below(schedule.longestDowntime)), .startProcess, index,
            hosts[index].incarnation)
    }

    mutating func step(_ index: Int, _ event: BootstrapEvent) throws {
        guard hosts[index].isUp else { return }
        let incarnation = hosts[index].incarnation
        let directives = hosts[index].core?.step(event, now: BootInstant(nanoseconds: now)) ?? []
        if let trace, !directives.isEmpty { traceStep(index, event, directives, trace) }
        for directive in directives {
            if !calm, schedule.crashes > 0, random.below(10_000) < schedule.crashes {
                crash(index)
                return
            }
            try perform(directive, index)
            if hosts[index].incarnation != incarnation { return }
        }
    }

    private mutating func perform(_ directive: BootstrapDirective, _ index: Int) throws {
        switch directive {
        case .persist(let record):
            try checker.check(index, hosts[index].record, record, self)
            hosts[index].record = record
        case .send(let request, let address, let id, let within):
            send(request, from: index, to: address, id, within.inNanoseconds)
        case .respond(let reply, let token):
            respond(reply, tokens[Int(token)])
        case .lookUp:
            var found = hosts[index].discovers
            if let holder = store.key?.holder, !found.contains(hosts[holder].address) {
                found.append(hosts[holder].address)
            }
            post(
                .event(.discovered(found), host: index, incarnation: hosts[index].incarnation),
                1_000_000)
        case .startNode(let dqliteID, let founding):
            try startNode(index, dqliteID, founding)
        case .createDatabase(let clusterID, let agreement):
            post(.create(clusterID, agreement, host: index, incarnation: hosts[index].incarnation), operationTime())
        case .admit(let member, _, let clusterID):
            post(.admit(member, clusterID, host: index, incarnation: hosts[index].incarnation), operationTime())
        case .claimFounding(let clusterID):
            claim(index, clusterID)
        case .commitFormed(let clusterID, let deadline):
            if let deadline, now >= deadline.nanoseconds { return }
            post(.commitFormed(clusterID, host: index, incarnation: hosts[index].incarnation), operationTime())
        case .stopNode:
            hosts[index].nodeRuns = false
        case .stopNodeAndWipeRaft:
            hosts[index].nodeRuns = false
            hosts[index].raft = SimRaft.Disk()
        case .becameMember, .waiting, .warn:
            break
        case .wake(let at):
            hosts[index].wakeAt = at.nanoseconds
            queue.add(at.nanoseconds, .wake, index, hosts[index].incarnation)
        }
    }

    func operationTime() -> Int64 { calm ? 3_000_000 : 3_000_000 + Int64(events % 7) * 4_000_000 }

    // MARK: network

    mutating func post(_ message: Message, _ delay: Int64) {
        if let slot = freeSlots.popLast() {
            messages[slot] = message
            queue.add(now + delay, .message, slot)
        } else {
            messages.append(message)
            queue.add(now + delay, .message, messages.count - 1)
        }
    }

    private mutating func latency() -> Int64 {
        if !calm, schedule.slow > 0, random.below(1000) < schedule.slow {
            return 1_000_000 + Int64(random.below(120_000_000))
        }
        return 150_000 + Int64(random.below(500_000))
    }

    private mutating func isLost(_ from: Int, _ to: Int) -> Bool {
        if blocked[from * hosts.count + to] { return true }
        return !calm && schedule.loss > 0 && random.below(1000) < schedule.loss
    }

    private mutating func send(
        _ request: PeerRequest, from: Int, to address: HostPort, _ id: PeerRequestID, _ within: Int64
    ) {
        let incarnation = hosts[from].incarnation
        guard let to = host(at: address), !isLost(from, to) else {
            post(.event(.failed(id, from: address, reason: ""), host: from, incarnation: incarnation), within)
            return
        }
        let envelope = Envelope(
            from: from, incarnation: incarnation, to: to, id: id, sentAt: now, within: within)
        post(.request(request, envelope), latency())
        guard !calm, schedule.duplication > 0 else { return }
        // Promises and the loss of them are rare, so their messages come again more often, and later.
        if case .hello = request {
            if random.below(1000) < schedule.duplication {
                post(.request(request, envelope), Int64(random.below(300_000_000)))
            }
        } else {
            for _ in 0..<3 where random.below(1000) < 3 * schedule.duplication {
                post(.request(request, envelope), Int64(random.below(1_000_000_000)))
            }
        }
    }

    mutating func respond(_ reply: PeerReply, _ envelope: Envelope) {
        if !isLost(envelope.to, envelope.from) { post(.reply(reply, envelope), latency()) }
    }

    private mutating func deliver(_ message: Message) throws {
        switch message {
        case .request(let request, let envelope):
            guard hosts[envelope.to].isUp else {
                // Refused at once, as by a kernel without that port.
                post(
                    .event(
                        .failed(envelope.id, from: hosts[envelope.to].address, reason: ""), host: envelope.from,
                        incarnation: envelope.incarnation), 300_000)
                return
            }
            if case .join(let join) = request, hosts[envelope.to].core?.isFormed == true {
                answerJoin(join, envelope)
                return
            }
            tokens.append(envelope)
            try step(envelope.to, .request(request, token: PeerReplyToken(tokens.count - 1)))
        case .reply(let reply, let envelope):
            guard hosts[envelope.from].incarnation == envelope.incarnation else { return }
            let address = hosts[envelope.to].address
            if now - envelope.sentAt > envelope.within {
                try step(envelope.from, .failed(envelope.id, from: address, reason: ""))
            } else {
                try step(envelope.from, .reply(envelope.id, from: address, reply))
            }
        case .event(let event, let host, let incarnation):
            if hosts[host].incarnation == incarnation { try step(host, event) }
        case .create(let clusterID, let agreement, let host, let incarnation):
            if hosts[host].incarnation == incarnation { try create(clusterID, agreement, host) }
        case .admit(let member, let clusterID, let host, let incarnation):
            if hosts[host].incarnation == incarnation { try admit(member, clusterID, host) }
        case .commitFormed(let clusterID, let host, let incarnation):
            if hosts[host].incarnation == incarnation { try commitFormed(clusterID, host) }
        case .admitJoiner(let join, let envelope):
            try admitJoiner(join, envelope)
        case .claim(let clusterID, let host, let incarnation, let askedAt, let answers):
            answerClaim(clusterID, host, incarnation, askedAt: askedAt, answers: answers)
        }
    }

    // MARK: the end

    func allFormed() -> Bool {
        var cluster: ClusterID?
        for host in hosts where !host.dead {
            guard host.isUp, case .formed(let id) = host.record?.state else { return false }
            if let cluster, cluster != id { return false }
            cluster = id
        }
        return true
    }

    private func traceStep(
        _ index: Int, _ event: BootstrapEvent, _ directives: [BootstrapDirective], _ trace: (String) -> Void
    ) {
        trace("\(time) n\(index) \(SimTrace.text(event))")
        for directive in directives {
            if let text = SimTrace.text(directive) { trace("      \(text)") }
        }
    }
}
