import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Timing")
    struct TimingTests {
        private static func options(_ count: Int, _ timing: String) -> StartOptions {
            var options = StartOptions.identical(expect: count)
            options.further = ["--timing", timing]
            return options
        }

        /// Waits until a node warns of two timings, and both are named with their nodes.
        private static func warned(_ lab: LabCluster, _ number: Int, of texts: [String]) async throws {
            try await eventually(
                "warning of node \(number)", within: .seconds(10), state: { lab[number].logTail(lines: 5) }
            ) {
                try await lab[number].status().warnings.contains { warning in
                    texts.allSatisfy(warning.contains) && warning.contains("with the same --timing")
                }
            }
        }

        @Test("nodes with different timings found no cluster, and both name both")
        func founding() async throws {
            try await withLab(nodes: 2) { lab in
                try lab[1].start(Self.options(2, "lan"))
                try lab[2].start(Self.options(2, "fast"))
                let texts = [
                    "\(lab[1].clusterAddress) runs with the timing lan (latency=30ms,lease=180ms,silence=150ms)",
                    "\(lab[2].clusterAddress) with fast (latency=10ms,lease=100ms,silence=80ms)",
                ]
                for number in 1...2 {
                    try await Self.warned(lab, number, of: texts)
                    #expect(try await lab[number].status().state == "forming")
                }
            }
        }

        @Test("a member that comes back with another timing is kept out; with the old one it is back")
        func member() async throws {
            try await withCluster(further: ["--timing", "latency=30ms,lease=180ms,silence=150ms"]) { lab, formation in
                let other = formation.leader % 3 + 1
                try await lab[other].kill9()
                try lab[other].start(Self.options(3, "latency=30ms,lease=180ms,silence=140ms"))
                for number in [other, formation.leader] {
                    try await Self.warned(lab, number, of: ["silence=140ms", "lan (", "\(lab[other].clusterAddress)"])
                }
                #expect(try await lab[other].status().leaderID == 0)
                try await lab.held(by: formation.leader)
                try await lab[other].kill9()
                try lab[other].start(Self.options(3, "lan"))
                let again = try await lab.formation(within: .seconds(20))
                #expect(again.leader == formation.leader && again.members == formation.members)
            }
        }

        @Test("a shorter lease begins only when the promises of the longer one are over")
        func shorter() async throws {
            try await withLab(nodes: 1) { lab in
                try lab[1].start(Self.options(1, "wan"))
                _ = try await lab.formation(within: .seconds(20))
                try await lab[1].kill9()
                let start = BootClock.now
                try lab[1].start(Self.options(1, "lan"))
                _ = try await lab.formation(within: .seconds(20))
                #expect(start.duration(to: BootClock.now) > .milliseconds(750))
                #expect(lab[1].logText.contains("until earlier promises are over"))
            }
        }

        @Test("each profile forms a cluster, holds the address and moves it", arguments: ["fast", "wan"])
        func profile(name: String) async throws {
            try await withCluster(further: ["--timing", name]) { lab, _ in
                let report = try await lab.measure(.kill9Daemon, observe: .milliseconds(500))
                #expect(report.newHolder != nil && report.newHolder != report.oldHolder)
                #expect(report.overlap <= .milliseconds(1))
            }
        }
    }
}
