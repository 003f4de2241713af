import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    /// What the processes may do, what they leave behind, and whose files they touch.
    @Suite("Hardening")
    struct HardeningTests {
        /// `nobody` of Debian.
        private static let nobody: UInt32 = 65534
        /// CAP_NET_ADMIN and CAP_NET_RAW.
        private static let two: UInt64 = 1 << 12 | 1 << 13
        /// And CAP_NET_BIND_SERVICE and CAP_SYS_NICE.
        private static let four: UInt64 = two | 1 << 10 | 1 << 23

        /// `swift test` has crashed programs print where they were, which takes long and ends them in another way.
        private static let noBacktrace = ["SWIFT_BACKTRACE": "enable=no"]

        /// /proc/PID/status, by the names of proc(5).
        private struct Status {
            private let fields: [Substring: Substring]

            init(of pid: pid_t) throws {
                let text = String(decoding: try DurableFile.read("/proc/\(pid)/status") ?? [], as: UTF8.self)
                let pairs = text.split(separator: "\n").compactMap { line -> (Substring, Substring)? in
                    let parts = line.split(separator: "\t", maxSplits: 1)
                    return parts.count == 2 ? (parts[0].dropLast(), parts[1]) : nil
                }
                fields = Dictionary(pairs, uniquingKeysWith: { first, _ in first })
            }

            subscript(name: String) -> String { fields[name[...]].map(String.init) ?? "" }
            func set(_ name: String) -> UInt64? { UInt64(self[name], radix: 16) }
        }

        private func pids(_ node: LabNode) throws -> (guardian: pid_t, daemon: pid_t) {
            (try #require(node.guardPID), try #require(node.daemonPID))
        }

        /// Both processes have of the capabilities what is expected, can gain none, and leave no core; so has each thread.
        private func expectRights(of node: LabNode, _ expected: UInt64, passedOn: UInt64, bounding: UInt64?) throws {
            let (guardian, daemon) = try pids(node)
            for (pid, inherited) in [(guardian, passedOn), (daemon, 0)] {
                for task in try #require(try Directory.names("/proc/\(pid)/task")).compactMap({ pid_t($0) }) {
                    let status = try Status(of: task)
                    for name in ["CapEff", "CapPrm"] { #expect(status.set(name) == expected, "\(name) of \(task)") }
                    for name in ["CapInh", "CapAmb"] { #expect(status.set(name) == inherited, "\(name) of \(task)") }
                    if let bounding { #expect(status.set("CapBnd") == bounding, "CapBnd of \(task)") }
                    #expect(status["NoNewPrivs"] == "1")
                }
                let limits = String(decoding: try DurableFile.read("/proc/\(pid)/limits") ?? [], as: UTF8.self)
                let core = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") })
                #expect(core.split(separator: " ").dropFirst(4).prefix(2) == ["0", "0"], "\(core)")
                // Of a process that can be dumped they belong to its user (proc(5)).
                var files = stat()
                #expect(stat("/proc/\(pid)/fd", &files) == 0 && files.st_uid == 0)
            }
        }

        @Test(
            "as root, guard and daemon keep four capabilities and gain none; nodes find each other, the VIP fails over")
        func root() async throws {
            try await withLab(nodes: 3, mayCrash: true) { lab in
                for node in lab.nodes { try node.start(.discovering("multicast", expect: 3)) }
                _ = try await lab.formation()
                let holder = try await lab.setVIP()
                for node in lab.nodes {
                    try expectRights(of: node, Self.four, passedOn: 0, bounding: Self.four)
                }
                let report = try await lab.measure(.kill9, observe: .milliseconds(1500))
                #expect(report.oldHolder == holder)
                #expect(report.view.takeover != nil)
                #expect(!report.announcements.isEmpty)
                // The priorities are those of a process with all capabilities.
                let survivor = try #require(lab.nodes.first { $0.number != holder })
                let (guardian, _) = try pids(survivor)
                #expect(sched_getscheduler(guardian) & 0xFF == SCHED_RR)
            }
        }

        @Test("a daemon that crashes leaves no core, whatever the limit was, and its guard starts another")
        func crash() async throws {
            try await withLab(nodes: 1, mayCrash: true) { lab in
                let node = lab[1]
                let unlimited = ["prlimit", "--core=unlimited:unlimited", "--"]
                try node.start(StartOptions(), prefix: unlimited, environment: Self.noBacktrace)
                _ = try await lab.formation()
                try await lab.setVIP()
                let (_, daemon) = try pids(node)
                let since = BootClock.now
                kill(daemon, SIGSEGV)
                _ = try await eventually("another daemon", within: .seconds(10)) {
                    node.daemonPID.flatMap { $0 != daemon ? $0 : nil }
                }
                _ = try await eventually("the address is back", within: .seconds(10)) {
                    lab.witness.timeline.gain(of: lab.vip, by: 1, after: since)
                }
                #expect(node.logText.contains("ended by signal 11"))
                #expect(try Self.cores(in: node) == [])
                try expectRights(of: node, Self.four, passedOn: 0, bounding: Self.four)
            }
        }

        @Test("with DQLITE_VIP_ALLOW_CORE developers have their core")
        func allowedCore() async throws {
            let pattern = String(
                decoding: try DurableFile.read("/proc/sys/kernel/core_pattern") ?? [], as: UTF8.self)
            try await withLab(nodes: 1, mayCrash: true) { lab in
                let node = lab[1]
                try node.start(
                    StartOptions(), prefix: ["prlimit", "--core=unlimited:unlimited", "--"],
                    environment: Self.noBacktrace.merging(["DQLITE_VIP_ALLOW_CORE": "1"]) { $1 })
                _ = try await lab.formation()
                let (_, daemon) = try pids(node)
                let limits = String(decoding: try DurableFile.read("/proc/\(daemon)/limits") ?? [], as: UTF8.self)
                #expect(limits.contains("Max core file size        unlimited"))
                kill(daemon, SIGSEGV)
                _ = try await eventually("another daemon", within: .seconds(10)) {
                    node.daemonPID.flatMap { $0 != daemon ? $0 : nil }
                }
                // A pattern with a path or a pipe takes the core elsewhere: then only that it was allowed can be seen.
                if !pattern.contains("/") && !pattern.contains("|") { #expect(try Self.cores(in: node) != []) }
                for core in try Self.cores(in: node) { unlink("\(node.directory)/\(core)") }
            }
        }

        private static func cores(in node: LabNode) throws -> [String] {
            try Directory.names(node.directory)?.filter { $0.contains("core") } ?? []
        }

        @Test("of an unprivileged user with two ambient capabilities the guard passes them on, and the VIP fails over")
        func ambient() async throws {
            try await withLab(nodes: 3) { lab in
                let binary = "\(lab.network.directory)/dqlite-vip"
                try ToolCommand.check(["install", "-m", "755", lab[1].binary, binary])
                let prefix = [
                    "setpriv", "--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups",
                    "--inh-caps=+net_admin,+net_raw", "--ambient-caps=+net_admin,+net_raw",
                ]
                for node in lab.nodes {
                    // As StateDirectory= makes it.
                    mkdir(node.dataDirectory, 0o755)
                    chown(node.dataDirectory, Self.nobody, Self.nobody)
                    try node.start(.identical(expect: 3), prefix: prefix, binary: binary)
                }
                _ = try await lab.formation()
                let holder = try await lab.setVIP()
                for node in lab.nodes {
                    // The kernel bounds what nobody can gain any more.
                    try expectRights(of: node, Self.two, passedOn: Self.two, bounding: nil)
                    // The daemon is called as its guard was, although its files in /proc are root's.
                    let (_, daemon) = try pids(node)
                    #expect(try Status(of: daemon)["Name"] == "dqlite-vip")
                }
                // A daemon that is started again has them, too.
                let (_, daemon) = try pids(lab[holder])
                kill(daemon, SIGKILL)
                _ = try await eventually("another daemon", within: .seconds(10)) {
                    lab[holder].daemonPID.flatMap { $0 != daemon ? $0 : nil }
                }
                _ = try await lab.formation()
                try expectRights(of: lab[holder], Self.two, passedOn: Self.two, bounding: nil)
                let before = try await lab.holder()
                let report = try await lab.measure(.kill9, observe: .milliseconds(1500))
                #expect(report.oldHolder == before)
                #expect(report.view.takeover != nil)
            }
        }

        @Test("as root on the data directory of another user it overwrites nothing there, and says what to run instead")
        func foreignDirectory() async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                let victim = node.directory + "/victim"
                try DurableFile.write(Array("precious".utf8), to: victim)
                mkdir(node.dataDirectory, 0o755)
                for name in ["addresses.new", "stored.new", "lock"] {
                    symlink("../victim", "\(node.dataDirectory)/\(name)")
                }
                symlink("/dev/null", "\(node.dataDirectory)/node.json")
                chown(node.dataDirectory, Self.nobody, Self.nobody)
                let process = try node.start(StartOptions())
                #expect(try await process.exit(within: .seconds(10)) == .exited(78))
                let run = "runuser -u nobody -- dqlite-vip"
                #expect(node.logText.contains(run), "\(node.logText)")
                let recover = try await node.command(["recover", "--data-dir", "data", "--yes"])
                #expect(recover.status == .exited(1) && recover.error.contains(run), "\(recover.text)")
                // Given to root with the links in it, it is refused for them.
                chown(node.dataDirectory, 0, 0)
                #expect(try await node.startAgain().exit(within: .seconds(10)) == .exited(78))
                #expect(node.logText.contains("data/lock"), "\(node.logText)")
                #expect(try DurableFile.read(victim) == Array("precious".utf8))
                let names = try ToolCommand.check(["find", node.dataDirectory, "-type", "l", "-printf", "%f\\n"])
                #expect(names.split(separator: "\n").sorted() == ["addresses.new", "lock", "node.json", "stored.new"])
            }
        }

        @Test(
            "a link to the data directory, as operators have it on another disk, is one; a restart and a recovery go through it"
        )
        func linkedDirectory() async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                mkdir(node.directory + "/disk", 0o755)
                symlink("disk", node.dataDirectory)
                try node.start(StartOptions())
                let before = try await lab.formation()
                try await lab.setVIP()
                #expect(try await node.terminate().isSuccess)
                let recover = try await node.command(["recover", "--data-dir", "data", "--yes"])
                #expect(recover.isSuccess, "\(recover.text)")
                try node.startAgain()
                let after = try await lab.formation()
                #expect(after.clusterID != before.clusterID)
                #expect(try await node.vip() == lab.vipText)
            }
        }
    }
}
