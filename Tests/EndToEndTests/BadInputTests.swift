import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Bad input")
    struct BadInputTests {
        @Test("every address that cannot be a VIP is refused with 400 and a message that says why")
        func badAddresses() async throws {
            try await withCluster { lab, _ in
                let cases: [(vip: String, word: String)] = [
                    ("10.42.0.120", "prefix length"), ("10.42.0.120/33", "33"), ("10.42.0.120/0", "prefix length"),
                    ("10.42.0.120/", "prefix length"), ("10.42.0.120/x", "x"), ("10.42.0.120/24/24", "slash"),
                    ("nonsense/24", "nonsense"), ("300.1.1.1/24", "300.1.1.1"), ("10.42.0/24", "10.42.0"),
                    ("224.0.0.5/24", "multicast"), ("127.0.0.1/8", "loopback"), ("0.0.0.0/24", "unspecified"),
                    ("10.42.0.0/24", "network"), ("10.42.0.255/24", "broadcast"), ("255.255.255.255/32", "broadcast"),
                    ("ff02::10/64", "multicast"), ("::1/128", "loopback"), ("fd00::10/129", "129"),
                    ("10.42.0.1/24", "10.42.0.1"), ("10.42.0.2/32", "10.42.0.2"),
                    ("10.42.0.3/16", "10.42.0.3"),
                ]
                for (vip, word) in cases {
                    for node in [lab[1], lab[3]] {
                        let answer = try await node.setVIP(vip)
                        #expect(answer.status == 400, "\(vip): \(answer.status) \(answer.text)")
                        #expect(answer.message.contains(word), "\(vip): \(answer.message)")
                    }
                }
                for node in lab.nodes { #expect(try await node.vip() == lab.vipText) }
                #expect(lab.witness.holders(of: lab.vip).count == 1)
            }
        }

        @Test("requests that are no requests are refused with a message, and disturb nothing")
        func badRequests() async throws {
            try await withCluster(of: 1) { lab, _ in
                let node = lab[1]
                let bodies = [
                    "", "not json", "{}", "[]", "null", "5", "{\"vip\":5}", "{\"vip\":null}", "{\"vip\":[\"a\"]}",
                ]
                for body in bodies {
                    let answer = try await node.request("PUT", "/vip", body: body)
                    #expect(answer.status == 400, "\(body): \(answer.status) \(answer.text)")
                    #expect(answer.message.contains("vip"), "\(body): \(answer.text)")
                }
                let huge = try await node.request("PUT", "/vip", body: String(repeating: "x", count: 2 << 20))
                #expect(huge.status == 413)
                #expect(try await node.request("POST", "/vip", body: "{}").status == 405)
                #expect(try await node.request("GET", "/nothing").status == 404)
                #expect(try await node.vip() == lab.vipText)
            }
        }

        struct BadStart: Sendable, CustomTestStringConvertible {
            var arguments: [String]
            /// Must all stand in the message.
            var words: [String]
            var testDescription: String { arguments.joined(separator: " ") }

            init(_ arguments: String, _ words: String...) {
                self.arguments = arguments.split(separator: " ").map(String.init)
                self.words = words
            }
        }

        @Test(
            "a wrong command line ends at once with a message that names the flag and the remedy",
            arguments: [
                BadStart("start --iface eth0", "--data-dir"),
                BadStart("start --data-dir data", "--iface"),
                BadStart("start --data-dir data --iface nope0", "nope0", "eth0"),
                BadStart("start --data-dir data --iface lo", "lo", "no global IPv4 address"),
                BadStart(
                    "start --data-dir data --iface eth0 --bind-cluster 10.42.0.77:8800", "10.42.0.77", "--bind-cluster"),
                BadStart(
                    "start --data-dir data --iface eth0 --bind-cluster somewhere:8800", "--bind-cluster", "somewhere"),
                BadStart("start --data-dir data --iface eth0 --bind-cluster 10.42.0.1:99999", "99999"),
                BadStart("start --data-dir data --iface eth0 --bind-http 127.0.0.1:http", "--bind-http", "http"),
                BadStart("start --data-dir data --iface eth0 --bind-http 10.42.0.1:8800", "--bind-http", "8800"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.2:9900", "--join", "API", "8800"),
                BadStart("start --data-dir data --iface eth0 --join 0.0.0.0:8800", "0.0.0.0"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.2:eight", "eight"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.2,,10.42.0.3", "--join", "empty"),
                BadStart(
                    "start --data-dir data --iface eth0 --bootstrap-expect 3", "--bootstrap-expect", "--join",
                    "--disco-mode"),
                BadStart(
                    "start --data-dir data --iface eth0 --join no-such-host.invalid", "no-such-host.invalid", "DNS"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.1", "--join", "itself", "10.42.0.1:8800"),
                BadStart(
                    "start --data-dir data --iface eth0 --disco-mode zookeeper", "--disco-mode", "zookeeper",
                    "static, dns, dns-srv, consul-kv, etcd-kv, multicast"),
                BadStart(
                    "start --data-dir data --iface eth0 --disco-mode dns --disco-config /nowhere.json", "/nowhere.json",
                    "No such file"),
                BadStart(
                    #"start --data-dir data --iface eth0 --disco-mode dns --disco-config {"name":"x","port":9900}"#,
                    "--disco-config", "port", "API", "8800"),
                BadStart(
                    #"start --data-dir data --iface eth0 --disco-mode dns-srv --disco-config {"name":"x","sevice":"y"}"#,
                    "--disco-config", "sevice", "service"),
                BadStart(
                    #"start --data-dir data --iface eth0 --disco-mode dns --disco-config {"name":"x""#,
                    "--disco-config",
                    "line 1, column 12"),
                BadStart("start --data-dir data --iface eth0 --disco-mode static", "--disco-mode", "--join"),
                BadStart("start --data-dir data --iface eth0 --disco-config {}", "--disco-config", "--disco-mode"),
                BadStart(
                    "start --data-dir data --iface eth0 --join 10.42.0.2 --disco-mode static --disco-config {}",
                    "--disco-config", "static"),
                BadStart("start --data-dir data --iface eth0 --disco-key a//b", "--disco-key", "a//b"),
                BadStart(
                    "start --data-dir data --iface eth0 --non-voter --join 10.42.0.2 --bootstrap-expect 3",
                    "--non-voter",
                    "--bootstrap-expect"),
                BadStart("start --data-dir data --iface eth0 --non-voter", "--non-voter", "--join"),
                BadStart(
                    "start --data-dir data --iface eth0 --bootstrap-expect 0 --join 10.42.0.2", "--bootstrap-expect"),
                BadStart("start --data-dir data --iface eth0 --bootstrap-expect many --join 10.42.0.2", "many"),
                BadStart("start --data-dir data --iface eth0 --voters 2", "--voters", "even"),
                BadStart("start --data-dir data --iface eth0 --voters 9", "--voters"),
                BadStart("start --data-dir data --iface eth0 --vip 10.42.0.100", "prefix length"),
                BadStart("start --data-dir data --iface eth0 --vip 10.42.0.1/24", "10.42.0.1"),
                BadStart("start --data-dir data --iface eth0 --vip ff02::1/64", "multicast"),
                BadStart("start --data-dir data --iface eth0 --log-level loud", "loud", "debug"),
                BadStart("start --data-dir data --iface eth0 --log-format xml", "xml", "json"),
                BadStart("start --data-dir data --iface eth0 --no-such-flag", "--no-such-flag"),
                BadStart("start --data-dir /proc/nowhere --iface eth0", "/proc/nowhere"),
                BadStart("start --data-dir /dev/null --iface eth0", "/dev/null"),
            ])
        func badStart(_ bad: BadStart) async throws {
            try await withLab(nodes: 1) { lab in
                let result = try await lab[1].command(bad.arguments, within: .seconds(10))
                #expect(!result.isSuccess)
                for word in bad.words { #expect(result.text.contains(word), "\(result.text)") }
                #expect(lab[1].namespace.processes().isEmpty)
            }
        }

        @Test("all faults of a command line are told at once")
        func allFaults() async throws {
            try await withLab(nodes: 1) { lab in
                let result = try await lab[1].command(["start", "--voters", "2", "--log-level", "loud"])
                #expect(result.status == .exited(78))
                for word in ["--data-dir", "--iface", "--voters", "loud"] { #expect(result.text.contains(word)) }
            }
        }

        @Test("a --vip that is another member's own address is not set; the status says so until there is another")
        func addressOfAnother() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions.identical(expect: 2)
                try lab[2].start(options)
                options.further = ["--vip", "10.42.0.2/24"]
                try lab[1].start(options)
                if try await lab.formation().leader == 2 {
                    try await eventually("lead of node 1", within: .seconds(10)) {
                        try await lab[2].request("POST", "/v1/failover", body: "{}").status == 200
                    }
                }
                try await lab[1].status("warning") { status in
                    status.warnings.contains {
                        $0.contains("10.42.0.2/24 is the own address of the node 10.42.0.2:8800")
                    }
                }
                #expect(try await lab[1].vip() == "")
                try await lab.setVIP()
                #expect(try await lab[1].status().warnings.isEmpty)
            }
        }

        @Test("a node that has a virtual address of the cluster as its own is refused, and told what to do")
        func ownAddressIsVirtual() async throws {
            try await withLab(nodes: 4) { lab in
                var options = StartOptions.identical(expect: 3)
                for number in 1...3 { try lab[number].start(options) }
                let before = try await lab.formation(of: [1, 2, 3])
                let holder = try await lab.setVIP()
                // It need not answer for it in the LAN: a server behind a load balancer has the address all the same.
                try lab[4].namespace.set("ipv4/ip_nonlocal_bind", to: "1")
                options.bindCluster = "\(lab.vip):8800"
                try lab[4].start(options)
                let refusal =
                    "\(lab.vip):8800 cannot be the address of a node: \(lab.vipText) is a virtual address of cluster "
                let status = try await lab[4].status("refusal") { status in
                    status.warnings.contains { $0.contains(refusal) }
                }
                #expect(
                    status.warnings.contains { $0.contains("correct --bind-cluster, or set another virtual address") })
                #expect(!status.isFormed)
                let after = try await lab.formation(of: [1, 2, 3])
                #expect(after.clusterID == before.clusterID && after.members == before.members)
                #expect(after.leaderID == before.leaderID)
                #expect(lab.witness.holders(of: lab.vip) == [holder])

                try await lab[4].terminate()
                options.bindCluster = nil
                try lab[4].start(options)
                let whole = try await lab.formation(within: .seconds(20))
                #expect(whole.clusterID == before.clusterID)
                #expect(whole.addresses.contains("\(lab[4].clusterAddress)"))
            }
        }

        @Test("a name in --join that cannot be resolved is told, and does not keep a node from the others")
        func unresolvable() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions.identical(expect: 2)
                options.join.append("no-such-host.invalid:8800")
                try lab.startAll(options)
                _ = try await lab.formation(within: .seconds(25))
                #expect(lab[1].logText.contains("no-such-host.invalid"))
            }
        }

        @Test(
            "a port that is taken is told in exactly one line, with its address and the remedy",
            arguments: ["10.42.0.1:8800", "127.0.0.1:9900"])
        func takenPort(address: String) async throws {
            try await withLab(nodes: 1) { lab in
                try lab.startAll(StartOptions())
                let before = try await lab.formation()
                var other = StartOptions()
                other.dataDirectory = "other"
                if address.hasSuffix("8800") {
                    other.bindHTTP = "127.0.0.1:9901"
                } else {
                    other.bindCluster = "10.42.0.1:8801"
                }
                let result = try await lab[1].command(other.arguments, within: .seconds(10))
                #expect(!result.isSuccess)
                #expect(result.text.contains(address), "\(result.text)")
                let port = address.split(separator: ":")[1]
                let lines = result.text.split(separator: "\n")
                // What is no line of the log was printed by a library that met something it takes for impossible.
                let unasked = lines.filter { line in
                    ["critical", "error", "warning"].contains { line.contains("Z \($0) dqlite-vip") }
                        || !line.contains(" dqlite-vip")
                }
                #expect(unasked.count == 1, "\(result.text)")
                for word in ["critical", address, "in use", "ss -ltnp sport = :\(port)"] {
                    #expect(unasked.first?.contains(word) == true, "\(result.text)")
                }
                // Who has the port is not disturbed.
                #expect(try await lab.formation().statuses[1]?.term == before.statuses[1]?.term)
            }
        }
    }
}
