import ArgumentParser
import Cluster
import Discovery
import Logging
import Platform
import Testing

@testable import dqlite_vip

@Suite struct StartSettingsTests {
    private static let node = HostPort(host: "1.2.3.4", port: 8800)

    @Test("the seed's first command is parsed letter for letter")
    func seedFirst() throws {
        let parsed = try settings(
            "--data-dir /path/to/data-dir --bind-cluster 1.2.3.4:8800 --bind-http 127.0.0.1:9900 --iface eth0")
        #expect(
            parsed
                == StartSettings(
                    dataDirectory: "/path/to/data-dir",
                    clusterBind: .address(try #require(IPAddress("1.2.3.4")), port: 8800),
                    apiBind: HostPort(host: "127.0.0.1", port: 9900), interface: "eth0",
                    discovery: DiscoverySettings(interface: "eth0"), bootstrapExpect: nil, isNonVoter: false,
                    virtualAddresses: [], voters: 3, clusterName: "dqlite-vip", logLevel: .info,
                    logFormat: .text))
    }

    @Test("the seed's second command joins")
    func seedJoin() throws {
        let parsed = try settings(
            "--data-dir /d --bind-cluster 1.2.3.5:8800 --bind-http 127.0.0.1:9900 --iface eth0 --join 1.2.3.4:8800")
        #expect(parsed.discovery.join == [Self.node] && parsed.bootstrapExpect == nil)
    }

    @Test("the seed's compose file is parsed, with and without JOIN_ARGS")
    func seedCompose() throws {
        let line = "--data-dir=/dqlite-data --bind-cluster=1.2.3.4:8800 --bind-http=0.0.0.0:9900 --iface=eth0"
        #expect(try settings(line).discovery.join.isEmpty)
        let second = try settings(line.replacingFirst("1.2.3.4", "1.2.3.5") + " --join=1.2.3.4:8800")
        #expect(second.discovery.join == [Self.node] && second.apiBind.host == "0.0.0.0")
    }

    @Test("short flags are those of the seed")
    func short() throws {
        let parsed = try settings("-d /d -i eth0 -j 1.2.3.4:8800 -j 1.2.3.6")
        #expect(parsed.dataDirectory == "/d" && parsed.interface == "eth0")
        #expect(parsed.discovery.join.map(\.description) == ["1.2.3.4:8800", "1.2.3.6:8800"])
    }

    @Test("the identical command line needs no address, and everything has a default")
    func identical() throws {
        let parsed = try settings("-d /d -i eth0 --join a,b,c --bootstrap-expect 3")
        #expect(parsed.clusterBind == .interfaceAddress(port: 8800))
        #expect(parsed.apiBind == HostPort(host: "127.0.0.1", port: 9900))
        #expect(parsed.bootstrapExpect == 3 && parsed.voters == 3)
    }

    @Test("every other flag arrives")
    func all() throws {
        let parsed = try settings(
            "-d /d -i eth0 --join a,[fd00::1]:1 --join a:8800 --bootstrap-expect 5 --vip 1.2.3.9/24 --voters 7 "
                + "--cluster-name prod-1 --log-level debug --log-format json")
        #expect(parsed.discovery.join.map(\.description) == ["a:8800", "[fd00::1]:1"])
        #expect(parsed.bootstrapExpect == 5 && parsed.voters == 7 && parsed.virtualAddresses == ["1.2.3.9/24"])
        #expect(parsed.clusterName == "prod-1" && parsed.logLevel == .debug && parsed.logFormat == .json)
    }

    @Test(
        "several virtual addresses: the flag repeated, commas, or the variable",
        arguments: [
            ("--vip 1.2.3.9/24 --vip 2001:db8::9/64", ""), ("--vip 1.2.3.9/24,2001:db8::9/64", ""),
            ("", "1.2.3.9/24,2001:db8::9/64"), ("--vip 1.2.3.9/24 --vip 2001:db8::9/64", "1.2.3.8/24"),
        ])
    func virtualAddresses(flags: String, variable: String) throws {
        let parsed = try settings("-d /d -i eth0 \(flags)", environment: ["DQLITE_VIP_VIP": variable])
        #expect(parsed.virtualAddresses == ["1.2.3.9/24", "2001:db8::9/64"])
    }

    @Test(
        "a list with the same address twice, with an empty one, or with too many is refused",
        arguments: [
            ("--vip 1.2.3.9/24 --vip 1.2.3.9/24", "\"1.2.3.9/24\" is given twice: leave one out"),
            (
                "--vip 2001:db8::9/64,2001:db8:0::9/65",
                "\"2001:db8::9/64\" and \"2001:db8:0::9/65\" are the same address: leave one out"
            ),
            ("--vip 1.2.3.9/24,", "it is empty: give ADDRESS/PREFIX LENGTH"),
            (
                "--vip " + (1...65).map { "1.2.3.\($0)/24" }.joined(separator: ","),
                "65 virtual addresses are too many: a cluster has at most 64"
            ),
        ])
    func badLists(flags: String, reason: String) throws {
        let found = try faults("-d /d -i eth0 \(flags)")
        #expect(found.count == 1 && found.first?.contains(reason) == true, "\(found)")
    }

    @Test(
        "the cluster address can be an address, all addresses or left out",
        arguments: [
            ("1.2.3.4", "address 1.2.3.4 8800"), ("1.2.3.4:99", "address 1.2.3.4 99"),
            ("0.0.0.0:8800", "all v4 8800"), ("0.0.0.0", "all v4 8800"), ("[::]:7", "all v6 7"),
            ("[fd00::1]", "address fd00::1 8800"), ("127.0.0.1:1", "address 127.0.0.1 1"),
        ])
    func clusterBind(text: String, expected: String) throws {
        let words =
            switch try settings("-d /d -i e --bind-cluster \(text)").clusterBind {
            case .interfaceAddress(let port): "interface \(port)"
            case .allAddresses(let family, let port): "all \(family) \(port)"
            case .address(let address, let port): "address \(address) \(port)"
            }
        #expect(words == expected)
    }

    @Test(
        "voters default to the larger of 3 and the founders, odd, at most 7",
        arguments: zip([1, 2, 3, 4, 5, 6, 7, 8, 13], [3, 3, 3, 5, 5, 7, 7, 7, 7]))
    func voters(expect: Int, voters: Int) throws {
        #expect(try settings("-d /d -i e -j a --bootstrap-expect \(expect)").voters == voters)
    }

    @Test("the timing is lan unless a flag or the variable names another, and the flag wins")
    func timing() throws {
        #expect(try settings("-d /d -i e").timing == .lan)
        #expect(try settings("-d /d -i e --timing wan").timing == .wan)
        #expect(try settings("-d /d -i e", environment: ["DQLITE_VIP_TIMING": "fast"]).timing == .fast)
        let given = try settings(
            "-d /d -i e --timing latency=30ms,lease=200ms,silence=100ms", environment: ["DQLITE_VIP_TIMING": "fast"])
        #expect(
            given.timing
                == Timing(latency: .milliseconds(30), hold: .milliseconds(200), silence: .milliseconds(100)))
    }

    @Test("all that is wrong with a timing is told at once, with the flag or the variable it came from")
    func timingFaults() throws {
        #expect(
            try faults("-d /d -i e --timing latency=20ms,lease=400ms,silence=30ms")
                == [
                    "--timing \"latency=20ms,lease=400ms,silence=30ms\": lease 400ms is longer than the election timeout "
                        + "(300ms with latency 20ms): nobody could be elected before it is over",
                    "--timing \"latency=20ms,lease=400ms,silence=30ms\": silence 30ms is shorter than two heartbeats "
                        + "(60ms with latency 20ms): one that is late would depose the leader",
                ])
        #expect(
            try faults("-d /d -i e", environment: ["DQLITE_VIP_TIMING": "quick"])
                == [
                    "DQLITE_VIP_TIMING \"quick\": give fast, lan, wan, or times such as "
                        + "latency=30ms,lease=180ms,silence=150ms"
                ])
        #expect(try faults("-d /d -i e --timing ''").count == 1)
    }

    @Test("a cluster of one may be expected without --join, and fewer voters than nodes may be wanted above 7 nodes")
    func allowed() throws {
        #expect(try settings("-d /d -i e --bootstrap-expect 1").bootstrapExpect == 1)
        #expect(try settings("-d /d -i e --voters 1").voters == 1)
        #expect(try settings("-d /d -i e -j a --bootstrap-expect 9 --voters 7").voters == 7)
    }

    @Test(
        "each fault names the flag, the value and the remedy",
        arguments: [
            (
                "--join 1.2.3.4:9900",
                "--join \"1.2.3.4:9900\": 9900 is the port of the API (--bind-http); use the cluster port (8800): 1.2.3.4:8800"
            ),
            (
                "--join a:7 --bind-http 0.0.0.0:7 --bind-cluster 1.2.3.4:99",
                "--join \"a:7\": 7 is the port of the API (--bind-http); use the cluster port (99): a:99"
            ),
            (
                "--join 0.0.0.0:8800",
                "--join \"0.0.0.0:8800\": 0.0.0.0 is not the address of one host: give the address at which that node can be reached"
            ),
            (
                "--join [::]",
                "--join \"[::]:8800\": :: is not the address of one host: give the address at which that node can be reached"
            ),
            (
                "--join 255.255.255.255",
                "--join \"255.255.255.255:8800\": 255.255.255.255 is not the address of one host: give the address at which that node can be reached"
            ),
            (
                "--join a:b",
                "--join \"a:b\": the port \"b\" is not a number from 1 to 65535: give the cluster addresses of other nodes, like 192.0.2.1:8800"
            ),
            (
                "--join a,,b",
                "--join \"\": an address is empty: is a variable of the command line not set?: give the cluster addresses of other nodes, like 192.0.2.1:8800"
            ),
            (
                "--join :8800",
                "--join \":8800\": the host is missing: give the cluster addresses of other nodes, like 192.0.2.1:8800"
            ),
            (
                "--join fd00::1",
                "--join \"fd00::1\": write an IPv6 address in brackets, like [fd00::1]:8800: give the cluster addresses of other nodes, like 192.0.2.1:8800"
            ),
            (
                "--bootstrap-expect 3",
                "--bootstrap-expect \"3\": there is no way to find the other nodes: give --join with the addresses of all 3, or --disco-mode"
            ),
            (
                "-j a --bootstrap-expect 0",
                "--bootstrap-expect \"0\": give the number of nodes to start with, from 1 to 13"
            ),
            (
                "-j a --bootstrap-expect 14",
                "--bootstrap-expect \"14\": give the number of nodes to start with, from 1 to 13"
            ),
            (
                "-j a --bootstrap-expect three",
                "--bootstrap-expect \"three\": give the number of nodes to start with, from 1 to 13"
            ),
            (
                "-j a --bootstrap-expect=-3",
                "--bootstrap-expect \"-3\": give the number of nodes to start with, from 1 to 13"
            ),
            (
                "--voters 4",
                "--voters \"4\": an even number of voters survives no more failures than one voter less: give 3 or 5"
            ),
            ("--voters 0", "--voters \"0\": give an odd number of voting nodes, from 1 to 7"),
            ("--voters 9", "--voters \"9\": give an odd number of voting nodes, from 1 to 7"),
            (
                "-j a --bootstrap-expect 5 --voters 3",
                "--voters \"3\": all 5 nodes of --bootstrap-expect vote: give at least 5, or expect fewer"
            ),
            (
                "--vip ''",
                "--vip \"\": it is empty: give ADDRESS/PREFIX LENGTH, like 192.0.2.10/24, or leave the flag out"
            ),
            ("--vip bad", "--vip \"bad\": it has no prefix length"),
            (
                "--bind-cluster host:8800",
                "--bind-cluster \"host:8800\": \"host\" is not an IP address: give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
            ),
            (
                "--bind-cluster :8800",
                "--bind-cluster \":8800\": the host is missing: give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
            ),
            (
                "--bind-cluster 1.2.3.4:0",
                "--bind-cluster \"1.2.3.4:0\": the port \"0\" is not a number from 1 to 65535: give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
            ),
            (
                "--bind-cluster 224.0.0.1",
                "--bind-cluster \"224.0.0.1\": 224.0.0.1 is not the address of one host: give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
            ),
            (
                "--bind-cluster [fe80::1]",
                "--bind-cluster \"[fe80::1]\": a link-local IPv6 address means nothing to other hosts: give IP:PORT, like 192.0.2.1:8800, or leave it out to take the address of --iface"
            ),
            (
                "--bind-http 127.0.0.1:99999",
                "--bind-http \"127.0.0.1:99999\": the port \"99999\" is not a number from 1 to 65535: give ADDRESS:PORT, like 127.0.0.1:9900 for this host alone or 0.0.0.0:9900 for all"
            ),
            (
                "--bind-http 239.1.1.1:1",
                "--bind-http \"239.1.1.1:1\": 239.1.1.1 is not the address of one host: give ADDRESS:PORT, like 127.0.0.1:9900 for this host alone or 0.0.0.0:9900 for all"
            ),
            (
                "--bind-cluster 1.2.3.4:8800 --bind-http 1.2.3.4:8800",
                "--bind-http \"1.2.3.4:8800\": the cluster port listens there too (--bind-cluster): give the API another port, like 9900"
            ),
            (
                "--bind-cluster 1.2.3.4:8800 --bind-http 0.0.0.0:8800",
                "--bind-http \"0.0.0.0:8800\": the cluster port listens there too (--bind-cluster): give the API another port, like 9900"
            ),
            (
                "--bind-cluster 0.0.0.0:9900",
                "--bind-http \"127.0.0.1:9900\": the cluster port listens there too (--bind-cluster): give the API another port, like 9900"
            ),
            (
                "--bind-http 0.0.0.0:8800",
                "--bind-http \"0.0.0.0:8800\": the cluster port listens there too (--bind-cluster): give the API another port, like 9900"
            ),
            (
                "--cluster-name ''",
                "--cluster-name \"\": a name has 1 to 63 of the characters a-z, A-Z, 0-9, dot, hyphen, underscore"
            ),
            (
                "--cluster-name a/b",
                "--cluster-name \"a/b\": a name has 1 to 63 of the characters a-z, A-Z, 0-9, dot, hyphen, underscore"
            ),
            (
                "--log-level loud",
                "--log-level \"loud\": give one of trace, debug, info, notice, warning, error, critical"
            ),
            ("--log-format xml", "--log-format \"xml\": give one of text, json"),
            (
                "-d ''",
                "--data-dir \"\": it is empty: give the directory where this node keeps its state, like --data-dir /var/lib/dqlite-vip"
            ),
            (
                "-i ''",
                "--iface \"\": it is empty: give the network interface of the virtual address, like --iface eth0; \"ip -brief link\" lists them"
            ),
            (
                "-i sixteen-letters-",
                "--iface \"sixteen-letters-\": an interface name has at most 15 bytes, this has 16: give the network interface of the virtual address, like --iface eth0; \"ip -brief link\" lists them"
            ),
            (
                "-i eth0:1",
                "--iface \"eth0:1\": no interface can have this name: give the network interface of the virtual address, like --iface eth0; \"ip -brief link\" lists them"
            ),
        ])
    func fault(line: String, message: String) throws {
        #expect(
            try faults("-d /d -i eth0 \(line)", vipFault: { $0 == "bad" ? "it has no prefix length" : nil }) == [
                message
            ])
    }

    @Test("an API port that is the cluster's is no fault where the two do not meet")
    func noClash() throws {
        #expect(
            try settings("-d /d -i e --bind-cluster 1.2.3.4:8800 --bind-http 127.0.0.1:8800 -j a").discovery.join.count
                == 1)
        #expect(try settings("-d /d -i e --bind-http 127.0.0.1:8800 -j a:8800").discovery.join.count == 1)
        #expect(try settings("-d /d -i e --bind-http localhost:8800").apiBind.host == "localhost")
    }

    @Test(
        "others are told of the API where they can reach it",
        arguments: [
            ("127.0.0.1:9900", nil), ("localhost:1", nil), ("[::1]:1", nil), ("0.0.0.0:7", "1.2.3.4:7"),
            ("[::]:7", "1.2.3.4:7"), ("1.2.3.5:7", "1.2.3.5:7"), ("name:7", "name:7"),
        ] as [(String, String?)])
    func apiAddress(bind: String, told: String?) throws {
        #expect(try settings("-d /d -i e --bind-http \(bind)").apiAddress(of: Self.node)?.description == told)
    }

    @Test("all faults are told at once, what is missing included, one on each line")
    func allAtOnce() throws {
        let found = try faults("--join 0.0.0.0 --voters 2 --log-level x --vip v", vipFault: { _ in "bad" })
        #expect(found.count == 6)
        #expect(found[0].hasPrefix("--data-dir is missing: ") && found[0].hasSuffix("(or set DQLITE_VIP_DATA_DIR)"))
        #expect(found[1].hasPrefix("--iface is missing: "))
        let text = SettingsFaults(faults: found).description
        #expect(text.hasPrefix("the configuration has 6 faults:\n  --data-dir"))
        #expect(text.split(separator: "\n").count == 7)
        #expect(SettingsFaults(faults: ["x"]).description == "the configuration has a fault:\n  x")
    }

    @Test("a value cannot forge lines of the terminal, nor flood it")
    func forged() throws {
        var input = StartInput()
        input.give(.dataDirectory, "/d")
        input.give(.interface, "a\u{1B}[2J\nb")
        input.give(.clusterName, String(repeating: "ab ", count: 100_000))
        let error = #expect(throws: SettingsFaults.self) { try StartSettings.validate(input, in: pureSurroundings) }
        let text = error?.description ?? ""
        #expect(!text.contains("\u{1B}") && text.split(separator: "\n").count == 3 && text.count < 1000)
    }

    @Test("the environment stands in for a flag, the flag wins, and an empty variable is none")
    func environment() throws {
        let environment = [
            "DQLITE_VIP_DATA_DIR": "/e", "DQLITE_VIP_IFACE": "eth9", "DQLITE_VIP_JOIN": "a,b",
            "DQLITE_VIP_BOOTSTRAP_EXPECT": "2", "DQLITE_VIP_BIND_HTTP": "127.0.0.1:1", "DQLITE_VIP_VIP": "",
            "DQLITE_VIP_LOG_LEVEL": "WARNING",
        ]
        let parsed = try settings("-i eth0 --join c", environment: environment)
        #expect(parsed.dataDirectory == "/e" && parsed.interface == "eth0" && parsed.apiBind.port == 1)
        #expect(parsed.discovery.join.map(\.host) == ["c"] && parsed.bootstrapExpect == 2)
        #expect(parsed.virtualAddresses.isEmpty && parsed.logLevel == .warning)
        let found = try faults("-d /d -i e", environment: ["DQLITE_VIP_VOTERS": "4"])
        #expect(found.first?.hasPrefix("DQLITE_VIP_VOTERS \"4\": ") == true)
    }

    @Test(
        "what the parser itself refuses is a usage error",
        arguments: [
            "--no-such", "extra", "-d", "--join", "--bind-http", "--bootstrap-expect -3", "-x y",
        ])
    func usage(line: String) {
        let words = ["start"] + line.split(separator: " ").map(String.init)
        let error = #expect(throws: (any Error).self) { try DqliteVIP.parseAsRoot(words) }
        #expect(error.map { DqliteVIP.exitCode(for: $0) } == ExitStatus.usage)
    }

    @Test("no command line crashes the validation")
    func fuzz() {
        let seed = UInt64.random(in: .min ... .max)
        var dice = Dice(seed: seed)
        let alphabet = Array("0123456789abf.:,[]/-+ \0\n\u{1B}é%")
        for _ in 0..<5_000 {
            var input = StartInput()
            for key in StartInput.Key.allCases where Bool.random(using: &dice) {
                let count = Int.random(in: 0...24, using: &dice)
                input.give(
                    key, String((0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &dice)] }))
            }
            do throws(SettingsFaults) {
                _ = try StartSettings.validate(input, in: pureSurroundings)
            } catch {
                #expect(!error.faults.isEmpty, "seed \(seed)")
                for fault in error.faults {
                    #expect(
                        fault.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, "seed \(seed)")
                }
            }
        }
    }
}

extension String {
    fileprivate func replacingFirst(_ text: String, _ replacement: String) -> String {
        guard let range = firstRange(of: text) else { return self }
        return self[..<range.lowerBound] + replacement + self[range.upperBound...]
    }
}
