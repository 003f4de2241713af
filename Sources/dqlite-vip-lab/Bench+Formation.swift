import Lab
import Platform

/// How long nodes that know nothing of each other need to become a cluster that holds its VIP.
extension Bench {
    func formations(_ modes: [FormationMode], trials: Int) async throws -> [BenchResult.Formation] {
        let services = FormationServices(lab)
        var results: [BenchResult.Formation] = []
        if !modes.isEmpty {
            say("formation: start of the last of \(lab.nodes.count) nodes → VIP answers, and → all are in the cluster")
        }
        for mode in modes {
            var (answers, complete): ([Duration], [Duration]) = ([], [])
            for trial in 1...trials {
                let times = try await formation(mode, services)
                answers.append(times.answer)
                complete.append(times.complete)
                progress(
                    "formation by \(mode.rawValue) \(trial)/\(trials): \(times.answer.inWords), all \(times.complete.inWords)"
                )
            }
            line("  \(mode.rawValue): VIP answers", Distribution(answers), goal: mode.goal)
            line("  \(mode.rawValue): all in the cluster", Distribution(complete))
            results.append(
                BenchResult.Formation(
                    mode: mode.rawValue, answers: answers.map(\.inBenchMilliseconds),
                    complete: complete.map(\.inBenchMilliseconds)))
        }
        say("")
        try await tearDown()
        try await services.stop()
        return results
    }

    private func formation(
        _ mode: FormationMode, _ services: FormationServices
    ) async throws -> (answer: Duration, complete: Duration) {
        var options = try await services.options(mode)
        options.further = ["--vip", lab.vipText]
        try await tearDown()
        let prober = try lab.startProbe()
        try ToolCommand.check(["ip", "-n", lab.network.client.name, "neighbour", "flush", "all"])
        prober.forget()
        try lab.startAll(options)
        let started = BootClock.now
        let first = try await eventually("first answer of the VIP", within: .seconds(30), every: .milliseconds(2)) {
            prober.record.replies.first { $0.receivedAt > started }
        }
        // Whoever has answered must also be one whole cluster.
        _ = try await lab.formation(within: .seconds(20))
        return (started.duration(to: first.receivedAt), started.duration(to: BootClock.now))
    }

    private func tearDown() async throws {
        for node in lab.nodes {
            try await node.kill9()
            node.wipe()
        }
        try await eventually(
            "end of the kernel's lifetimes", within: .seconds(5),
            state: { "held by \(lab.witness.holders(of: lab.vip)), \(lab.whoHasIt)" }
        ) {
            lab.witness.holders(of: lab.vip).isEmpty
        }
    }
}
