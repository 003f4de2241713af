import ArgumentParser
import FoundationEssentials
import Lab
import Platform
import Synchronization

/// Breaks clusters in every way there is, and judges: never two holders, nothing acknowledged lost, well again soon.
struct NemesisCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nemesis",
        abstract: "Break clusters in many ways, audit each round, and write a report.",
        discussion: "Ends with status 1 when a round had findings.")

    @Option(name: .customLong("case"), help: "Only these cases, separated by commas; --list names them.")
    var cases: String?

    @Option(help: "Rounds of each case. Every second one is with writes.")
    var rounds = 10

    @Option(help: "The first seed; each round has the next one.")
    var seed: UInt64 = 1

    @Option(help: "Write the report to this file, as Markdown, and logs of rounds with findings to FILE.logs.")
    var report: String?

    @Flag(help: "Writes in every round.")
    var writes = false

    @Flag(help: "Writes in no round.")
    var noWrites = false

    @Flag(name: .customLong("ipv6"), help: "The VIP is an IPv6 address.")
    var isIPv6 = false

    @Flag(help: "Name the cases and what they do, and do nothing.")
    var list = false

    func validate() throws {
        guard rounds > 0 else { throw ValidationError("--rounds must be 1 or more") }
        if writes && noWrites { throw ValidationError("--writes and --no-writes exclude each other") }
        _ = try chosen()
    }

    private func chosen() throws -> [NemesisCase] {
        guard let cases else { return NemesisCase.allCases }
        return try cases.split(separator: ",").map { name in
            guard let found = NemesisCase(rawValue: String(name)) else {
                throw ValidationError("\"\(name)\" is no case; known: \(NemesisCase.allCases.map(\.rawValue))")
            }
            return found
        }
    }

    func run() async throws {
        if list {
            for trouble in NemesisCase.allCases { say("\(trouble.rawValue): \(trouble.summary)") }
            return
        }
        let present = Present()
        try Interruption.endsProcess { present.close() }
        var result = NemesisReport(seed: seed, binary: try Product.locate(), family: isIPv6 ? .v6 : .v4)
        for trouble in try chosen() {
            do {
                try await run(trouble, present, &result)
            } catch {
                present.close()
                throw error
            }
            present.close()
            // What is known stays known, whatever comes.
            try write(result)
        }
        say(
            "\(result.rounds.count) rounds, \(result.failures.count) with findings"
                + (report.map { "; see \($0)" } ?? ""))
        if !result.failures.isEmpty { throw ExitCode.failure }
    }

    private func write(_ result: NemesisReport) throws {
        if let report { try DurableFile.write(Array(result.page.utf8), to: report, mode: 0o644) }
    }

    private func run(_ trouble: NemesisCase, _ present: Present, _ result: inout NemesisReport) async throws {
        say("\(trouble.rawValue): \(trouble.summary)")
        for number in 0..<rounds {
            let seed = seed &+ UInt64(number)
            let withWrites = writes || (!noWrites && number % 2 == 1) || trouble.needsWrites
            let runner = NemesisRunner(try await present.lab(for: trouble.setup(isIPv6 ? .v6 : .v4)))
            let round = try await runner.run(
                trouble, seed: seed,
                writes: !withWrites ? nil : trouble == .fullDisk ? .register : .init(seed: seed))
            result.rounds.append(round)
            describe(round)
            // What is broken now says nothing about the next round.
            if !round.findings.isEmpty {
                try keepLogs(of: runner.nemesis.lab, round)
                present.close()
            }
        }
    }

    /// Beside the report, in a directory of its name with ".logs".
    private func keepLogs(of lab: LabCluster, _ round: NemesisRound) throws {
        guard let report else { return }
        try ToolCommand.check(["mkdir", "-p", "\(report).logs"])
        for node in lab.nodes {
            let name = "\(round.trouble.rawValue)-\(round.seed)-node\(node.number).log"
            try DurableFile.write(Array(node.logText.utf8), to: "\(report).logs/\(name)", mode: 0o644)
        }
    }

    private func describe(_ round: NemesisRound) {
        func words(_ name: String, _ time: Duration?) -> String { time.map { ", \(name) \($0.inWords)" } ?? "" }
        remark(
            "  seed \(round.seed): node \(round.holder) → \(round.newHolder.map { "\($0)" } ?? "?")"
                + words("takeover", round.takeover) + words("outage", round.outage)
                + words("on healing", round.outageOnHealing) + words("nobody", round.vacancy)
                + words("two holders", round.overlap)
                + (round.connectionsLost.map { ", connections lost \($0)" } ?? "")
                + (round.plannedOverlap > .zero ? words("planned", round.plannedOverlap) : "")
                + (round.unheardOverlap > .zero ? words("unheard", round.unheardOverlap) : "")
                + (round.severedOverlap > .zero ? words("severed", round.severedOverlap) : "")
                + words("well again after", round.recovery)
                + (round.writes.map { ", \(round.acknowledged) writes to a \($0), \(round.unknown) unknown" } ?? "")
                + (round.isDisturbed ? ", disturbed: the probe stood still for \(round.stall.inWords)" : ""))
        for line in round.remarks { remark("    \(line)") }
        for finding in round.findings { remark("    ✗ \(finding)") }
        if !round.findings.isEmpty {
            remark("    \(round.story)")
        }
    }
}

/// The laboratory that is in use, for the rounds and for whoever interrupts them.
private final class Present: Sendable {
    private let nemesis = Mutex<NemesisLab?>(nil)

    /// The one there is, or a new one.
    func lab(for setup: NemesisSetup) async throws -> NemesisLab {
        if let ready = nemesis.withLock({ $0 }), ready.setup == setup { return ready }
        close()
        let made = try NemesisLab(setup)
        nemesis.withLock { $0 = made }
        try await made.start()
        return made
    }

    func close() {
        nemesis.withLock { nemesis in
            nemesis?.close()
            nemesis = nil
        }
    }
}
