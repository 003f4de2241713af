import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    @Suite("DNS")
    struct DNSTests {
        private static let addresses = StartOptions.discovering(
            "dns", config: #"{"name":"nodes.lab","port":8800}"#, expect: 3)

        /// A host that is in the records and nowhere else.
        private static let dead = "10.42.0.77"

        private func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

        @Test(
            "TestAutoClusteringDNS.test_3_voters_1_nonvoter: one command line, records of both families; later ones join"
        )
        func addressRecords() async throws {
            try await withDNS(nodes: 5) { lab, dns in
                try await dns.set(
                    "nodes.lab", (1...3).map { lab[$0].address } + [ip("fd00::1"), ip("fd00::2"), ip("fd00::3")])
                for number in 1...3 { try lab[number].start(Self.addresses) }
                let three = try await lab.formation(of: [1, 2, 3])
                #expect(three.voters == 3)
                let discovery = try #require(three.statuses[1]?.discovery)
                #expect(discovery.mode == "dns")
                #expect(discovery.lastError == nil)
                #expect(discovery.lastContact.flatMap { WallTime($0) } != nil)
                // The nodes have IPv4: the AAAA records are none of their business.
                #expect(discovery.lastAddresses.sorted() == ["10.42.0.1:8800", "10.42.0.2:8800", "10.42.0.3:8800"])

                try lab[4].start(Self.addresses)
                let four = try await lab.formation(of: [1, 2, 3, 4])
                #expect(four.clusterID == three.clusterID)
                try lab[5].start(
                    Self.addresses.with {
                        $0.bootstrapExpect = nil
                        $0.isNonVoter = true
                    })
                let five = try await lab.formation()
                #expect(five.clusterID == three.clusterID)
                #expect(five.voters == 3)
                #expect(five.member(lab[5])?.role != "voter")
            }
        }

        @Test("a headless service: no name at first, then one record after the other while the nodes start")
        func headlessService() async throws {
            try await withDNS(nodes: 3) { lab, dns in
                try lab[1].start(Self.addresses)
                let status = try await lab[1].status("name that does not exist") { $0.discovery?.lastError != nil }
                #expect(status.discovery?.lastError?.contains("nodes.lab") == true)
                try await lab[1].waits(for: "1 of 3 nodes found", "waiting for 2 more")
                try await dns.set("nodes.lab", [lab[1].address])
                try await lab[1].status("mended look-up") {
                    $0.discovery?.lastError == nil && $0.discovery?.lastAddresses == ["10.42.0.1:8800"]
                }
                try lab[2].start(Self.addresses)
                try await dns.set("nodes.lab", [lab[1].address, lab[2].address])
                for node in 1...2 { try await lab[node].waits(for: "2 of 3 nodes found: ", "; waiting for one more") }
                let status2 = try await lab[2].command(["status"])
                #expect(status2.text.contains("2 of 3 nodes found"), "\(status2.text)")
                try await eventually("the same in the log", within: .seconds(5)) {
                    lab[1].logText.contains("2 of 3 nodes found: ")
                }
                try await dns.set("nodes.lab", lab.nodes.map(\.address))
                try lab[3].start(Self.addresses)
                #expect(try await lab.formation().voters == 3)
            }
        }

        @Test("a node that no record names is found all the same, because it finds the others")
        func fewerRecords() async throws {
            try await withDNS(nodes: 3) { lab, dns in
                try await dns.set("nodes.lab", [lab[1].address, lab[2].address])
                for number in 1...2 { try lab[number].start(Self.addresses) }
                for number in 1...2 { try await lab[number].waits(for: "2 of 3 nodes found") }
                try lab[3].start(Self.addresses)
                #expect(try await lab.formation().voters == 3)
            }
        }

        @Test("a record of a dead host and one of a host without the product keep nobody waiting")
        func deadRecord() async throws {
            try await withDNS(nodes: 4) { lab, dns in
                // Node 4 is never started: its host refuses connections, where the other is silent.
                try await dns.set("nodes.lab", try [ip(Self.dead)] + lab.nodes.map(\.address))
                for number in 1...3 { try lab[number].start(Self.addresses) }
                let formation = try await lab.formation(of: [1, 2, 3])
                #expect(formation.voters == 3)
            }
        }

        @Test("the order of the answers, which changes with each, is no change")
        func roundRobin() async throws {
            try await withDNS(nodes: 1) { lab, dns in
                try await dns.set("nodes.lab", try [ip(Self.dead), ip("10.42.0.78"), ip("10.42.0.79"), lab[1].address])
                try lab[1].start(Self.addresses)
                let first = try await lab[1].status("look-up") { $0.discovery?.lastContact != nil }
                var contacts: Set<String> = []
                try await eventually("five look-ups", within: .seconds(20), every: .milliseconds(100)) {
                    let discovery = try #require(try await lab[1].status().discovery)
                    #expect(discovery.lastAddresses == first.discovery?.lastAddresses)
                    contacts.insert(try #require(discovery.lastContact))
                    return contacts.count >= 5
                }
            }
        }

        @Test("nodes wait for a name server that is not there yet, say so, and go on at once when it comes")
        func noServer() async throws {
            try await withDNS(nodes: 3, isRunning: false) { lab, dns in
                // By the search list and another name, as a service of a namespace of Kubernetes is found.
                let options = StartOptions.discovering("dns", config: #"{"name":"service"}"#, expect: 3)
                try lab.startAll(options)
                for node in lab.nodes {
                    try await node.status("missing name server", within: .seconds(20)) {
                        $0.discovery?.lastError?.contains("service") == true
                    }
                }
                try await dns.set("nodes.lab", lab.nodes.map(\.address))
                try await dns.setAlias("service.lab", of: "nodes.lab")
                try await dns.start()
                #expect(try await lab.formation().voters == 3)
                // Others may have found this node before it asked again itself.
                try await lab[1].status("look-up without an error") { $0.discovery?.lastError == nil }
            }
        }

        @Test(
            "SRV: each node has a port of its own, a target without an address is told and passed over; a fourth joins")
        func services() async throws {
            try await withDNS(nodes: 4) { lab, dns in
                for node in lab.nodes { try await dns.set("n\(node.number).lab", [node.address]) }
                try await dns.setService(
                    "_cluster._tcp.nodes.lab",
                    [LabDNS.Target(host: "ghost.lab", port: 8800, priority: 1)]
                        + (1...3).map { .init(host: "n\($0).lab", port: UInt16(8810 + $0), priority: 2) })
                func start(_ number: Int) throws {
                    let config = #"{"name":"nodes.lab","service":"cluster"}"#
                    try lab[number].start(
                        .discovering("dns-srv", config: config, expect: 3).with {
                            $0.bindCluster = "\(lab[number].address):\(8810 + number)"
                        })
                }
                for number in 1...3 { try start(number) }
                let three = try await lab.formation(of: [1, 2, 3])
                #expect(three.addresses == ["10.42.0.1:8811", "10.42.0.2:8812", "10.42.0.3:8813"])
                let discovery = try #require(three.statuses[1]?.discovery)
                #expect(discovery.mode == "dns-srv")
                #expect(discovery.lastAddresses == three.addresses)
                #expect(discovery.lastError?.contains("ghost.lab") == true)
                try start(4)
                #expect(try await lab.formation().clusterID == three.clusterID)
            }
        }

        @Test("addresses of --join and of the name server are united")
        func united() async throws {
            try await withDNS(nodes: 3) { lab, dns in
                try await dns.set("nodes.lab", [lab[2].address])
                try lab[2].start(Self.addresses)
                try lab[3].start(Self.addresses)
                try await lab[3].waits(for: "2 of 3 nodes found")
                // Nobody but node 1 itself knows of node 1, and it knows node 3 only.
                try await dns.set("nodes.lab", [])
                try lab[1].start(Self.addresses.with { $0.join = ["\(lab[3].address)"] })
                _ = try await lab.formation()
            }
        }
    }
}
