import Lab
import Platform
import Testing

extension EndToEnd {
    /// A short selection of what `make nemesis` does.
    @Suite("Nemesis")
    struct NemesisTests {
        private struct Trouble {
            var kind: NemesisCase
            /// The first seed is taken whose plan is so long, in milliseconds.
            var length = 0...2000
            var writes: NemesisRound.Writes?

            var seed: UInt64? {
                (1...10_000).first { seed in
                    let length = kind.plan(holder: 1, seed: seed).length
                    return length >= .milliseconds(self.length.lowerBound)
                        && length <= .milliseconds(self.length.upperBound)
                }
            }
        }

        /// Breaks one cluster in several ways, one after the other, and expects no finding.
        private func expectNothing(of troubles: [Trouble], _ family: IPAddress.Family = .v4) async throws {
            let setup = try #require(troubles.first?.kind.setup(family))
            let nemesis = try NemesisLab(setup)
            defer { nemesis.close() }
            try await nemesis.start()
            let runner = NemesisRunner(nemesis)
            for trouble in troubles {
                let seed = try #require(trouble.seed, "no plan of \(trouble.kind) is so short")
                let round = try await runner.run(trouble.kind, seed: seed, writes: trouble.writes)
                for finding in round.findings {
                    Issue.record("\(trouble.kind.rawValue), seed \(seed): \(finding); \(round.steps.map(\.action))")
                }
                // The laboratory is whole only after a round without findings.
                if !round.findings.isEmpty {
                    for node in nemesis.lab.nodes { print(node.logTail(lines: 20)) }
                    return
                }
                #expect(trouble.writes == nil || round.acknowledged > 10)
            }
        }

        @Test("killed, in part and whole, and under writes: never two holders, nothing acknowledged is lost")
        func killed() async throws {
            try await expectNothing(of: [
                Trouble(kind: .killDaemon, writes: .set), Trouble(kind: .killGuard),
                Trouble(kind: .killBoth, writes: .register), Trouble(kind: .twoFaults),
            ])
        }

        @Test("stopped and continued: who wakes up finds that it has the address no more")
        func stopped() async throws {
            try await expectNothing(of: [
                // Long enough that another node has it, and so short that nobody has.
                Trouble(kind: .stopDaemon, length: 1000...2000), Trouble(kind: .stopGuard, length: 1000...2000),
                Trouble(kind: .debugger, length: 700...1000), Trouble(kind: .stopBoth, length: 700...1000),
                Trouble(kind: .stopBoth, length: 2000...3000),
            ])
        }

        @Test("cut off in every direction: the holder lets go before another one has the address")
        func cut() async throws {
            let long = 1300...1800
            try await expectNothing(of: [
                Trouble(kind: .linkCut, length: long, writes: .register), Trouble(kind: .linkCut, length: 700...900),
                Trouble(kind: .silentPartition, length: long), Trouble(kind: .peerPartition, length: long),
                Trouble(kind: .deafPeers, length: long), Trouble(kind: .deafHolder, length: long),
                Trouble(kind: .flappingLink, length: 1000...3000), Trouble(kind: .followerCut),
            ])
        }

        @Test("five nodes: a leader with the minority, and a ring of majorities")
        func fiveNodes() async throws {
            try await expectNothing(of: [
                Trouble(kind: .minority, length: 1300...1800, writes: .set), Trouble(kind: .ringOfMajorities),
            ])
        }

        @Test("an IPv6 address: killed, killed whole, and cut off, it is never on two nodes")
        func ipv6() async throws {
            try await expectNothing(
                of: [
                    Trouble(kind: .killDaemon), Trouble(kind: .killBoth, length: 700...1500),
                    Trouble(kind: .linkCut, length: 700...900),
                ], .v6)
        }

        @Test("planned: hand-overs overlap for 100 ms at most, and a deleted address comes back where it was")
        func planned() async throws {
            try await expectNothing(of: [Trouble(kind: .rollingRestart), Trouble(kind: .deletedAddress)])
        }

        @Test("the wall clock steps by an hour, and nothing that matters looks at it")
        func clock() async throws {
            try await expectNothing(of: [
                Trouble(kind: .clockForward, length: 3000...3500),
                Trouble(kind: .clockBack, length: 3000...3500, writes: .register),
            ])
        }
    }
}
