import Glibc
import Platform
import Synchronization

/// A laboratory of three in which one cluster after the other is formed from nothing.
public final class FormationLab: Sendable {
    public let lab: LabCluster
    private let loads = Mutex<[ChildProcess]>([])

    /// `family`: of the VIP.
    public init(family: IPAddress.Family = .v4) throws {
        lab = try LabCluster(nodes: 3, family: family)
        try lab.startProbe()
    }

    /// Ends everything and removes it.
    public func close() {
        for load in loads.withLock({ $0 }) { load.signal(SIGKILL) }
        lab.close()
    }

    deinit { close() }

    /// Starts loops that never wait, until `close`.
    public func load(_ count: Int) throws {
        for _ in 0..<count {
            // In a namespace of the laboratory, so that nothing forgets it.
            let process = try ChildProcess(
                ["sh", "-c", "while :; do :; done"], in: lab.network.client, log: "/dev/null")
            loads.withLock { $0.append(process) }
        }
    }

    /// What happens in a trial: the same seed and number, the same moment and the same successor.
    struct Plan: Equatable {
        /// From the first answer of the address to the request.
        var moment: Duration
        /// The successor is so many nodes after the holder, in a ring.
        var neighbour: Int
        /// The node that is asked.
        var asked: Int

        init(seed: UInt64, number: Int) {
            var random = SeededGenerator(seed: seed &+ UInt64(number) &* 0x9E37_79B9)
            moment = random.milliseconds(0...1000)
            neighbour = Int.random(in: 1...2, using: &random)
            asked = Int.random(in: 1...3, using: &random)
        }
    }

    /// Forms a cluster, hands over, and looks who has the address.
    ///
    /// - Parameter binary: the program that is tried.
    /// - Throws: `LabError` when no cluster is formed, or the laboratory itself failed.
    public func trial(_ number: Int, seed: UInt64, binary: String) async throws -> FormationTrial {
        let plan = Plan(seed: seed, number: number)
        try await lab.endForGood()
        let logs = LogMarks(lab)
        let prober = try lab.startProbe()
        prober.forget()
        var options = StartOptions.identical(expect: lab.nodes.count)
        options.further =
            ["--vip", lab.vipText] + (getenv("DQLITE_VIP_LAB_DEBUG") == nil ? [] : ["--log-level", "debug"])
        for node in lab.nodes { try node.start(options, binary: binary) }
        let started = BootClock.now
        let first = try await eventually(
            "first answer of the VIP", within: .seconds(30), every: .milliseconds(1), state: { self.lab.whoHasIt }
        ) { prober.lastReply }
        try await Task.sleep(for: max(.zero, BootClock.now.duration(to: first.receivedAt.advanced(by: plan.moment))))

        let giver = try await lab.holder()
        let named = (giver - 1 + plan.neighbour) % lab.nodes.count + 1
        let asked = BootClock.now
        let (status, reason) = await ask(plan.asked, for: named)
        let holders = await rest(limit: .seconds(5))
        let end = BootClock.now

        let timeline = lab.witness.timeline
        var trial = FormationTrial(
            number: number, moment: first.receivedAt.duration(to: asked),
            outcome: FormationTrial.outcome(status: status, holders: holders, giver: giver, named: named),
            reason: reason,
            outage: FailoverView(prober.record, fault: asked, end: end, lead: .zero).outage)
        trial.vacancy = timeline.vacancy(of: lab.vip, from: asked, to: end)
        trial.forbidden = FormationTrial.forbidden(
            timeline.overlaps(of: lab.vip, from: started, to: end), giver: giver, named: named)
        trial.formation = started.duration(to: first.receivedAt)
        trial.bad = logs.findings(lab, expected: [])
        if trial.isBad { keepLogs(of: number) }
        if lab.witness.overruns > 0 { trial.bad.append("the witness missed events: its timeline is worth nothing") }
        return trial
    }

    /// What the nodes said in a trial with findings is left in `formations.logs`.
    private func keepLogs(of trial: Int) {
        mkdir("formations.logs", 0o755)
        for node in lab.nodes {
            let text = node.logText.suffix(64 << 10)
            guard let file = fopen("formations.logs/\(trial)-node\(node.number).log", "w") else { continue }
            fputs(String(text), file)
            fclose(file)
        }
    }

    private func ask(_ node: Int, for named: Int) async -> (status: Int?, reason: String?) {
        do {
            let answer = try await lab[node].failOver(to: lab[named])
            return (answer.status, answer.status == 200 ? nil : answer.message)
        } catch {
            return (nil, "\(error)")
        }
    }

    /// Waits until one node has had the address, and has answered the client, for a quarter of a second; gives who has it when
    /// that, or `limit`, has come.
    private func rest(limit: Duration) async -> [Int] {
        let deadline = BootClock.now.advanced(by: limit)
        var (since, last) = (BootClock.now, lab.witness.holders(of: lab.vip))
        while BootClock.now < deadline {
            let (now, holders) = (BootClock.now, lab.witness.holders(of: lab.vip))
            let reply = (try? lab.startProbe())?.lastReply
            let isServed = reply.map { holders == [$0.node] && $0.receivedAt.duration(to: now) < .milliseconds(20) }
            if holders != last || isServed != true { (since, last) = (now, holders) }
            if since.duration(to: now) >= .milliseconds(250) { break }
            // The end of a time in which nothing happens is no event.
            try? await Task.sleep(for: .milliseconds(5))
        }
        return lab.witness.holders(of: lab.vip)
    }
}
