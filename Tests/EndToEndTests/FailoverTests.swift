import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Fail-over")
    struct FailoverTests {
        /// By when the broken node must be without the address.
        private func bound(_ fault: Fault) -> Duration {
            switch fault {
            // The guard acts.
            case .kill9Daemon: .milliseconds(50)
            case .stopDaemon: .milliseconds(300)
            case .terminate: .milliseconds(500)
            // Nobody is left but the kernel: 1 s after the last renewal, to 0.1 s. Its worker is scheduled like any
            // other thread, so that a busy machine takes longer.
            case .kill9, .kill9Guard, .stopAll, .powerOff: .milliseconds(2000)
            // The lease ends: 175 ms after the last heartbeat that was acknowledged.
            case .linkCut, .silentPartition: .milliseconds(300)
            }
        }

        @Test(
            "the VIP answers from another node, and the old one has it no more",
            arguments: [Fault.kill9, .terminate, .stopDaemon, .stopAll, .linkCut, .silentPartition, .powerOff])
        func takeover(fault: Fault) async throws {
            try await withCluster { lab, formation in
                let report = try await lab.measure(fault, observe: .milliseconds(1500))
                let takeover = try #require(report.view.takeover, "nobody took the VIP over")
                #expect(takeover < .seconds(3))
                #expect(report.view.after == report.newHolder)
                #expect(report.newHolder != report.oldHolder)
                let lost = try #require(report.oldLost, "node \(report.oldHolder) kept the address")
                #expect(lost < bound(fault))
                // In a planned hand-over both know of each other; else never two.
                #expect(report.overlap <= (fault == .terminate ? .milliseconds(100) : .milliseconds(1)))
                #expect(lab.witness.holders(of: lab.vip) == [report.newHolder ?? 0])
                // The client learns of it by ARP, in both forms.
                #expect(Set(report.announcements.map(\.frame.operation)) == [.request, .reply])
                let hardware = try lab.network.hardwareAddress(ofNode: #require(report.newHolder))
                #expect(report.announcements.last?.frame.senderHardware == hardware)

                try await lab.recover(from: fault, onNode: report.oldHolder)
                let again = try await lab.formation(within: .seconds(20))
                #expect(again.clusterID == formation.clusterID)
                #expect(again.members == formation.members)
                // A node that comes back takes nothing away.
                try await lab.held(by: #require(report.newHolder))
            }
        }

        @Test("a holder's packet sockets, at whose end the kernel waits, have lower descriptors than its connections")
        func descriptors() async throws {
            try await withCluster { lab, formation in
                let directory = "/proc/\(try #require(lab[formation.leader].daemonPID))"
                func inodes(_ table: String, column: Int) throws -> Set<Substring> {
                    let lines = try String(contentsOfFile: "\(directory)/net/\(table)", encoding: .utf8).split(
                        separator: "\n")
                    return Set(lines.dropFirst().map { $0.split(separator: " ")[column] })
                }
                func descriptors(_ inodes: Set<Substring>) throws -> [Int] {
                    try FileManager.default.contentsOfDirectory(atPath: "\(directory)/fd").filter { number in
                        // Some end while they are looked at.
                        let target = try? FileManager.default.destinationOfSymbolicLink(
                            atPath: "\(directory)/fd/\(number)")
                        return target.map { inodes.contains($0.dropFirst("socket:[".count).dropLast()) } ?? false
                    }.compactMap(Int.init)
                }
                // One to announce, one to listen: that one is new with each lead.
                try await eventually("the packet sockets of a holder", within: .seconds(5)) {
                    try descriptors(inodes("packet", column: 8)).count == 2
                }
                let packets = try descriptors(inodes("packet", column: 8))
                let connections = try descriptors(inodes("tcp", column: 9))
                #expect(connections.count >= 4)
                #expect(try #require(packets.max()) < #require(connections.min()))
            }
        }

        @Test("daemon and guard killed in one instant: the old kernel serves on, and no two nodes ever have the VIP")
        func killedTogether() async throws {
            try await withCluster { lab, _ in
                for _ in 1...3 {
                    let old = try await lab.settled(for: .seconds(1))
                    let prober = try lab.startProbe()
                    prober.forget()
                    try await eventually("answers of node \(old)", within: .seconds(5)) {
                        prober.record.replies.count { $0.node == old } >= 200
                    }
                    // Stopped first: else the one that dies last would see the other go, and remove the address.
                    lab[old].signalAll(SIGSTOP)
                    let time = BootClock.now
                    lab[old].signalAll(SIGKILL)
                    let new = try await lab.holder(otherThan: old)
                    try await eventually("answers of node \(new)", within: .seconds(5)) {
                        prober.lastReply?.node == new
                    }
                    let end = BootClock.now
                    let timeline = lab.witness.timeline
                    let lost = try #require(timeline.loss(of: lab.vip, by: old, after: time))
                    let gained = try #require(timeline.gain(of: lab.vip, by: new, after: time))
                    let view = FailoverView(prober.record, fault: time, end: end)
                    print(
                        "killed together: gone after", time.duration(to: lost), "taken", lost.duration(to: gained),
                        "later; the client heard nothing for", view.outage)
                    #expect(timeline.overlap(of: lab.vip, from: time, to: end) <= .milliseconds(1))
                    // The guard had no part in it.
                    #expect(time.duration(to: lost) > .milliseconds(500))
                    #expect(lost.duration(to: gained) < .milliseconds(250))
                    try await lab.recover(from: .kill9, onNode: old)
                    _ = try await lab.formation(within: .seconds(20))
                }
            }
        }

        @Test("when a partition heals the holder announces the VIP again: behind it somebody may know the old one only")
        func healed() async throws {
            try await withCluster { lab, _ in
                let old = try await lab.settled(for: .milliseconds(500))
                try lab.inject(.silentPartition, onNode: old)
                let new = try await lab.holder(otherThan: old)
                // The burst of the take-over ends after 5 s, and the refresh comes after a minute.
                let hardware = try lab.network.hardwareAddress(ofNode: new)
                try await Task.sleep(for: .milliseconds(6500))
                let time = BootClock.now
                try await lab.recover(from: .silentPartition, onNode: old)
                try await eventually("announcement after the healing", within: .seconds(5)) {
                    lab.arp.announcements(of: lab.vip, since: time).contains { $0.frame.senderHardware == hardware }
                }
                #expect(lab.witness.holders(of: lab.vip) == [new])
            }
        }

        @Test("two of five nodes may be lost at once")
        func twoOfFive() async throws {
            try await withCluster(of: 5) { lab, _ in
                let first = try await lab.holder()
                let second = first % 5 + 1
                try lab.inject(.kill9, onNode: second)
                let report = try await lab.measure(.kill9, settle: .milliseconds(300))
                #expect(report.view.takeover != nil)
                #expect(lab.witness.holders(of: lab.vip).count == 1)
            }
        }

        @Test("SIGTERM ends a node in time and with status 0, and the VIP goes over at once")
        func terminate() async throws {
            try await withCluster { lab, _ in
                let holder = try await lab.settled(for: .seconds(1))
                let time = BootClock.now
                let status = try await lab[holder].terminate(within: .seconds(5))
                #expect(status.isSuccess)
                #expect(time.duration(to: BootClock.now) < .seconds(5))
                #expect(!(try lab.network.addresses(ofNode: holder)).contains(lab.vipText))
                #expect(lab[holder].namespace.processes().isEmpty)
                #expect(try await lab.holder(otherThan: holder) != holder)
            }
        }

        @Test("SIGINT and SIGPWR end a node like SIGTERM", arguments: [SIGINT, SIGPWR])
        func otherSignals(number: Int32) async throws {
            try await withLab(nodes: 1) { lab in
                var options = StartOptions()
                options.further = ["--vip", lab.vipText]
                let process = try lab[1].start(options)
                _ = try await lab.holder()
                process.signal(number)
                #expect(try await process.exit(within: .seconds(5)).isSuccess)
                #expect(lab.witness.holders(of: lab.vip).isEmpty)
            }
        }

        @Test("SIGHUP to both processes disturbs nothing")
        func hangUp() async throws {
            try await withLab(nodes: 1) { lab in
                var options = StartOptions()
                options.further = ["--vip", lab.vipText]
                let process = try lab[1].start(options)
                _ = try await lab.holder()
                let daemon = try #require(lab[1].daemonPID)
                process.signal(SIGHUP)
                kill(daemon, SIGHUP)
                // Answered after the signals were delivered.
                #expect(try await lab[1].status().state == "formed")
                #expect(lab[1].daemonPID == daemon)
                #expect(lab.witness.holders(of: lab.vip) == [1])
            }
        }

        @Test("a second SIGTERM ends a node at once, and the VIP is dropped all the same")
        func secondSignal() async throws {
            try await withCluster { lab, _ in
                let holder = try await lab.settled(for: .milliseconds(500))
                let process = try #require(lab[holder].process)
                process.signal(SIGTERM)
                process.signal(SIGTERM)
                let time = BootClock.now
                try await process.exit(within: .seconds(2))
                #expect(time.duration(to: BootClock.now) < .seconds(1))
                try await eventually("address gone", within: .milliseconds(500)) {
                    !lab.witness.holders(of: lab.vip).contains(holder)
                }
            }
        }

        @Test("when all nodes stand still at once, and go on, the same one leads: nobody has failed")
        func pause() async throws {
            try await withCluster { lab, _ in
                var changes = 0
                for _ in 1...5 {
                    let leader = try await lab.settled(for: .milliseconds(500))
                    let term = try await lab[leader].status().term ?? 0
                    for node in lab.nodes { node.signalAll(SIGSTOP) }
                    // Longer than silence and lease, shorter than raft's own timer: nothing of it can be awaited.
                    try await Task.sleep(for: .milliseconds(200))
                    for node in lab.nodes { node.signalAll(SIGCONT) }
                    let after = try await lab.settled(for: .milliseconds(500))
                    if try await lab[after].status().term ?? 0 != term { changes += 1 }
                }
                // They go on one after the other, which takes time on a busy machine.
                #expect(changes <= 1, "\(changes) of 5 pauses cost the lead")
            }
        }
    }
}
