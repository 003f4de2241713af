import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("The numbers of a fail-over")
    struct FailoverNumbersTests {
        private struct Status: Decodable {
            struct Failover: Decodable {
                struct Takeovers: Decodable {
                    struct Last: Decodable {
                        var term: UInt64
                        var reason: String
                        var total_ms: Double
                        var phases_ms: [String: Double]
                    }
                    var count: Int
                    var last: Last?
                }
                var lease_remaining_ms: Double?
                var leases_lost: [String: Int]
                var elections: [String: Int]
                var unreadable_streams: Int
                var takeovers: Takeovers
            }
            var term: UInt64
            var failover: Failover
        }

        private static func numbers(_ node: LabNode) async throws -> (term: UInt64, failover: Status.Failover) {
            let response = try await node.request("GET", "/status")
            let status = try JSONDecoder().decode(Status.self, from: Data(response.body))
            return (status.term, status.failover)
        }

        private static func metric(_ node: LabNode, _ name: String) async throws -> Double? {
            let text = try await node.request("GET", "/metrics").text
            let line = text.split(separator: "\n").first { $0.hasPrefix("dqlite_vip_\(name) ") }
            return line?.split(separator: " ").last.flatMap { Double($0) }
        }

        /// The lines of the log that tell of a take-over.
        private static func lines(_ node: LabNode) -> [Substring] {
            node.logText.split(separator: "\n").filter { $0.contains("took over the virtual IP") }
        }

        @Test(
            "the new holder tells in one line and in its status where the time went",
            arguments: [(Fault.kill9Daemon, "dead"), (.linkCut, "silent")])
        func split(fault: Fault, reason: String) async throws {
            try await withCluster { lab, formation in
                // Set by request, long after the election: no take-over.
                let (_, before) = try await Self.numbers(lab[formation.leader])
                #expect(before.takeovers.count == 0 && before.takeovers.last == nil)
                #expect(try #require(before.lease_remaining_ms) > 0 && before.unreadable_streams == 0)
                #expect(Self.lines(lab[formation.leader]).isEmpty)

                let report = try await lab.measure(fault, observe: .milliseconds(500))
                let new = try #require(report.newHolder)
                let gained = try #require(report.newGained)
                let (term, failover) = try await Self.numbers(lab[new])
                let last = try #require(failover.takeovers.last)
                print("\(fault.rawValue): \(last); seen from outside \(gained)")
                #expect(failover.takeovers.count == 1 && last.term == term)
                #expect(last.reason == reason)
                #expect(Set(last.phases_ms.keys) == ["detection", "election", "lease", "address", "announce"])
                #expect(abs(last.phases_ms.values.reduce(0, +) - last.total_ms) < 1)
                #expect((failover.elections[reason] ?? 0) >= 1)
                #expect(try #require(failover.lease_remaining_ms) > 0)
                // What the node says of itself is what the kernels say. A killed process takes its time to end, and a heartbeat
                // may be up to 30 ms older than the cut.
                let told = last.total_ms - (last.phases_ms["announce"] ?? 0)
                let seen = Double(gained.inNanoseconds) / 1e6
                #expect(told < seen + 35 && told > seen - 150, "told \(told) ms, seen \(seen) ms")
                if reason == "silent" { #expect(try #require(last.phases_ms["detection"]) >= 120) }

                let line = try #require(Self.lines(lab[new]).first)
                #expect(Self.lines(lab[new]).count == 1)
                for key in ["total", "detection", "election", "lease", "address", "announce"] {
                    #expect(line.contains(" takeover.\(key).ms="), "\(line)")
                }
                #expect(line.contains("takeover.reason=\(reason)") && line.contains("raft.term=\(term)"))
                #expect(try await Self.metric(lab[new], "takeovers_total") == 1)
                #expect(try await Self.metric(lab[new], "last_takeover_seconds{phase=\"detection\"}") != nil)

                try await lab.recover(from: fault, onNode: report.oldHolder)
                _ = try await lab.formation(within: .seconds(20))
                if fault == .linkCut {
                    let (_, old) = try await Self.numbers(lab[report.oldHolder])
                    #expect(old.leases_lost.values.reduce(0, +) == 1 && old.lease_remaining_ms == nil)
                    #expect(old.leases_lost["expired"] == 1)
                }
            }
        }

        @Test("a lead that is handed over is no loss by accident, and the successor says that it was asked")
        func handOver() async throws {
            try await withCluster { lab, formation in
                let process = try #require(lab[formation.leader].process)
                process.signal(SIGTERM)
                let new = try await lab.holder(otherThan: formation.leader)
                try await eventually("line of the take-over", within: .seconds(2)) { !Self.lines(lab[new]).isEmpty }
                let (_, failover) = try await Self.numbers(lab[new])
                #expect(failover.takeovers.last?.reason == "transferred" && failover.elections["silent"] == 0)
            }
        }
    }
}
