import Lab
import Platform
import Testing

extension EndToEnd {
    /// rqlite's end-to-end cases of automatic clustering, and harder ones.
    @Suite("Bootstrap")
    struct BootstrapTests {
        @Test("TestBootstrapping3To4Nodes: three nodes form a cluster, a fourth with the same options joins")
        func threeToFour() async throws {
            try await withLab(nodes: 4) { lab in
                let options = StartOptions.identical(expect: 3)
                for number in 1...3 { try lab[number].start(options) }
                let three = try await lab.formation(of: [1, 2, 3])
                #expect(three.voters == 3)
                try lab[4].start(options)
                let four = try await lab.formation()
                #expect(four.clusterID == three.clusterID)
                // Voters are three, the larger of 3 and --bootstrap-expect: the fourth stands by.
                #expect(four.member(lab[4])?.role == "stand-by")
                #expect(four.voters == 3)
            }
        }

        @Test("TestBootstrapping5Nodes: five nodes form one cluster of five voters")
        func five() async throws {
            try await withLab(nodes: 5) { lab in
                try lab.startAll(.identical(expect: 5))
                let formation = try await lab.formation(within: .seconds(20))
                #expect(formation.voters == 5)
                #expect(formation.addresses == lab.clusterAddresses)
            }
        }

        @Test(
            "TestBootstrappingRestart: all stopped in order and started with the same options, the cluster is the same")
        func restart() async throws {
            try await withLab(nodes: 3) { lab in
                try lab.startAll(.identical(expect: 3))
                let before = try await lab.formation()
                try await lab.setVIP(throughNode: 3)
                for node in lab.nodes {
                    #expect(try await node.terminate(within: .seconds(6)).isSuccess)
                    #expect(!(try lab.network.addresses(ofNode: node.number)).contains(lab.vipText))
                }
                for node in lab.nodes { try node.startAgain() }
                let after = try await lab.formation()
                #expect(after.clusterID == before.clusterID)
                #expect(after.members == before.members)
                try await lab.held(by: after.leader)
            }
        }

        @Test("three nodes started up to 3 s apart always end in exactly one cluster: 20 rounds")
        func randomDelays() async throws {
            // Several laboratories side by side: the rounds wait most of the time.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<4 {
                    group.addTask {
                        for round in 0..<5 { try await oneRound("lane \(lane), round \(round)") }
                    }
                }
                try await group.waitForAll()
            }
        }

        private func oneRound(_ name: String) async throws {
            let delays = (0..<3).map { _ in Int.random(in: 0...3000) }
            do {
                try await withLab(nodes: 3) { lab in
                    let options = StartOptions.identical(expect: 3)
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for (node, delay) in zip(lab.nodes, delays) {
                            group.addTask {
                                // The delay is the very thing that is tried.
                                try await Task.sleep(for: .milliseconds(delay))
                                try node.start(options)
                            }
                        }
                        try await group.waitForAll()
                    }
                    let formation = try await lab.formation(within: .seconds(15))
                    #expect(formation.voters == 3, "\(name): \(delays)")
                    #expect(formation.addresses == lab.clusterAddresses, "\(name): \(delays)")
                }
            } catch {
                throw LabError("\(name), delays \(delays) ms: \(error)")
            }
        }

        @Test("a node that expects one founder, and is told of itself alone, founds a cluster of one")
        func oneOfOne() async throws {
            try await withLab(nodes: 1) { lab in
                try lab.startAll(.identical(expect: 1))
                #expect(try await lab.formation(within: .seconds(5)).voters == 1)
            }
        }

        @Test("two of three expected founders wait, take no configuration, and go on when the third comes")
        func twoOfThree() async throws {
            try await withLab(nodes: 3) { lab in
                let options = StartOptions.identical(expect: 3)
                try lab[1].start(options)
                try lab[2].start(options)
                // Two are fewer than expected: they must wait, visibly, and found nothing.
                try await eventually("waiting founders", within: .seconds(5)) {
                    for number in 1...2 {
                        let status = try await lab[number].status()
                        guard status.state == "forming", status.leaderID == 0 else { return false }
                    }
                    return true
                }
                let refused = try await lab[1].setVIP(lab.vipText)
                #expect(refused.status == 503)
                #expect(!refused.message.isEmpty)
                try lab[3].start(options)
                _ = try await lab.formation()
            }
        }

        @Test("nodes that disagree on --bootstrap-expect do not form a cluster, and say why")
        func disagreement() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions.identical(expect: 2)
                try lab[1].start(options)
                options.bootstrapExpect = 3
                try lab[2].start(options)
                try await eventually("message that names both values", within: .seconds(10)) {
                    let text = lab[1].logText + lab[2].logText
                    return text.contains("expect") && text.contains("2") && text.contains("3")
                        && (text.contains("warning") || text.contains("error") || text.contains("WARN"))
                }
                for node in lab.nodes { #expect(try await node.status().state != "formed") }
            }
        }
    }
}
