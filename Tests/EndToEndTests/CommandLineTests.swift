import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Command line and rights")
    struct CommandLineTests {
        @Test("status, vip and version work on any node, for people and as JSON, with their exit statuses")
        func clients() async throws {
            try await withCluster { lab, formation in
                let node = lab[formation.leader % 3 + 1]
                let status = try await node.command(["status"])
                #expect(status.isSuccess)
                for text in lab.clusterAddresses + [lab.vipText, formation.clusterID] {
                    #expect(status.output.contains(text), "\(status.output)")
                }
                let json = try await node.command(["status", "--json"])
                #expect(json.isSuccess)
                let decoded = try JSONDecoder().decode(NodeStatus.self, from: Data(json.output.utf8))
                #expect(decoded.clusterID == formation.clusterID)

                #expect(try await node.command(["vip", "get"]).output == lab.vipText + "\n")
                let bad = try await node.command(["vip", "set", "10.42.0.120"])
                #expect(bad.status == .exited(1))
                #expect(bad.error.contains("prefix length"))
                #expect(try await node.command(["vip", "set", "10.42.0.120/24"]).isSuccess)
                #expect(try await node.command(["vip", "get"]).output == "10.42.0.120/24\n")
                #expect(try await node.command(["vip", "clear"]).isSuccess)
                #expect(try await node.command(["vip", "get"]).output.isEmpty)

                let version = try await node.command(["version"])
                #expect(version.isSuccess)
                #expect(version.output.contains("1.11.1") || version.output.contains("libdqlite"))
                let nobody = try await node.command(["status", "--api", "127.0.0.1:9999"])
                #expect(nobody.status == .exited(69))
                #expect(nobody.error.contains("127.0.0.1:9999"))
                #expect(try await node.command(["status", "--nonsense"]).status == .exited(64))
            }
        }

        @Test("a node that waits for others says so: status 3, and for what")
        func waiting() async throws {
            try await withLab(nodes: 3) { lab in
                try lab[1].start(.identical(expect: 3))
                try await eventually("API", within: .seconds(5)) { try await lab[1].status().state == "forming" }
                let status = try await lab[1].command(["status"])
                #expect(status.status == .exited(3))
                #expect(status.text.contains("1 of 3 nodes"), "\(status.text)")
            }
        }

        @Test("a non-voter, by flag or by variable, joins and has no vote, although there is room for one")
        func nonVoters() async throws {
            try await withLab(nodes: 3) { lab in
                try lab[1].start(StartOptions())
                _ = try await lab.formation(of: [1], memberCount: 1)
                var options = StartOptions()
                options.join = ["10.42.0.1"]
                try lab[2].start(options, environment: ["DQLITE_VIP_NON_VOTER": "yes"])
                options.further = ["--non-voter"]
                try lab[3].start(options)
                let formation = try await lab.formation()
                #expect(formation.voters == 1)
                #expect(formation.member(lab[1])?.role == "voter")
            }
        }

        @Test("with --log-format json every line of the log is one JSON object")
        func jsonLog() async throws {
            try await withLab(nodes: 1) { lab in
                var options = StartOptions()
                options.further = ["--log-format", "json", "--log-level", "debug"]
                try lab.startAll(options)
                _ = try await lab.formation()
                try await lab[1].terminate()
                let lines = lab[1].logText.split(separator: "\n")
                #expect(lines.count > 3)
                for line in lines {
                    #expect(throws: Never.self, "\(line)") {
                        _ = try JSONDecoder().decode(AnyObjectLine.self, from: Data(line.utf8))
                    }
                }
            }
        }

        private struct AnyObjectLine: Decodable {
            var message: String
        }

        /// `nobody` of Debian.
        private static let unprivileged: UInt32 = 65534

        @Test("without root, with the two capabilities alone, a cluster forms and the VIP fails over")
        func capabilities() async throws {
            try await withLab(nodes: 3) { lab in
                let binary = try Self.copyWithCapabilities(lab, "cap_net_admin,cap_net_raw+ep")
                for node in lab.nodes {
                    try Self.give(node.directory)
                    try node.start(.identical(expect: 3), prefix: Self.asNobody, binary: binary)
                }
                _ = try await lab.formation()
                let holder = try await lab.setVIP()
                for node in lab.nodes {
                    let pid = try #require(node.daemonPID)
                    #expect(try Self.userID(of: pid) == Self.unprivileged)
                }
                // Guard and daemon: a daemon alone is started again so soon that its node may be elected anew.
                let report = try await lab.measure(.kill9, observe: .milliseconds(1500))
                #expect(report.oldHolder == holder)
                #expect(report.oldLost.map { $0 < .milliseconds(2000) } == true)
                #expect(report.view.takeover != nil)
                #expect(!report.announcements.isEmpty)
            }
        }

        @Test("without the capabilities a start is refused, with the command that gives them")
        func withoutCapabilities() async throws {
            try await withLab(nodes: 1) { lab in
                let binary = try Self.copyWithCapabilities(lab, nil)
                try Self.give(lab[1].directory)
                let process = try lab[1].start(StartOptions(), prefix: Self.asNobody, binary: binary)
                #expect(try await process.exit(within: .seconds(5)).isSuccess == false)
                #expect(
                    lab[1].logText.contains("setcap") || lab[1].logText.contains("CAP_NET_ADMIN"), "\(lab[1].logText)")
            }
        }

        private static let asNobody = [
            "setpriv", "--reuid=\(unprivileged)", "--regid=\(unprivileged)", "--clear-groups",
        ]

        private static func copyWithCapabilities(_ lab: LabCluster, _ capabilities: String?) throws -> String {
            let copy = "\(lab.network.directory)/dqlite-vip"
            try ToolCommand.check(["install", "-m", "755", lab[1].binary, copy])
            if let capabilities { try ToolCommand.check(["setcap", capabilities, copy]) }
            return copy
        }

        private static func give(_ directory: String) throws {
            guard chown(directory, unprivileged, unprivileged) == 0 else {
                throw SystemError.last("give away the directory", directory)
            }
        }

        private static func userID(of pid: pid_t) throws -> UInt32 {
            let text = String(decoding: try DurableFile.read("/proc/\(pid)/status") ?? [], as: UTF8.self)
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Uid:") })
            return try #require(line.split(separator: "\t").dropFirst().first.flatMap { UInt32($0) })
        }
    }
}
