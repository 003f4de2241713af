import Discovery
import Logging
import Platform
import Testing

@testable import dqlite_vip

@Suite struct DiscoverySettingsTests {
    private static let node = "-d /d -i eth0 "

    @Test("mode, key, configuration and a list beside them arrive")
    func all() throws {
        let parsed = try settings(
            Self.node
                + "--disco-mode DNS --disco-key prod/web --disco-config '{\"name\":\"n\",\"port\":$PORT}' --join a")
        #expect(parsed.discovery.join == [HostPort(host: "a", port: 8800)])
        #expect(
            parsed.discovery.backend
                == .init(mode: "dns", configuration: ["name": .string("n"), "port": .integer(8801)], ignored: []))
        #expect(parsed.discovery.key == "prod/web" && parsed.clusterName == "prod.web")
        #expect(parsed.discovery.interface == "eth0" && parsed.discovery.clusterPort == 8800)
    }

    @Test("the environment stands in for each of them, and a flag is true, 1 or yes there")
    func environment() throws {
        let environment = [
            "DQLITE_VIP_DISCO_MODE": "dns", "DQLITE_VIP_DISCO_KEY": "k", "DQLITE_VIP_DISCO_CONFIG": "/good.json",
            "DQLITE_VIP_NON_VOTER": "Yes",
        ]
        let parsed = try settings(Self.node, environment: environment)
        #expect(parsed.discovery.backend?.configuration == ["name": .string("x")])
        #expect(parsed.discovery.key == "k" && parsed.isNonVoter)
        #expect(try !settings(Self.node, environment: ["DQLITE_VIP_NON_VOTER": "false"]).isNonVoter)
        #expect(
            try faults(Self.node, environment: ["DQLITE_VIP_NON_VOTER": "maybe", "DQLITE_VIP_DISCO_CONFIG": "{\"x\":"])
                == [
                    "DQLITE_VIP_DISCO_CONFIG: it belongs to a --disco-mode, which is missing: give one of dns, etcd-kv",
                    "DQLITE_VIP_NON_VOTER \"maybe\": give one of true, 1, yes, false, 0, no",
                ])
    }

    @Test("without options for it nothing is looked for, and the cluster has the name of the key")
    func defaults() throws {
        let parsed = try settings(Self.node)
        #expect(parsed.discovery == DiscoverySettings(interface: "eth0") && parsed.discovery.isNowhere)
        #expect(parsed.clusterName == "dqlite-vip" && !parsed.isNonVoter)
        #expect(try settings(Self.node + "--disco-key a/b --cluster-name c").clusterName == "c")
        #expect(try settings(Self.node + "--bind-cluster [fd00::1]:7").discovery.family == .v6)
        #expect(try settings(Self.node + "--bind-cluster 0.0.0.0:7").discovery.clusterPort == 7)
    }

    @Test(
        "what may be combined is accepted",
        arguments: [
            "--disco-mode static --join a", "--disco-mode etcd-kv", "--disco-mode etcd-kv --bootstrap-expect 3",
            "--disco-mode etcd-kv --non-voter", "--disco-mode dns --disco-config /good.json",
            "--disco-mode dns --disco-config /good.json --bootstrap-expect 3 --join a", "--join a --non-voter",
            "--disco-mode dns --disco-config '{\"name\":\"x\",\"port\":9900}' --bind-cluster 1.2.3.4:9900",
            "--disco-key a.b_c-D9/e", "--bootstrap-expect 1",
        ])
    func accepted(line: String) throws {
        _ = try settings(Self.node + line)
    }

    @Test(
        "each fault names the flag and the remedy, and never what a configuration says",
        arguments: [
            ("--disco-mode zookeeper", "--disco-mode \"zookeeper\": give one of static, dns, etcd-kv"),
            ("--disco-mode ''", "--disco-mode \"\": give one of static, dns, etcd-kv"),
            (
                "--disco-mode static",
                "--disco-mode \"static\": its addresses are those of --join, which is missing: give it, or leave the mode out"
            ),
            (
                "--disco-config '{}'",
                "--disco-config: it belongs to a --disco-mode, which is missing: give one of dns, etcd-kv"
            ),
            (
                "--disco-config /x --join a --disco-mode static",
                "--disco-config \"/x\": the mode static has no configuration, its addresses are those of --join: leave the flag out, or give another mode: dns, etcd-kv"
            ),
            (
                "--disco-mode dns --disco-config ''",
                "--disco-config \"\": it is empty: give a JSON object or the path of a file, or leave the flag out"
            ),
            (
                "--disco-mode etcd-kv --disco-config /nowhere.json",
                "--disco-config: cannot read /nowhere.json: No such file or directory (errno 2): give the path of a file"
            ),
            (
                "--disco-mode dns --disco-config /broken.json",
                "--disco-config \"/broken.json\": line 2, column 2: a comma or a closing brace is expected"
            ),
            (
                "--disco-mode etcd-kv --disco-config '{\"password\":\"hunter2}'",
                "--disco-config: line 1, column 22: it ends too early: a text in double quotes is not closed"
            ),
            (
                "--disco-mode etcd-kv --disco-config '{\"password\":\"$NOPE\"}'",
                "--disco-config: line 1, column 14: the environment variable NOPE is not set: set it, or write $$ for a dollar"
            ),
            (
                "--disco-mode etcd-kv --disco-config '{\"pasword\":\"hunter2\"}'",
                "--disco-config: the field \"pasword\" is not known: the fields here are dial_timeout, password"
            ),
            (
                "--disco-mode etcd-kv --disco-config '{\"password\":[\"hunter2\"]}'",
                "--disco-config: the field \"password\": it is a list: give a text in quotes"
            ),
            (
                "--disco-mode dns --disco-config '{\"name\":\"x\",\"port\":0}'",
                "--disco-config: the field \"port\": give a whole number from 1 to 65535"
            ),
            (
                "--disco-mode dns --disco-config '{\"name\":\"x\",\"port\":9900}'",
                "--disco-config: the field \"port\": 9900 is the port of the API (--bind-http); use the cluster port (8800), or leave the field out"
            ),
            (
                "--disco-mode dns --disco-config '{\"name\":\"x\",\"Port\":\"77\"}' --bind-http 127.0.0.1:77",
                "--disco-config: the field \"port\": 77 is the port of the API (--bind-http); use the cluster port (8800), or leave the field out"
            ),
            ("--disco-mode dns", "--disco-config is missing: the field \"name\": give the name to resolve"),
            (
                "--bootstrap-expect 2",
                "--bootstrap-expect \"2\": there is no way to find the other nodes: give --join with the addresses of all 2, or --disco-mode"
            ),
            (
                "--non-voter --join a --bootstrap-expect 3",
                "--non-voter: a node that never votes cannot found a cluster: leave --bootstrap-expect out on this node"
            ),
            (
                "--non-voter",
                "--non-voter: a node that never votes can only join a cluster: give --join or --disco-mode"
            ),
            (
                "--disco-key aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "--cluster-name is missing: it would be --disco-key, which has 64 characters, and the name of a cluster has at most 63: give one (or set DQLITE_VIP_CLUSTER_NAME)"
            ),
        ])
    func fault(line: String, message: String) throws {
        #expect(try faults(Self.node + line) == [message])
    }

    @Test(
        "a key that a store could take for another path is refused",
        arguments: [
            "", "/", "/a", "a/", "a//b", "a/../b", ".", "a/./b", "a b", "a%2fb", "é", "a?b", "a\\b",
            String(repeating: "k", count: 129),
        ])
    func keys(key: String) throws {
        #expect(
            try faults(Self.node + "--cluster-name c --disco-key '\(key)'") == [
                "--disco-key \"\(key)\": a key has 1 to 128 of the characters a-z, A-Z, 0-9, dot, hyphen, underscore, and / between its parts, like prod/web"
            ])
        #expect(
            try settings(Self.node + "--cluster-name c --disco-key " + String(repeating: "k", count: 128)).discovery.key
                .count == 128)
    }

    @Test("faults of several kinds are told together")
    func together() throws {
        let found = try faults(
            "-i eth0 --disco-mode zoo --disco-config '{' --disco-key // --non-voter --bootstrap-expect 3 --join 1.2.3.4:9900"
        )
        #expect(found.count == 6)
        #expect(found.contains { $0.hasPrefix("--disco-config: line 1, column 2: ") })
    }

    @Test("no way of printing the settings shows a secret")
    func secrets() throws {
        let parsed = try settings(
            Self.node + "--disco-mode etcd-kv --disco-config '{\"password\":\"$SECRET\",\"dial-timeout\":5}'")
        #expect(parsed.discovery.backend?.configuration["password"] == .string("hunter2"))
        #expect(parsed.discovery.backend?.ignored == ["dial-timeout"])
        var dumped = ""
        dump(parsed, to: &dumped)
        for text in ["\(parsed)", String(reflecting: parsed), dumped] {
            #expect(text.contains("etcd-kv") && !text.contains("hunter2"))
        }
        #expect(
            parsed.discovery.ignoredNotice == "--disco-config: without effect in the mode etcd-kv: dial-timeout")
        #expect(try settings(Self.node).discovery.ignoredNotice == nil)
    }

    @Test("discover takes the same options, needs no directory and no interface, and wants somewhere to look")
    func discover() throws {
        let parsed = try discoverSettings("--join a --bootstrap-expect 3 --voters 5 -d /d")
        #expect(parsed.discovery.join.count == 1 && parsed.bootstrapExpect == 3 && parsed.logLevel == .error)
        #expect(try discoverSettings("--disco-mode etcd-kv --log-level debug").logLevel == .debug)
        let nowhere = #expect(throws: SettingsFaults.self) { try discoverSettings("-i eth0") }
        #expect(nowhere?.faults == ["there is nowhere to look for other nodes: give --join or --disco-mode"])
        let wrong = #expect(throws: SettingsFaults.self) { try discoverSettings("--join a:9900 --voters 2") }
        #expect(wrong?.faults.count == 2)
    }

    @Test("the real modes are what the messages of the product list")
    func realModes() throws {
        let known = SettingsSurroundings().modes
        #expect(known == DiscoveryRegistry.modes && known.first == "static")
        var input = StartInput()
        input.give(.discoveryMode, "zookeeper")
        let error = #expect(throws: SettingsFaults.self) {
            try DiscoverSettings.validate(input, in: SettingsSurroundings())
        }
        #expect(error?.faults == ["--disco-mode \"zookeeper\": give one of " + known.joined(separator: ", ")])
    }
}
