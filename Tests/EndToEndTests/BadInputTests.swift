import Glibc
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
                    ("fd00::10/64", "IPv6"), ("10.42.0.1/24", "10.42.0.1"), ("10.42.0.2/32", "10.42.0.2"),
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
                BadStart(
                    "start --data-dir data --iface eth0 --bind-cluster somewhere:8800", "--bind-cluster", "somewhere"),
                BadStart("start --data-dir data --iface eth0 --bind-cluster 10.42.0.1:99999", "99999"),
                BadStart("start --data-dir data --iface eth0 --bind-http 127.0.0.1:http", "--bind-http", "http"),
                BadStart("start --data-dir data --iface eth0 --bind-http 10.42.0.1:8800", "--bind-http", "8800"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.2:9900", "--join", "API", "8800"),
                BadStart("start --data-dir data --iface eth0 --join 0.0.0.0:8800", "0.0.0.0"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.2:eight", "eight"),
                BadStart("start --data-dir data --iface eth0 --join 10.42.0.2,,10.42.0.3", "--join", "empty"),
                BadStart("start --data-dir data --iface eth0 --bootstrap-expect 3", "--bootstrap-expect", "--join"),
                BadStart(
                    "start --data-dir data --iface eth0 --bootstrap-expect 0 --join 10.42.0.2", "--bootstrap-expect"),
                BadStart("start --data-dir data --iface eth0 --bootstrap-expect many --join 10.42.0.2", "many"),
                BadStart("start --data-dir data --iface eth0 --voters 2", "--voters", "even"),
                BadStart("start --data-dir data --iface eth0 --voters 9", "--voters"),
                BadStart("start --data-dir data --iface eth0 --vip 10.42.0.100", "prefix length"),
                BadStart("start --data-dir data --iface eth0 --vip 10.42.0.1/24", "10.42.0.1"),
                BadStart("start --data-dir data --iface eth0 --vip fd00::1/64", "IPv6"),
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
            "what the host lacks at the moment is told with the remedy, and tried again, for it may come",
            arguments: [
                BadStart("start --data-dir data --iface nope0", "nope0", "eth0"),
                BadStart("start --data-dir data --iface lo", "lo", "no global IPv4 address"),
                BadStart(
                    "start --data-dir data --iface eth0 --bind-cluster 10.42.0.77:8800", "10.42.0.77", "--bind-cluster"),
            ])
        func lacking(_ bad: BadStart) async throws {
            try await withLab(nodes: 1) { lab in
                let process = try lab[1].start(commandLine: [lab[1].binary] + bad.arguments)
                try await eventually("message", within: .seconds(5), state: { lab[1].logTail() }) {
                    let text = lab[1].logText
                    return bad.words.allSatisfy { text.contains($0) }
                }
                // Whoever gives up must say so by its status.
                if let status = process.exitStatus { #expect(!status.isSuccess) }
                let answer = try? await lab[1].request("GET", "/readyz", within: .seconds(1))
                #expect(answer?.status != 200)
            }
        }

        @Test("an interface that comes later is waited for")
        func laterInterface() async throws {
            try await withLab(nodes: 1) { lab in
                var options = StartOptions()
                options.interface = "later0"
                try lab[1].start(options)
                try await eventually("message", within: .seconds(5)) { lab[1].logText.contains("later0") }
                let name = lab[1].namespace.name
                try ToolCommand.check(
                    ["ip", "-n", name, "link", "add", "later0", "type", "veth", "peer", "name", "later1"])
                try ToolCommand.check(["ip", "-n", name, "address", "add", "10.43.0.1/24", "dev", "later0"])
                for link in ["later0", "later1"] {
                    try ToolCommand.check(["ip", "-n", name, "link", "set", link, "up"])
                }
                _ = try await lab.formation(within: .seconds(15))
            }
        }

        @Test("a port that is taken is told with its address, and taken when it is free", arguments: [8800, 9900])
        func takenPort(port: UInt16) async throws {
            try await withLab(nodes: 1) { lab in
                let first = try ChildProcess(
                    [lab[1].binary, "start", "--data-dir", "first", "--iface", "eth0"], in: lab[1].namespace,
                    directory: lab[1].directory, log: "\(lab[1].directory)/first.log")
                try await eventually("first process", within: .seconds(10)) { try await lab[1].status().isFormed }
                var options = StartOptions()
                if port == 8800 { options.bindHTTP = "127.0.0.1:9901" } else { options.bindCluster = "10.42.0.1:8801" }
                try lab[1].start(options)
                let address = port == 8800 ? "10.42.0.1:8800" : "127.0.0.1:9900"
                try await eventually("message", within: .seconds(5), state: { lab[1].logTail() }) {
                    let text = lab[1].logText
                    return text.contains(address) && text.contains("in use")
                }
                first.signal(SIGTERM)
                try await first.exit(within: .seconds(6))
                let api = HostPort(host: "127.0.0.1", port: port == 8800 ? 9901 : 9900)
                try await eventually("start after all", within: .seconds(20)) {
                    let answer = try await HTTPExchange.request("GET", "/readyz", at: api, in: lab[1].namespace)
                    return answer.status == 200
                }
            }
        }
    }
}
