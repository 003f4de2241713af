import Lab
import Platform
import Testing

extension EndToEnd {
    /// A short stretch of what `make soak` does.
    @Suite("Random walk")
    struct WalkTests {
        @Test("30 steps in the life of five nodes, each audited")
        func walk() async throws {
            let walk = try Walk(nodes: 5, seed: 1)
            defer { walk.close() }
            let stages = try await walk.run(steps: 30) { stage in
                print("\(stage.number) \(stage.step): \(stage.recovery.map { "\($0.inMilliseconds) ms" } ?? "-")")
            }
            for stage in stages {
                for finding in stage.findings { Issue.record("step \(stage.number), \(stage.step): \(finding)") }
            }
            if stages.contains(where: { !$0.findings.isEmpty }) {
                for node in walk.lab.nodes { print(node.logTail(lines: 30)) }
            }
            #expect(stages.count >= 30)
        }

        @Test("the walk never breaks more than the cluster survives, comes to every step, and repeats itself")
        func plan() {
            for count in 3...7 {
                for seed in 1...50 as ClosedRange<UInt64> {
                    var (model, again) = (WalkModel(count: count, seed: seed), WalkModel(count: count, seed: seed))
                    var kinds: Set<Substring> = []
                    for _ in 0..<200 {
                        let before = model.troubled.count
                        let step = model.next()
                        #expect(step == again.next())
                        kinds.insert("\(step)".prefix(8))
                        #expect(model.troubled.count <= model.spare)
                        switch step {
                        case .wipe, .replace, .move, .flap: #expect(before < model.spare)
                        case .moveAll, .blackOut: #expect(before == 0)
                        default: break
                        }
                    }
                    #expect(kinds.count >= 9, "\(kinds)")
                    #expect(model.relief().count <= model.spare && model.present.count == count)
                }
            }
        }
    }
}
