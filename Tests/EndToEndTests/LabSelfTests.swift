import Glibc
import Platform
import Testing

@testable import Lab

extension EndToEnd {
    /// The laboratory with a stand-in for the product: ip(8) and our own ARP move the address.
    @Suite("Laboratory: a network of its own")
    struct LabSelfTests {
        /// Any program that exists does where nothing of the product is started.
        private func laboratory(_ nodes: Int) throws -> LabCluster {
            try LabCluster(nodes: nodes, binary: "/bin/true")
        }

        private func move(_ lab: LabCluster, _ verb: String, node: Int) throws {
            try ToolCommand.check([
                "ip", "-n", lab[node].namespace.name, "address", verb, lab.vipText, "dev", Network.interface,
            ])
        }

        @Test("witness, probe and ARP capture see an address that moves")
        func movedAddress() async throws {
            let lab = try laboratory(3)
            defer { lab.close() }
            try move(lab, "add", node: 1)
            #expect(try await lab.holder() == 1)
            let prober = try lab.startProbe()
            try await eventually("answers", within: .seconds(3)) { prober.record.replies.count > 50 }
            #expect(prober.lastReply?.node == 1)

            let time = BootClock.now
            try move(lab, "add", node: 2)
            try lab.network.announce(lab.vip, fromNode: 2)
            try await eventually("answers of node 2", within: .seconds(3)) { prober.lastReply?.node == 2 }
            try move(lab, "delete", node: 1)
            #expect(try await lab.holder(otherThan: 1) == 2)
            let end = BootClock.now

            let view = FailoverView(prober.record, fault: time, end: end)
            #expect(view.before == 1)
            #expect(view.after == 2)
            let timeline = lab.witness.timeline
            let gain = try #require(timeline.gain(of: lab.vip, by: 2, after: time))
            let loss = try #require(timeline.loss(of: lab.vip, by: 1, after: time))
            #expect(timeline.overlap(of: lab.vip, from: time, to: end) == gain.duration(to: loss))
            let heard = lab.arp.announcements(of: lab.vip, since: time)
            #expect(heard.map(\.frame.operation) == [.request, .reply])
            let hardware = try lab.network.hardwareAddress(ofNode: 2)
            #expect(heard.allSatisfy { $0.frame.senderHardware == hardware })
        }

        @Test("the same of an IPv6 address: witness and probe see who has it and who answers")
        func movedAddress6() async throws {
            let lab = try LabCluster(nodes: 2, binary: "/bin/true", family: .v6)
            defer { lab.close() }
            func change(_ verb: String, node: Int) throws {
                try ToolCommand.check([
                    "ip", "-n", lab[node].namespace.name, "address", verb, lab.vipText, "dev", Network.interface,
                    "nodad",
                ])
            }
            try change("add", node: 1)
            #expect(try await lab.holder() == 1)
            #expect(try lab.network.foreignAddresses(ofNode: 1) == [lab.vipText])
            let prober = try lab.startProbe()
            try await eventually("answers of node 1", within: .seconds(3)) { prober.lastReply?.node == 1 }
            try change("delete", node: 1)
            try change("add", node: 2)
            #expect(try await lab.holder(otherThan: 1) == 2)
            // Nobody announced it: the client finds out by asking again.
            try ToolCommand.check(["ip", "-n", lab.network.client.name, "neighbour", "flush", "all"])
            try await eventually("answers of node 2", within: .seconds(5)) { prober.lastReply?.node == 2 }
            try lab.network.dropForeignAddresses(ofNode: 2)
            try await eventually("nobody", within: .seconds(3)) { lab.witness.holders(of: lab.vip).isEmpty }
        }

        @Test("without an announcement the client stays with the node that it knows")
        func unannounced() async throws {
            let lab = try laboratory(2)
            defer { lab.close() }
            try move(lab, "add", node: 1)
            let prober = try lab.startProbe()
            try await eventually("answers", within: .seconds(3)) { prober.record.replies.count > 50 }
            try move(lab, "add", node: 2)
            let seen = prober.record.replies.count
            try await eventually("200 more answers", within: .seconds(3)) { prober.record.replies.count > seen + 200 }
            #expect(prober.lastReply?.node == 1)
            #expect(lab.witness.timeline.holders(of: lab.vip) == [1, 2])
        }

        @Test(
            "a cut link and a silent partition stop the answers, and healing brings them back",
            arguments: [true, false])
        func links(cut: Bool) async throws {
            let lab = try laboratory(2)
            defer { lab.close() }
            try move(lab, "add", node: 1)
            let prober = try lab.startProbe()
            try await eventually("answers", within: .seconds(3)) { prober.record.replies.count > 50 }
            func set(_ works: Bool) throws {
                if cut {
                    try lab.network.setLink(ofNode: 1, up: works)
                } else {
                    try lab.network.setForwarding(ofNode: 1, works)
                }
            }
            let time = BootClock.now
            try set(false)
            let carrier = try ToolCommand.check(
                ["ip", "-n", lab[1].namespace.name, "-o", "link", "show", "dev", Network.interface])
            #expect(carrier.contains("NO-CARRIER") == cut)
            try await eventually("300 ms of silence", within: .seconds(3)) {
                (prober.lastReply?.receivedAt ?? time).duration(to: BootClock.now) > .milliseconds(300)
            }
            let healed = BootClock.now
            try set(true)
            try await eventually("answers after healing", within: .seconds(5)) {
                (prober.lastReply?.sentAt ?? time) > healed
            }
            let view = FailoverView(prober.record, fault: time, end: BootClock.now)
            #expect(view.outage > .milliseconds(280))
            #expect(view.takeover == nil)
        }

        @Test("closing ends what was started, and leaves no namespace and no file")
        func closing() async throws {
            let lab = try laboratory(1)
            let network = lab.network
            let process = try ChildProcess(
                ["sh", "-c", "trap '' TERM; sleep 300 & sleep 300"], in: lab[1].namespace, log: lab[1].log)
            try await eventually("shell and its child", within: .seconds(3)) {
                lab[1].namespace.processes().count >= 2
            }
            lab.close()
            #expect(try await process.exit(within: .seconds(2)) == .signalled(SIGKILL))
            #expect(!Namespace.existing().contains { $0.name.hasPrefix(network.prefix) })
            #expect(access(network.directory, F_OK) != 0)
        }

        @Test("left-overs of dead processes are found and removed, those of living ones are left alone")
        func leftovers() throws {
            let lab = try laboratory(1)
            defer { lab.close() }
            // A number above kernel.pid_max belongs to no process.
            let dead = try Namespace.create("\(Leftovers.namePrefix)99999999-abc-s1")
            defer { dead.delete() }
            let removed = Leftovers.clean(sparingKept: true)
            #expect(removed.contains("\(Leftovers.namePrefix)99999999-abc"))
            #expect(!removed.contains(lab.network.prefix))
            #expect(!Namespace.existing().contains(dead))
            #expect(Namespace.existing().contains(lab[1].namespace))
        }

        @Test("what a process costs is measured")
        func costs() async throws {
            let process = try ChildProcess(["sh", "-c", "while :; do :; done"], log: "/dev/null")
            defer { process.signal(SIGKILL) }
            try await eventually("50 ms of CPU time", within: .seconds(5)) {
                (ProcessTable.processorTime(of: process.pid) ?? .zero) > .milliseconds(50)
            }
            let memory = try #require(ProcessTable.memory(of: process.pid))
            #expect(memory.resident > 100 && memory.proportional <= memory.resident)
            #expect(memory.anonymous > 0 && memory.anonymous <= memory.proportional)
            process.signal(SIGKILL)
            _ = try await process.exit(within: .seconds(2))
            #expect(ProcessTable.processorTime(of: process.pid) == nil)
            #expect(ProcessTable.memory(of: process.pid) == nil)
        }
    }
}
