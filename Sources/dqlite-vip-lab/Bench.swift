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

    /// - Parameter writers: how many processes write 4 KiB to the disk and wait for that, again and again.
    func load(_ time: Duration, loops: Int, writers: Int) async throws -> BenchResult.Load {
        try await ensureRunning()
        _ = try await lab.settled(for: .seconds(2))
        let before = try await lab.formation()
        let began = BootClock.now
        // They end by themselves, in case this process is ended before.
        let whileLasting = "end=$((SECONDS + \(time.components.seconds + 30))); while ((SECONDS < end))"
        let busy = try (0..<loops).map { _ in
            try ChildProcess(["bash", "-c", "\(whileLasting); do :; done"], log: "/dev/null")
        }
        let files = (0..<writers).map { "\(lab.network.directory)/written\($0)" }
        let writing = try files.map { file in
            try ChildProcess(
                [
                    "bash", "-c",
                    "\(whileLasting) && dd if=/dev/zero of='\(file)' bs=4k count=1 conv=fsync 2>/dev/null; do :; done",
                ], log: "/dev/null")
        }
        defer {
            for process in busy + writing { process.signal(SIGKILL) }
        }
        let (changes, moves) = try await changes(for: time, since: before, began)
        say(
            "\(loops) busy loops and \(writers) writers with fsync for \(time.inMilliseconds / 1000) s: \(changes) changes of "
                + "term, \(moves) moves of the VIP   (goal: 0)\n")
        return BenchResult.Load(leaderChanges: changes, holderChanges: moves)
    }

    /// How often the term changed and the address moved in the time from `began` on.
    private func changes(
        for time: Duration, since before: LabCluster.Formation, _ began: BootInstant
    ) async throws -> (terms: Int, moves: Int) {
        var terms: Set<UInt64> = []
        repeat {
            for node in lab.nodes {
                // A node too loaded to answer in time says nothing about terms; the next look is soon.
                if let term = try? await node.status(within: .seconds(2)).term { terms.insert(term) }
            }
            try await Task.sleep(for: .milliseconds(500))
        } while began.duration(to: BootClock.now) < time
        let first = before.statuses.values.compactMap(\.term).max() ?? 0
        let changes = Int((terms.max() ?? first) - first)
        let moves = lab.witness.timeline.intervals(of: lab.vip).count { $0.start >= began }
        return (changes, moves)
    }

    func rest(_ time: Duration) async throws -> BenchResult.Rest {
        try await ensureRunning()
        _ = try await lab.settled(for: .seconds(2))
        lab.stopProbe()
        defer { _ = try? lab.startProbe() }
        let formed = try await lab.formation()
        let began = BootClock.now
        let before = try lab.nodes.map {
            (cpu: processorTime($0), packets: try lab.network.packets(fromNode: $0.number))
        }
        try await Task.sleep(for: time)
        let seconds = Double(began.duration(to: BootClock.now).inNanoseconds) / 1e9
        let holder = lab.witness.holders(of: lab.vip).first
        let (changes, moves) = try await changes(for: .zero, since: formed, began)
        say(
            "at rest for \(Int(seconds)) s, guard and daemon together, what they share of the program counted once: "
                + "\(changes) changes of term, \(moves) moves of the VIP   (goal: < 0.83 % of a core, < 30 MB, 0)")
        var nodes: [BenchResult.Rest.Node] = []
        for (node, earlier) in zip(lab.nodes, before) {
            let cpu = processorTime(node) - earlier.cpu
            let memory = tree(node).compactMap { ProcessTable.memory(of: $0) }
            let packets = try lab.network.packets(fromNode: node.number) - earlier.packets
            let own = memory.map(\.anonymous).reduce(0, +)
            let files = memory.map { $0.resident - $0.anonymous }.max() ?? 0
            let entry = BenchResult.Rest.Node(
                processorPercent: Double(cpu.inNanoseconds) / 1e7 / seconds, residentKiB: files + own, ownKiB: own,
                packetsPerSecond: Double(packets) / seconds)
            nodes.append(entry)
            let leads = node.number == holder ? " (leader)" : ""
            let (resident, mine) = (rounded(Double(entry.residentKiB) / 1024, 10), rounded(Double(own) / 1024, 10))
            say(
                "  node \(node.number)\(leads): \(rounded(entry.processorPercent, 100)) % of a core, "
                    + "\(resident) MiB resident (\(mine) its own, the rest pages of files), "
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
