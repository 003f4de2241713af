import Lab
import Platform
import Testing

extension EndToEnd {
    /// A short selection of what `make nemesis` does; the seeds are chosen so that the troubles are short.
    @Suite("Nemesis")
    struct NemesisTests {
        /// Breaks one cluster in several ways, one after the other, and expects no finding.
        private func expectNothing(of cases: [(NemesisCase, seed: UInt64, writes: Bool)]) async throws {
            guard let setup = cases.first?.0.setup else { return }
            let nemesis = try NemesisLab(setup)
            defer { nemesis.close() }
            try await nemesis.start()
            let runner = NemesisRunner(nemesis)
            for (trouble, seed, writes) in cases {
                let round = try await runner.run(trouble, seed: seed, withWrites: writes)
                for finding in round.findings {
                    Issue.record("\(trouble.rawValue), seed \(seed): \(finding); \(round.steps.map(\.action))")
                }
                // The laboratory is whole only after a round without findings.
                if !round.findings.isEmpty {
                    for node in nemesis.lab.nodes { print(node.logTail(lines: 20)) }
                    return
                }
                #expect(!writes || round.acknowledged > 10)
            }
        }

        @Test("killed, in part and whole, and under writes: never two holders, nothing acknowledged is lost")
        func killed() async throws {
            try await expectNothing(of: [
                (.killDaemon, 1, true), (.killGuard, 1, false), (.killBoth, 1, true), (.twoFaults, 1, false),
            ])
        }

        @Test("stopped and continued: who wakes up finds that it has the address no more")
        func stopped() async throws {
            try await expectNothing(of: [(.stopDaemon, 1, false), (.stopGuard, 1, false), (.stopBoth, 1, false)])
        }

        @Test("cut off in every direction: the holder lets go before another one has the address")
        func cut() async throws {
            try await expectNothing(of: [
                (.linkCut, 1, true), (.silentPartition, 1, false), (.peerPartition, 1, false), (.deafPeers, 1, true),
                (.deafHolder, 1, false), (.flappingLink, 1, false), (.followerCut, 1, false),
            ])
        }

        @Test("five nodes: a leader with the minority, and a ring of majorities")
        func fiveNodes() async throws {
            try await expectNothing(of: [(.minority, 1, true), (.ringOfMajorities, 1, false)])
        }

        @Test("planned: hand-overs overlap for 100 ms at most, and a deleted address comes back where it was")
        func planned() async throws {
            try await expectNothing(of: [
                (.terminate, 1, true), (.rollingRestart, 1, false), (.deletedAddress, 1, false),
            ])
        }

        @Test("the wall clock steps by an hour, and nothing that matters looks at it")
        func clock() async throws {
            try await expectNothing(of: [(.clockForward, 1, false), (.clockBack, 1, true)])
        }
    }
}
