import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    /// Discovery by a real name server, through a resolv.conf(5) of the node's own.
    @Suite("DNS")
    struct DNSTests {
        private static let serverAddress = Network.clientAddress.description

        /// A name server on the client's address, where a resolv.conf can name it: without a port.
        private static func server(
            _ lab: LabCluster, hosts: [String] = [], _ options: [String] = []
        ) async throws -> NameServer {
            try await NameServer(hosts: hosts, options, address: serverAddress, port: 53, in: lab.network.client)
        }

        private static func hosts(_ nodes: Int...) -> [String] {
            nodes.map { "\(Network.address(ofNode: $0)) nodes.lab" }
        }

        /// Written in place: a file that is mounted over another cannot be replaced.
        private static func write(_ lines: [String], to path: String) throws {
            let descriptor = try retryingOnInterrupt("open", path) {
                open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            }
            defer { close(descriptor) }
            let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
            try retryingOnInterrupt("write", path) { Glibc.write(descriptor, bytes, bytes.count) }
        }

        /// Becomes the command that follows, which sees the file as /etc/resolv.conf: the mounts of a process in a lab's
        /// namespace are its own, see ip-netns(8).
        private static func seeing(_ path: String) -> [String] {
            ["sh", "-ec", "mount --bind \"$0\" /etc/resolv.conf; exec \"$@\"", path]
        }

        private static func discover(
            _ lab: LabCluster, _ resolvConf: String, mode: String, _ configuration: String
        ) async throws -> CommandResult {
            let node = lab[1]
            let arguments = ["discover", "--disco-mode", mode, "--disco-config", configuration]
            return try await offloading {
                try ToolCommand.run(
                    seeing(resolvConf) + [node.binary] + arguments, in: node.namespace, directory: node.directory)
            }
        }

        @Test("discover asks the servers of resolv.conf, with its search domain, past a dead one, for both modes")
        func resolvConf() async throws {
            try await withLab(nodes: 2) { lab in
                let services = (1...2).map { "host-record=n\($0).lab,\(Network.address(ofNode: $0))" }
                let records = ["srv-host=_vip._tcp.lab,n1.lab,8801", "srv-host=_vip._tcp.lab,n2.lab,8802"]
                let server = try await Self.server(lab, hosts: Self.hosts(1, 2), services + records)
                defer { server.stop() }
                let path = "\(lab.network.directory)/resolv.conf"
                try Self.write(["search lab", "nameserver 10.42.0.99", "nameserver \(Self.serverAddress)"], to: path)

                let dns = try await Self.discover(lab, path, mode: "dns", #"{"name": "nodes", "port": 8803}"#)
                #expect(dns.status == .exited(0), "\(dns.text)")
                #expect(dns.output.contains("10.42.0.1:8803") && dns.output.contains("10.42.0.2:8803"))
                #expect(server.count("query[A] nodes.lab") == 1)

                let service = try await Self.discover(
                    lab, path, mode: "dns-srv", #"{"name": "lab.", "service": "vip"}"#)
                #expect(service.status == .exited(0), "\(service.text)")
                #expect(service.output.contains("10.42.0.1:8801") && service.output.contains("10.42.0.2:8802"))

                let none = try await Self.discover(lab, path, mode: "dns", #"{"name": "no-such.lab"}"#)
                #expect(none.status == .exited(1))
                #expect(
                    none.error.contains(
                        "\"no-such.lab\" does not exist (NXDOMAIN for A and AAAA from \(Self.serverAddress), "
                            + "tried as \"no-such.lab\", \"no-such.lab.lab\")"),
                    "\(none.text)")
            }
        }

        @Test("a host without a name server in reach is told which one it asked and what to correct")
        func noServer() async throws {
            try await withLab(nodes: 1) { lab in
                let path = "\(lab.network.directory)/resolv.conf"
                try Self.write(["nameserver 127.0.0.53"], to: path)
                let result = try await Self.discover(lab, path, mode: "dns", #"{"name": "nodes.lab"}"#)
                #expect(result.status == .exited(1))
                #expect(
                    result.error.contains(
                        "cannot resolve \"nodes.lab\" (A and AAAA): 127.0.0.53 cannot be reached: "
                            + "correct the name servers in /etc/resolv.conf"), "\(result.text)")
            }
        }

        @Test(
            "nodes that start before their record and with a wrong resolv.conf form one cluster once both are right"
        )
        func growingRecords() async throws {
            try await withLab(nodes: 3) { lab in
                let server = try await Self.server(lab)
                defer { server.stop() }
                let path = "\(lab.network.directory)/resolv.conf"
                try Self.write(["nameserver 127.0.0.53"], to: path)
                var options = StartOptions()
                options.bootstrapExpect = 3
                options.further = ["--disco-mode", "dns", "--disco-config", #"{"name": "nodes.lab"}"#]
                for node in lab.nodes { try node.start(options, prefix: Self.seeing(path)) }
                for node in lab.nodes {
                    try await eventually("report of the dead name server by node \(node.number)", within: .seconds(10))
                    {
                        try await node.status().discovery?.lastError?.contains("127.0.0.53 cannot be reached") == true
                    }
                }

                try Self.write(["nameserver \(Self.serverAddress)"], to: path)
                for node in lab.nodes {
                    try await eventually("report of the missing name by node \(node.number)", within: .seconds(10)) {
                        try await node.status().discovery?.lastError?.contains("NXDOMAIN") == true
                    }
                }

                // One record is enough for all to meet.
                try await server.setHosts(Self.hosts(2))
                let formation = try await lab.formation()
                #expect(formation.voters == 3)
            }
        }
    }
}
