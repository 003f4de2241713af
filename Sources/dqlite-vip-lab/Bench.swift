import Glibc
import Lab
import Platform

/// The measurements of `bench`, each with its words.
struct Bench {
    let lab: LabCluster

    func printHead() {
        say(
            """
            dqlite-vip bench: \(lab.nodes.count) servers and a client in network namespaces of one host
            binary \(lab[1].binary)
            The client asks the VIP every millisecond (UDP); addresses and ARP are taken from the kernels' events.
            Milliseconds, min/median/max. One host, no real wire: figures of real machines will be somewhat larger.

            """)
    }

    /// The same command line everywhere, and the VIP in it, so that nobody has to set it.
    var options: StartOptions {
        var options = StartOptions.identical(expect: lab.nodes.count)
        options.further = ["--vip", lab.vipText]
        return options
    }

    func ensureRunning() async throws {
        for node in lab.nodes where node.guardPID == nil { try node.start(options) }
        _ = try await lab.formation(within: .seconds(30))
    }

    // MARK: Load and rest

    func load(_ time: Duration, loops: Int) async throws -> BenchResult.Load {
        try await ensureRunning()
        _ = try await lab.settled(for: .seconds(2))
        let before = try await lab.formation()
        let began = BootClock.now
        let busy = try (0..<loops).map { _ in
            try ChildProcess(["sh", "-c", "while :; do :; done"], log: "/dev/null")
        }
        defer { busy.forEach { $0.signal(SIGKILL) } }
        var terms: Set<UInt64> = []
        while began.duration(to: BootClock.now) < time {
            for node in lab.nodes {
                // A node too loaded to answer in time says nothing about terms; the next look is soon.
                if let term = try? await node.status(within: .seconds(2)).term { terms.insert(term) }
            }
            try await Task.sleep(for: .milliseconds(500))
        }
        let first = before.statuses.values.compactMap(\.term).max() ?? 0
        let changes = Int((terms.max() ?? first) - first)
        let moves = lab.witness.timeline.intervals(of: lab.vip).count { $0.start >= began }
        say(
            "\(loops) busy loops for \(time.inMilliseconds / 1000) s: \(changes) changes of term, \(moves) moves of the VIP   (goal: 0)\n"
        )
        return BenchResult.Load(leaderChanges: changes, holderChanges: moves)
    }

    func rest(_ time: Duration) async throws -> BenchResult.Rest {
        try await ensureRunning()
        _ = try await lab.settled(for: .seconds(2))
        lab.stopProbe()
        defer { _ = try? lab.startProbe() }
        let began = BootClock.now
        let before = try lab.nodes.map {
            (cpu: processorTime($0), packets: try lab.network.packets(fromNode: $0.number))
        }
        try await Task.sleep(for: time)
        let seconds = Double(began.duration(to: BootClock.now).inNanoseconds) / 1e9
        let holder = lab.witness.holders(of: lab.vip).first
        say("at rest for \(Int(seconds)) s, guard and daemon together   (goal: < 1 % of a core, < 40 MB resident)")
        var nodes: [BenchResult.Rest.Node] = []
        for (node, earlier) in zip(lab.nodes, before) {
            let cpu = processorTime(node) - earlier.cpu
            let memory = tree(node).compactMap { ProcessTable.memory(of: $0) }
            let packets = try lab.network.packets(fromNode: node.number) - earlier.packets
            let entry = BenchResult.Rest.Node(
                processorPercent: Double(cpu.inNanoseconds) / 1e7 / seconds,
                residentKiB: memory.map(\.resident).reduce(0, +),
                proportionalKiB: memory.map(\.proportional).reduce(0, +),
                packetsPerSecond: Double(packets) / seconds)
            nodes.append(entry)
            say(
                "  node \(node.number)\(node.number == holder ? " (leader)" : ""): "
                    + "\(rounded(entry.processorPercent, 100)) % of a core, "
                    + "\(rounded(Double(entry.residentKiB) / 1024, 10)) MiB resident "
                    + "(guard \(memory.first.map { rounded(Double($0.resident) / 1024, 10) } ?? 0)), "
                    + "\(rounded(Double(entry.proportionalKiB) / 1024, 10)) MiB proportional, "
                    + "\(rounded(entry.packetsPerSecond, 1)) packets/s sent")
        }
        say("")
        return BenchResult.Rest(nodes: nodes)
    }

    private func tree(_ node: LabNode) -> [Int32] {
        node.guardPID.map { ProcessTable.tree(of: $0) } ?? []
    }

    private func processorTime(_ node: LabNode) -> Duration {
        tree(node).compactMap { ProcessTable.processorTime(of: $0) }.reduce(.zero, +)
    }

    // MARK: Words

    func line(_ what: String, _ distribution: Distribution?, goal: String? = nil) {
        say("\(what): \(distribution.map { "\($0)" } ?? "never")" + (goal.map { "   (goal: \($0))" } ?? ""))
        if !what.hasPrefix(" ") { say("") }
    }

    /// Each trial as it is done, apart from the figures.
    func progress(_ text: String) {
        remark("    \(text)")
    }

    private func rounded(_ value: Double, _ unit: Double) -> Double { (value * unit).rounded() / unit }
}

extension Duration {
    var inBenchMilliseconds: Double { Double(inNanoseconds / 1000) / 1000 }
}
