import ArgumentParser
import Lab
import Platform
import Synchronization

/// Random walks through the life of clusters.
struct SoakCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak",
        abstract: "Walk at random through starts, stops, kills, wipes, moves and cuts, and audit after each step.",
        discussion: "Ends with status 1 at the first finding; the same seed walks the same way.")

    @Option(help: "Nodes, 3 to 7. Default: one walk with each number.")
    var nodes: Int?

    @Option(help: "Steps of each walk.")
    var steps = 200

    @Option(help: "The seed.")
    var seed: UInt64 = 1

    func validate() throws {
        if let nodes, !(3...7).contains(nodes) { throw ValidationError("--nodes must be 3 to 7") }
        guard steps > 0 else { throw ValidationError("--steps must be 1 or more") }
    }

    func run() async throws {
        let present = Mutex<Walk?>(nil)
        try Interruption.endsProcess { present.withLock { $0?.close() } }
        for count in nodes.map({ [$0] }) ?? Array(3...7) {
            say("\(count) nodes, seed \(seed)")
            let walk = try Walk(nodes: count, seed: seed)
            present.withLock { $0 = walk }
            defer {
                walk.close()
                present.withLock { $0 = nil }
            }
            let stages = try await walk.run(steps: steps) { stage in
                remark(
                    "  \(stage.number) \(stage.step)"
                        + (stage.recovery.map { ": well after \($0.inMilliseconds) ms" } ?? ""))
                for finding in stage.findings { remark("    ✗ \(finding)") }
            }
            guard stages.allSatisfy(\.findings.isEmpty) else {
                for node in walk.lab.nodes { remark(node.logTail(lines: 40)) }
                throw ExitCode.failure
            }
            let worst = stages.compactMap(\.recovery).max() ?? .zero
            say("  \(stages.count) steps, all well; the longest recovery took \(worst.inMilliseconds) ms")
        }
    }
}
