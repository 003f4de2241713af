import Lab
import Platform

/// What a client of the VIP goes through, fault by fault.
extension Bench {
    /// `writesPerSecond`: so many changes through the API go on meanwhile, which leave the VIP where it is.
    func failover(_ fault: Fault, trials: Int, writesPerSecond: Int = 0) async throws -> BenchResult.Failover {
        try await ensureRunning()
        let name = fault.rawValue + (writesPerSecond > 0 ? " with \(writesPerSecond) writes/s" : "")
        let result = try await FaultBench(manager: Self.manager, lab: lab, fault: fault, name: name).run(
            trials,
            measure: {
                guard writesPerSecond > 0 else {
                    return try await lab.measure(fault, settle: .seconds(2), within: .seconds(30))
                }
                let (writer, lab) = (RegisterWriter(), lab)
                let pause = Duration.milliseconds(1000 / Int64(writesPerSecond))
                async let writing: Void = writer.run(lab, same: lab.vipText, every: pause)
                do {
                    let report = try await lab.measure(fault, settle: .seconds(2), within: .seconds(30))
                    writer.stop()
                    await writing
                    return report
                } catch {
                    writer.stop()
                    await writing
                    throw error
                }
            },
            recover: { node in
                try await lab.recover(from: fault, onNode: node)
                _ = try await lab.formation(within: .seconds(30))
            })
        return result
    }

    static let manager = "dqlite-vip"

    /// Ends the product everywhere, and waits until no kernel has its address any more.
    func stopAll() async throws {
        for node in lab.nodes { try await node.kill9() }
        try await eventually("end of the kernel's lifetimes", within: .seconds(5)) {
            lab.witness.holders(of: lab.vip).isEmpty
        }
    }

    /// The same faults with another manager of addresses.
    func failovers(
        _ variant: Keepalived.Variant, _ faults: [Fault], trials: Int
    ) async throws -> [BenchResult.Failover] {
        let keepalived = Keepalived(variant, lab)
        try keepalived.start()
        var results: [BenchResult.Failover] = []
        for fault in faults {
            let bench = FaultBench(manager: variant.rawValue, lab: lab, fault: fault, name: fault.rawValue)
            do {
                results.append(
                    try await bench.run(
                        trials, measure: { try await keepalived.measure(fault) },
                        recover: { try await keepalived.recover(from: fault, onNode: $0) }))
            } catch let error as LabError {
                // It may be left with two holders, or with one that nobody reaches: the next fault begins anew.
                say("\(variant.rawValue): \(fault.rawValue): given up: \(error)\n")
                try await keepalived.stop()
                try keepalived.start()
            }
        }
        try await keepalived.stop()
        return results
    }

    /// All managers side by side, as a table in Markdown.
    func compare(_ results: [BenchResult.Failover]) {
        guard !results.isEmpty else { return }
        say("| fault | manager | trials | takeover | outage | lost | two holders | outage on healing |")
        say("|---|---|---|---|---|---|---|---|")
        var names: [String] = []
        for result in results where !names.contains(result.fault) { names.append(result.fault) }
        for name in names {
            for result in results where result.fault == name { say(result.row) }
        }
        say("")
    }
}

/// One fault, one manager, some trials.
struct FaultBench {
    let manager: String
    let lab: LabCluster
    let fault: Fault
    let name: String

    func run(
        _ trials: Int, measure: () async throws -> FaultReport, recover: (Int) async throws -> Void
    ) async throws -> BenchResult.Failover {
        var result = BenchResult.Failover(manager: manager, fault: name, trials: [])
        var reports: [FaultReport] = []
        for number in 1...trials {
            let report = try await measure()
            reports.append(report)
            let prober = try lab.startProbe()
            let healed = BootClock.now
            try await recover(report.oldHolder)
            var trial = BenchResult.Failover.Trial(report)
            if fault == .linkCut || fault == .silentPartition {
                try await Task.sleep(for: .seconds(5))
                let view = FailoverView(prober.record, fault: healed, end: BootClock.now)
                (trial.healing, trial.healingLost) = (view.outage.inBenchMilliseconds, view.lost)
            }
            result.trials.append(trial)
            remark(
                "    \(manager): \(name) \(number)/\(trials): node \(report.oldHolder) → "
                    + "\(report.newHolder.map { "\($0)" } ?? "none"), takeover "
                    + "\(report.view.takeover?.inWords ?? "none"), outage \(report.view.outage.inWords), two holders "
                    + "\(report.oldLost == nil ? "without end" : report.overlap.inWords)"
                    + (report.view.stall > .milliseconds(50) ? ", disturbed: the probe itself stood still" : ""))
        }
        let never = reports.count { $0.view.takeover == nil }
        say("\(manager): \(name), \(trials) trials" + (never > 0 ? ", \(never) without a takeover" : ""))
        func line(_ what: String, _ values: [Duration], goal: String? = nil) {
            let words = Distribution(values).map { "\($0)" } ?? "never"
            say("  \(what): \(words)" + (goal.map { "   (goal: \($0))" } ?? ""))
        }
        let goal = manager == Bench.manager ? Self.goals[name] : nil
        line(
            "takeover: fault → first answer of another node", reports.compactMap(\.view.takeover), goal: goal?.takeover)
        line("outage: longest time without an answer", reports.map(\.view.outage), goal: goal?.outage)
        line("old holder without the address", reports.compactMap(\.oldLost))
        line("two nodes with the address", reports.map(\.overlap), goal: goal == nil ? nil : "0")
        let announcements = reports.map(\.announcements.count)
        say("  gratuitous ARP heard in each trial: \(announcements.min() ?? 0) to \(announcements.max() ?? 0)\n")
        return result
    }

    /// Medians in milliseconds, as the project has promised them for default settings.
    private static let goals: [String: (takeover: String, outage: String)] = [
        "kill -9 of the daemon": ("25", "25"), "kill -9 of the daemon with 20 writes/s": ("60", "60"),
        "kill -9": ("1300", "25"), "SIGSTOP of all": ("1300", "25"), "SIGSTOP of the daemon": ("250", "250"),
        "SIGTERM": ("30", "nothing lost"), "link cut": ("200", "200"), "silent partition": ("200", "200"),
        "power off": ("200", "200"),
    ]
}

extension BenchResult.Failover {
    /// A row of a table in Markdown: minimum, median and maximum in milliseconds.
    var row: String {
        func cell(_ values: [Double]) -> String {
            Distribution(values.map { .nanoseconds(Int64($0 * 1_000_000)) }).map { "\($0)" } ?? "–"
        }
        let endless = trials.count { $0.oldHolderLostAddress == nil && fault != Fault.powerOff.rawValue }
        let overlap = cell(trials.map(\.overlap)) + (endless > 0 ? ", \(endless) without end" : "")
        let lost = trials.map(\.lost).sorted()
        let cells = [
            fault, manager, "\(trials.count)", cell(trials.compactMap(\.takeover)), cell(trials.map(\.outage)),
            "\(lost[lost.count / 2])", overlap, cell(trials.compactMap(\.healing)),
        ]
        return "| " + cells.joined(separator: " | ") + " |"
    }
}

extension BenchResult.Failover.Trial {
    init(_ report: FaultReport) {
        self.init(
            from: report.oldHolder, to: report.newHolder, takeover: report.view.takeover?.inBenchMilliseconds,
            outage: report.view.outage.inBenchMilliseconds, lost: report.view.lost,
            overlap: report.overlap.inBenchMilliseconds, oldHolderLostAddress: report.oldLost?.inBenchMilliseconds,
            announcements: report.announcements.count, stall: report.view.stall.inBenchMilliseconds)
    }
}
