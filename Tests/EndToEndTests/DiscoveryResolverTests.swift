import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    /// What resolv.conf(5) says, with the shipped binary: only there it is the real one.
    @Suite("The resolver's configuration")
    struct ResolverTests {
        private static func discover(_ lab: LabCluster, mode: String, _ configuration: String) async throws
            -> CommandResult
        {
            try await lab[1].command(["discover", "--disco-mode", mode, "--disco-config", configuration])
        }

        @Test("discover asks the servers of resolv.conf, with its search domain, past a dead one, for both modes")
        func resolvConf() async throws {
            try await withDNS(nodes: 2) { lab, dns in
                for node in lab.nodes { try await dns.set("n\(node.number).lab", [node.address]) }
                try await dns.set("nodes.lab", lab.nodes.map(\.address))
                try await dns.setService(
                    "_vip._tcp.lab", lab.nodes.map { .init(host: "n\($0.number).lab", port: 8800 + UInt16($0.number)) })
                let dead = try #require(IPAddress("10.42.0.99"))
                try lab.network.setResolver(ofNode: 1, to: [dead, dns.address], search: "lab")

                let name = try await Self.discover(lab, mode: "dns", #"{"name": "nodes", "port": 8803}"#)
                #expect(name.status == .exited(0), "\(name.text)")
                #expect(name.output.contains("10.42.0.1:8803") && name.output.contains("10.42.0.2:8803"))
                #expect(dns.questions("A", "nodes.lab") == 1)

                let service = try await Self.discover(lab, mode: "dns-srv", #"{"name": "lab.", "service": "vip"}"#)
                #expect(service.status == .exited(0), "\(service.text)")
                #expect(service.output.contains("10.42.0.1:8801") && service.output.contains("10.42.0.2:8802"))

                let none = try await Self.discover(lab, mode: "dns", #"{"name": "no-such.lab"}"#)
                #expect(none.status == .exited(1))
                #expect(
                    none.error.contains("\"no-such.lab\" does not exist (NXDOMAIN for A and AAAA from \(dns.address)"),
                    "\(none.text)")
            }
        }

        @Test("a host without a name server in reach is told which one it asked and what to correct")
        func noServer() async throws {
            try await withLab(nodes: 1) { lab in
                try lab.network.setResolver(ofNode: 1, to: [try #require(IPAddress("127.0.0.53"))])
                let result = try await Self.discover(lab, mode: "dns", #"{"name": "nodes.lab"}"#)
                #expect(result.status == .exited(1))
                #expect(
                    result.error.contains(
                        "cannot resolve \"nodes.lab\" (A and AAAA): 127.0.0.53 cannot be reached: "
                            + "correct the name servers in /etc/resolv.conf"), "\(result.text)")
            }
        }

        @Test(
            "three nodes that start before their records and with a wrong resolv.conf form one cluster once both are right"
        )
        func correctedUnderRunningNodes() async throws {
            try await withDNS(nodes: 3) { lab, dns in
                let nobody = try #require(IPAddress("127.0.0.53"))
                for node in 1...3 { try lab.network.setResolver(ofNode: node, to: [nobody]) }
                try lab.startAll(.discovering("dns", config: #"{"name": "nodes.lab"}"#, expect: 3))
                for node in lab.nodes {
                    try await node.status("report of the dead name server") {
                        $0.discovery?.lastError?.contains("127.0.0.53 cannot be reached") == true
                    }
                }
                // Under the running nodes.
                for node in 1...3 { try lab.network.setResolver(ofNode: node, to: [dns.address]) }
                for node in lab.nodes {
                    try await node.status("report of the missing name") {
                        $0.discovery?.lastError?.contains("NXDOMAIN") == true
                    }
                }
                try await dns.set("nodes.lab", lab.nodes.map(\.address))
                #expect(try await lab.formation().voters == 3)
            }
        }
    }
}
