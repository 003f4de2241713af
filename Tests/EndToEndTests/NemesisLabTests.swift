import Glibc
import Platform
import Testing

@testable import Lab

extension EndToEnd {
    /// The troubles themselves, where nothing of the product runs; and that the audits see what they are there for.
    @Suite("Nemesis: its tools")
    struct NemesisLabTests {
        @Test("a way that is closed drops what goes that way and nothing else, and all passes again afterwards")
        func ways() async throws {
            let lab = try LabCluster(nodes: 3, binary: "/bin/true")
            defer { lab.close() }
            func isHeard(fromNode node: Int) async throws -> Bool {
                let time = BootClock.now
                try lab.network.announce(lab.vip, fromNode: node)
                // The switch hands a frame on before the call that sent it returns; the capture's thread needs a moment.
                for _ in 0..<20 where lab.arp.announcements(of: lab.vip, since: time).isEmpty {
                    try await Task.sleep(for: .milliseconds(5))
                }
                return !lab.arp.announcements(of: lab.vip, since: time).isEmpty
            }
            #expect(try await isHeard(fromNode: 1))
            var rules = TrafficRules()
            rules.closed = [.init(from: 1, to: 0), .init(from: 0, to: 2)]
            try lab.network.apply(rules)
            #expect(try await !isHeard(fromNode: 1))
            #expect(try await isHeard(fromNode: 2))
            // The rest of the node's wire is open.
            #expect(try ping(lab, from: 1, to: 3, count: 1) == 1)
            try lab.network.apply(TrafficRules())
            #expect(try await isHeard(fromNode: 1))
        }

        @Test("loss hits frames between nodes, at the rate that was asked for")
        func loss() throws {
            let lab = try LabCluster(nodes: 2, binary: "/bin/true")
            defer { lab.close() }
            // Both learn where the other is before anything is lost.
            #expect(try ping(lab, from: 1, to: 2, count: 2) == 2)
            var rules = TrafficRules()
            rules.loss = 30
            try lab.network.apply(rules)
            let count = 500
            // There and back: 49 % come through.
            let received = try ping(lab, from: 1, to: 2, count: count)
            #expect(received > count * 3 / 10 && received < count * 7 / 10, "\(received) of \(count)")
            rules.loss = 0
            try lab.network.apply(rules)
            #expect(try ping(lab, from: 1, to: 2, count: 20) == 20)
        }

        private func ping(_ lab: LabCluster, from node: Int, to other: Int, count: Int) throws -> Int {
            let result = try ToolCommand.run(
                ["ping", "-q", "-n", "-c", "\(count)", "-i", "0.002", "-W", "1", "\(lab[other].address)"],
                in: lab[node].namespace)
            let words = result.output.split(separator: " ")
            let index = try #require(words.firstIndex { $0.hasPrefix("received") }, "\(result.text)")
            return try #require(Int(words[index - 1]))
        }

        @Test("a held connection lives while its address stays, is lost when that moves, and is made anew")
        func connection() async throws {
            let nemesis = try NemesisLab(NemesisSetup(nodes: 2), binary: "/bin/true")
            defer { nemesis.close() }
            let lab = nemesis.lab
            func change(_ verb: String, node: Int) throws {
                try ToolCommand.check([
                    "ip", "-n", lab[node].namespace.name, "address", verb, lab.vipText, "dev", Network.interface,
                ])
            }
            try change("add", node: 1)
            let prober = try nemesis.startHolding()
            try await eventually("connection", within: .seconds(5)) { prober.record.made.count == 1 }
            try await Task.sleep(for: .milliseconds(300))
            #expect(prober.record.lost.isEmpty)
            let time = BootClock.now
            try change("delete", node: 1)
            try change("add", node: 2)
            try lab.network.announce(lab.vip, fromNode: 2)
            try await eventually("new connection", within: .seconds(5)) { prober.record.made.count == 2 }
            #expect(prober.record.losses(since: time) == 1)
        }

        @Test("a small disk takes nothing more when it is full, has room again, and is gone with the laboratory")
        func disk() throws {
            let nemesis = try NemesisLab(NemesisSetup(nodes: 1, hasSmallDisks: true), binary: "/bin/true")
            defer { nemesis.close() }
            let directory = nemesis.lab[1].dataDirectory
            let disk = try #require(nemesis.disks.first)
            try DurableFile.write([1, 2, 3], to: "\(directory)/before", mode: 0o600)
            try disk.fill()
            #expect(throws: SystemError.self) {
                try DurableFile.write([UInt8](repeating: 1, count: 100_000), to: "\(directory)/after", mode: 0o600)
            }
            try disk.free()
            try DurableFile.write([UInt8](repeating: 1, count: 100_000), to: "\(directory)/after", mode: 0o600)
            nemesis.close()
            #expect(!ProcessTable.text("/proc/self/mounts").contains(directory))
            #expect(access(directory, F_OK) != 0)
        }

        @Test("the product's own wall clock is moved, its log shows it, and the VIP stays")
        func wallClock() async throws {
            let nemesis = try NemesisLab(NemesisSetup(nodes: 1, hasWallClocks: true))
            defer { nemesis.close() }
            try await nemesis.start()
            let node = nemesis.lab[1]
            for seconds in [Int64(3600), -3600, 0] {
                try await nemesis.perform(.wallClock(node: 1, seconds: seconds))
                let length = node.logText.utf8.count
                // Something to log: another VIP and back.
                #expect(try await node.setVIP("10.42.0.101/24").status == 202)
                #expect(try await node.setVIP(nemesis.lab.vipText).status == 202)
                _ = try await nemesis.lab.holder()
                let line = try await eventually("line in the log", within: .seconds(5)) {
                    String(decoding: node.logText.utf8.dropFirst(length), as: UTF8.self)
                        .split(separator: "\n").last { $0.contains("Address claimed") }
                }
                let logged = try #require(WallTime(String(line.prefix { $0 != " " })), "\(line)")
                let offset = logged.milliseconds - WallTime.now.milliseconds
                #expect(abs(offset - seconds * 1000) < 30_000, "\(line)")
            }
        }

        @Test("an address on two nodes for a moment is found, and told with nodes and duration")
        func plantedOverlap() async throws {
            let nemesis = try NemesisLab(NemesisSetup(nodes: 3))
            defer { nemesis.close() }
            try await nemesis.start()
            let lab = nemesis.lab
            let events = lab.witness.timeline.events.count
            async let running = NemesisRunner(nemesis).run(.deletedAddress, seed: 3)
            // The nemesis begins by deleting the address.
            try await eventually("begin of the trouble", within: .seconds(10), every: .milliseconds(2)) {
                lab.witness.timeline.events.dropFirst(events)
                    .contains { $0.change.address == lab.vip && !$0.change.isPresent }
            }
            let holder = try await lab.holder()
            let other = lab[holder % 3 + 1].namespace.name
            for verb in ["add", "delete"] {
                try ToolCommand.check(["ip", "-n", other, "address", verb, lab.vipText, "dev", Network.interface])
            }
            let round = try await running
            #expect(round.overlap > .milliseconds(1))
            let nodes = [holder, holder % 3 + 1].sorted()
            #expect(
                round.findings.contains { $0.hasPrefix("two holders: \(lab.vip) was on nodes \(nodes)") },
                "\(round.findings)")
        }

        @Test("a process that the round leaves behind is found")
        func plantedProcess() async throws {
            let nemesis = try NemesisLab(NemesisSetup(nodes: 1), binary: "/bin/true")
            defer { nemesis.close() }
            let process = try ChildProcess(["sleep", "60"], in: nemesis.lab[1].namespace, log: "/dev/null")
            try await eventually("the process in its namespace", within: .seconds(5)) {
                nemesis.lab[1].namespace.processes() == [process.pid]
            }
            let findings = NemesisRunner(nemesis).leftovers(nil)
            #expect(findings.count == 1 && findings[0].contains("\(process.pid)"), "\(findings)")
        }
    }
}
