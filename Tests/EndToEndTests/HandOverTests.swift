import API
import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    /// The planned hand-over: the successor announces first, then the holder lets go.
    @Suite("Hand-over")
    struct HandOverTests {
        /// What the client and the kernels saw of a hand-over that `body` brings about.
        private static func watch(
            _ lab: LabCluster, _ body: (_ holder: Int) async throws -> Void
        ) async throws -> (view: FailoverView, overlap: Duration, old: Int, new: Int) {
            // Not longer than until the client is answered: a node is to be able to take the lead as soon as it has started.
            let old = try await lab.settled(for: .zero)
            let prober = try lab.startProbe()
            prober.forget()
            try await eventually("answers of node \(old)", within: .seconds(5)) {
                prober.record.replies.count { $0.node == old } >= 200
            }
            let time = BootClock.now
            try await body(old)
            let new = try await lab.holder(otherThan: old)
            try await eventually("answers of node \(new) alone", within: .seconds(5)) {
                prober.lastReply?.node == new && lab.witness.holders(of: lab.vip) == [new]
            }
            let end = BootClock.now
            return (
                FailoverView(prober.record, fault: time, end: end),
                lab.witness.timeline.overlap(of: lab.vip, from: time, to: end), old, new
            )
        }

        @Test(
            "a failover by command, from whichever node, loses next to nothing, and two hold the VIP for 100 ms at most"
        )
        func command() async throws {
            try await withCluster { lab, _ in
                var outages: [Duration] = []
                var seamless = 0
                for round in 1...6 {
                    let seen = try await Self.watch(lab) { holder in
                        let asked = round.isMultiple(of: 2) ? holder : holder % 3 + 1
                        let result = try await lab[asked].command(["failover", "--json"])
                        #expect(result.status == .exited(0), "\(result.text)")
                        let report = try JSONDecoder().decode(HandOverReport.self, from: Data(result.output.utf8))
                        if report.isSeamless { seamless += 1 }
                        #expect(!report.leaderAddress.hasPrefix("\(lab[holder].address):"))
                    }
                    #expect(seen.new != seen.old && seen.overlap <= .milliseconds(100))
                    outages.append(seen.view.outage)
                    print("hand-over: outage", seen.view.outage, "lost", seen.view.lost, "two holders", seen.overlap)
                }
                // The successor writes its term to disk first: where that takes 100 ms, nobody waits for it.
                #expect(seamless >= 3 && outages.sorted()[2] < .milliseconds(50))
            }
        }

        @Test(
            "the successor can be named, and one that cannot take over is refused with the reason, nothing being changed"
        )
        func named() async throws {
            try await withCluster { lab, _ in
                let holder = try await lab.settled(for: .zero)
                let other = holder % 3 + 1
                let third = other % 3 + 1
                let result = try await lab[third].command(["failover", "--to", "\(lab[other].address)"])
                #expect(result.status == .exited(0), "\(result.text)")
                #expect(try await lab.holder(otherThan: holder) == other)

                let same = try await lab[third].command(["failover", "--to", "\(lab[other].address):8800"])
                #expect(same.status == .exited(1) && same.error.contains("leads already"), "\(same.text)")
                let nobody = try await lab[third].command(["failover", "--to", "no-such-node"])
                #expect(
                    nobody.status == .exited(1) && nobody.error.contains("no member of the cluster"), "\(nobody.text)")
                // Alive, but its daemon answers nobody.
                let daemon = try #require(lab[third].daemonPID)
                kill(daemon, SIGSTOP)
                defer { kill(daemon, SIGCONT) }
                let silent = try await lab[other].command(["failover", "--to", "\(lab[third].address)"])
                #expect(
                    silent.status == .exited(1) && silent.error.contains("no voter can take the lead now"),
                    "\(silent.text)")
                #expect(lab.witness.holders(of: lab.vip) == [other])
                kill(daemon, SIGCONT)
            }
        }

        @Test("SIGTERM hands over first")
        func terminate() async throws {
            try await withCluster { lab, _ in
                let seen = try await Self.watch(lab) { holder in
                    let status = try await lab[holder].terminate(within: .seconds(5))
                    #expect(status.isSuccess)
                    #expect(lab[holder].logText.contains("the lead was handed over"))
                }
                #expect(seen.overlap <= .milliseconds(100))
                print("SIGTERM: outage", seen.view.outage, "lost", seen.view.lost, "two holders", seen.overlap)
            }
        }

        @Test(
            "as soon as the cluster is formed it can be handed over: to the one that is asked, and by nobody's election"
        )
        func atOnce() async throws {
            for _ in 1...3 {
                try await withLab(nodes: 3) { lab in
                    try lab.startAll(.identical(expect: 3))
                    let before = try await lab.formation(every: .milliseconds(2))
                    try await lab.setVIP()
                    let time = BootClock.now
                    let result = try await lab[before.leader].command(["failover", "--json"])
                    #expect(result.status == .exited(0), "\(result.text)")
                    let report = try JSONDecoder().decode(HandOverReport.self, from: Data(result.output.utf8))
                    let new = try await lab.holder(otherThan: before.leader)
                    #expect(report.leaderAddress.hasPrefix("\(lab[new].address):"))
                    let gap = lab.witness.timeline.vacancy(of: lab.vip, from: time, to: BootClock.now)
                    print(
                        "hand-over right after formation: took", time.duration(to: BootClock.now), "nobody held for",
                        gap)
                    #expect(gap < .milliseconds(100))
                    try await eventually("line of the take-over", within: .seconds(2)) {
                        lab[new].logText.contains("takeover.reason=transferred")
                    }
                }
            }
        }

        @Test(
            "a voter that was restarted a moment ago takes the lead, after what it had promised, and the others leave it alone"
        )
        func restarted() async throws {
            try await withCluster { lab, before in
                let other = before.leader % 3 + 1
                _ = try await lab.settled(for: .zero)
                try await lab[other].kill9()
                try lab[other].startAgain()
                try await eventually("port of node \(other)", within: .seconds(5)) {
                    (try? await lab[other].status().isFormed) == true
                }
                let time = BootClock.now
                let result = try await lab[before.leader].command(["failover", "--to", "\(lab[other].address)"])
                #expect(result.status == .exited(0), "\(result.text)")
                #expect(try await lab.holder(otherThan: before.leader) == other)
                let gap = lab.witness.timeline.vacancy(of: lab.vip, from: time, to: BootClock.now)
                print("hand-over to one that was restarted: nobody held for", gap)
                #expect(gap < .milliseconds(100))
            }
        }

        @Test("a node that is alone has nobody to hand over to, and says so")
        func alone() async throws {
            try await withCluster(of: 1) { lab, _ in
                let result = try await lab[1].command(["failover"])
                #expect(result.status == .exited(1) && result.error.contains("the only voter"), "\(result.text)")
                #expect(lab.witness.holders(of: lab.vip) == [1])
            }
        }
    }
}
