import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Recovery of a cluster that has lost its majority")
    struct RecoveryTests {
        @Test("two of three lost: the third goes on alone, an old member is refused, and joins when it is emptied")
        func twoOfThreeLost() async throws {
            try await withCluster { lab, before in
                let survivor = lab[before.leader % 3 + 1]
                let old = lab[survivor.number % 3 + 1]
                let recover = ["recover", "--data-dir", "data"]

                let running = try await survivor.command(recover + ["--yes"])
                #expect(!running.isSuccess && running.error.contains("stop it first"), "\(running.text)")
                try await survivor.kill9()
                let others = try await survivor.command(recover + ["--yes"])
                #expect(others.error.contains("are running: "), "\(others.text)")
                #expect(others.error.contains("\(old.clusterAddress)"), "\(others.text)")
                for node in lab.nodes { try await node.kill9() }

                let unasked = try await survivor.command(recover)
                #expect(!unasked.isSuccess && unasked.error.contains("--yes"), "\(unasked.text)")
                for member in before.members {
                    #expect(unasked.output.contains("\(member.id)  \(member.address)  voter"), "\(unasked.text)")
                }
                #expect(unasked.output.contains(before.clusterID))
                let done = try await survivor.command(recover + ["--yes"])
                #expect(done.isSuccess, "\(done.text)")
                #expect(done.output.contains("empty its data directory"), "\(done.text)")

                try survivor.startAgain()
                let alone = try await lab.formation(of: [survivor.number])
                #expect(alone.clusterID != before.clusterID)
                #expect(alone.leaderID == before.member(survivor)?.id)
                try await lab.held(by: survivor.number)
                #expect(try await survivor.vip() == lab.vipText)

                // With its old data: it is told what to do, leads nobody, and disturbs nobody.
                try old.startAgain()
                try await eventually("warning of the old member", within: .seconds(8)) {
                    try await survivor.status().warnings.contains {
                        $0.contains("\(old.clusterAddress)") && $0.contains("empty its data directory")
                    }
                }
                try await eventually("refusal", within: .seconds(8)) {
                    old.logText.contains("recovered under the new id")
                }
                #expect(try await old.status().leaderID == 0)
                #expect(lab.witness.holders(of: lab.vip) == [survivor.number])
                #expect(try await survivor.status().term == alone.statuses[survivor.number]?.term)

                try await old.kill9()
                old.wipe()
                try old.startAgain()
                let joined = try await lab.formation(of: [survivor.number, old.number], within: .seconds(20))
                #expect(joined.clusterID == alone.clusterID)
                #expect(joined.member(old)?.id != before.member(old)?.id)
                #expect(try await old.vip() == lab.vipText)
                #expect(lab.witness.holders(of: lab.vip) == [survivor.number])
            }
        }

        @Test("a recovered node sets no address while the cluster before it is alive, which its operator could not see")
        func formerClusterLives() async throws {
            try await withCluster { lab, before in
                let lonely = lab[before.leader % 3 + 1]
                try await lonely.kill9()
                // Nobody can be asked through a cut link.
                try lab.network.setLink(ofNode: lonely.number, up: false)
                let done = try await lonely.command(["recover", "--data-dir", "data", "--yes"], within: .seconds(40))
                #expect(done.isSuccess, "\(done.text)")
                try lab.network.setLink(ofNode: lonely.number, up: true)
                let start = BootClock.now
                try lonely.startAgain()
                try await eventually("warning", within: .seconds(15)) {
                    try await lonely.status().warnings.contains { $0.contains("is alive, and") }
                }
                try await eventually("lead of the recovered node", within: .seconds(5)) {
                    try await lonely.status().isLeader
                }
                #expect(lab.witness.holders(of: lab.vip) == [before.leader])
                // When the last of it goes, the recovered node serves.
                for node in lab.nodes where node.number != lonely.number { try await node.kill9() }
                #expect(try await lab.holder(otherThan: before.leader, within: .seconds(15)) == lonely.number)
                let overlap = lab.witness.timeline.overlap(of: lab.vip, from: start, to: BootClock.now)
                #expect(overlap <= .milliseconds(1))
            }
        }

        @Test("all addresses have changed: one node is recovered under its new one, the other joins there")
        func allAddressesChanged() async throws {
            try await withCluster(of: 2) { lab, before in
                for node in lab.nodes { try await node.kill9() }
                let done = try await lab[1].command([
                    "recover", "--data-dir", "data", "--address", "10.42.0.1:8801", "--members", "10.42.0.2:8801",
                    "--yes",
                ])
                #expect(done.isSuccess, "\(done.text)")
                #expect(done.output.contains("Never start 10.42.0.2:8800 again"), "\(done.text)")
                var options = StartOptions.identical(expect: 2)
                options.join = ["10.42.0.1:8801,10.42.0.2:8801"]
                lab[2].wipe()
                for node in lab.nodes {
                    options.bindCluster = "10.42.0.\(node.number):8801"
                    try node.start(options)
                }
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID != before.clusterID)
                #expect(after.addresses == ["10.42.0.1:8801", "10.42.0.2:8801"])
                #expect(try await lab[2].vip() == lab.vipText)
                _ = try await lab.holder()
            }
        }

        @Test("on a terminal it shows what is and what would be, and asks: only the word recover changes anything")
        func prompt() async throws {
            try await withCluster(of: 1) { lab, before in
                let node = lab[1]
                let recover = ["recover", "--data-dir", "data"]
                try await node.kill9()
                func state() throws -> [Substring] {
                    try ToolCommand.check([
                        "find", node.dataDirectory, "-type", "f", "!", "-name", "lock", "-printf", "%P %i %s %T@\\n",
                    ]).split(separator: "\n").sorted()
                }
                let before = before.clusterID
                try await eventually("release of the data directory", within: .seconds(10)) {
                    try await !node.command(recover).error.contains("runs on the data directory")
                }
                let untouched = try state()
                let answers: [TerminalCommand.Answer] = [.line("no"), .line(""), .line("yes"), .end, .hangUp]
                for answer in answers {
                    let asked = try await node.command(recover, prompt: "Type the word recover", answer: answer)
                    #expect(!asked.isSuccess, "\(answer): \(asked.text)")
                    #expect(asked.output.contains("members now:\n  1  10.42.0.1:8800  voter  (this node)"))
                    #expect(asked.output.contains("members then, of the cluster "))
                    #expect(
                        answer == .hangUp || asked.output.contains("nothing has changed"), "\(answer): \(asked.text)")
                    let now = try state()
                    #expect(now == untouched, "\(answer)")
                }
                let done = try await node.command(recover, prompt: "Type the word recover", answer: .line("recover"))
                #expect(done.isSuccess && done.output.contains("Done: cluster "), "\(done.text)")
                try node.startAgain()
                let after = try await lab.formation()
                #expect(after.clusterID != before)
                #expect(try await node.vip() == lab.vipText)
            }
        }

        @Test("what is no stopped member of a formed cluster is refused, and nothing is written")
        func refused() async throws {
            try await withLab(nodes: 1) { lab in
                let nothing = try await lab[1].command(["recover", "--data-dir", "nowhere", "--yes"])
                #expect(!nothing.isSuccess && nothing.error.contains("no node in nowhere"), "\(nothing.text)")
                #expect(!Directory.exists(lab[1].directory + "/nowhere"))
                let words = try await lab[1].command(["recover", "--data-dir", "data", "--members", "a b"])
                #expect(!words.isSuccess && words.error.contains("--members"), "\(words.text)")
                // It waits for a second node that never comes.
                try lab[1].start(StartOptions.identical(expect: 2))
                try await eventually("node.json", within: .seconds(5)) {
                    Directory.exists(lab[1].dataDirectory + "/node.json")
                }
                try await lab[1].kill9()
                let unformed = try await lab[1].command(["recover", "--data-dir", "data", "--yes"])
                #expect(!unformed.isSuccess && unformed.error.contains("no formed cluster"), "\(unformed.text)")
            }
        }
    }
}
