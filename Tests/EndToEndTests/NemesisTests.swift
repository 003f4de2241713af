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
            /// And of which this is true.
            var isWanted: @Sendable (NemesisPlan) -> Bool = { _ in true }

            var seed: UInt64? {
                (1...10_000).first { seed in
                    let plan = kind.plan(holder: 1, seed: seed)
                    return plan.length >= .milliseconds(length.lowerBound)
                        && plan.length <= .milliseconds(length.upperBound) && isWanted(plan)
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
                print("\(trouble.kind.rawValue): outage", round.outage?.inWords ?? "–", round.remarks)
                for finding in round.findings {
                    Issue.record("\(trouble.kind.rawValue), seed \(seed): \(finding); \(round.story)")
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

        @Test("a hand-over soon after a start: no client notices, and two that were elected are never there")
        func earlyHandOvers() async throws {
            let soon = 2000...2120
            try await expectNothing(of: [
                Trouble(kind: .earlyHandOver, length: soon) { $0.steps.contains { $0.action.isNamedFailOver } },
                Trouble(kind: .earlyHandOver, length: soon) { !$0.steps.contains { $0.action.isNamedFailOver } },
                Trouble(kind: .handOverAfterRestartOfOne, length: soon),
                Trouble(kind: .handOverAfterWipe, length: soon) { $0.steps.contains { $0.action.isNamedFailOver } },
            ])
        }

        @Test("the lead comes back within 0.3 s, and no client notices")
        func backAtOnce() async throws {
            try await expectNothing(of: [
                Trouble(kind: .failOverTwice, length: 2150...2300) {
                    $0.steps.last.map { $0.action.isNamedFailOver } ?? false
                }
            ])
        }

        @Test("killed whole while it stops: nobody takes the address before the dead kernel has let go")
        func severed() async throws {
            try await expectNothing(of: [
                Trouble(kind: .terminateThenKill, length: 800...1500) { $0.steps[1].at <= .milliseconds(5) },
                Trouble(kind: .terminateThenKill, length: 800...1500) {
                    $0.steps[1].at > .milliseconds(5) && $0.steps[1].at < .milliseconds(12)
                },
            ])
        }

        @Test("two nodes become one and one becomes two, and no client notices")
        func pairs() async throws {
            try await expectNothing(of: [
                Trouble(kind: .twoBecomeOne, length: 3000...3300) {
                    $0.steps[0].action == .remove(node: 2, through: 1)
                },
                Trouble(kind: .oneBecomesTwo, length: 2500...3000) { $0.preparation.contains(.leave(node: 2)) },
                Trouble(kind: .twoBecomeOne, length: 3000...3300) { $0.steps[0].action == .leave(node: 2) },
            ])
        }

        @Test("a leader that stood still goes on when the third is away: what was acknowledged is there, whoever dies")
        func stoodStill() async throws {
            try await expectNothing(of: [
                Trouble(kind: .stoppedFollower, writes: .register) { $0.steps.count == 6 }
            ])
        }

        @Test("clocks that run 8.3 % wrong: the holder lets go before another one has the address")
        func slewedClocks() async throws {
            try await expectNothing(of: [
                Trouble(kind: .slewedClocks, length: 1800...2500) { $0.preparation[0] == .slew(node: 1, rate: -83_000) }
            ])
        }
    }
}

extension NemesisAction {
    fileprivate var isNamedFailOver: Bool {
        switch self {
        case .failOver(.anybody, _): false
        case .failOver: true
        default: false
        }
    }
}
