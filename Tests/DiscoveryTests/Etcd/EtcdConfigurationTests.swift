import Testing

@testable import Discovery

@Suite("etcd: configuration")
struct EtcdConfigurationTests {
    private func read(_ fields: [String: JSONValue]) -> (EtcdConfiguration, faults: [String], ignored: [String]) {
        var reader = ConfigurationFields(fields)
        let configuration = EtcdConfiguration(from: &reader)
        reader.finish()
        return (configuration, reader.faults, reader.ignored)
    }

    private func endpoints(_ list: JSONValue, _ more: [String: JSONValue] = [:]) -> [String] {
        read(more.merging(["endpoints": list]) { $1 }).0.endpoints.map(\.description)
    }

    @Test("nothing given is etcd on this host, without TLS")
    func defaults() {
        let (configuration, faults, ignored) = read([:])
        #expect(configuration.endpoints.map(\.description) == ["http://localhost:2379"])
        #expect(configuration == EtcdConfiguration())
        #expect(configuration.timeLimit == .seconds(3))
        #expect(faults.isEmpty && ignored.isEmpty)
    }

    @Test(
        "rqlite's whole configuration is accepted, with hyphens, underscores and any case; what has no meaning is noted"
    )
    func rqlite() {
        let (configuration, faults, ignored) = read([
            "Endpoints": .array([.string("10.0.0.1:2379"), .string("10.0.0.2:2379")]),
            "auto-sync-interval": .integer(0),
            "dial-timeout": .integer(5_000_000_000), "dial_keep_alive_time": .integer(1),
            "dial-keep-alive-timeout": .integer(2), "max-call-send-msg-size": .integer(3),
            "max-call-recv-msg-size": .integer(4), "username": .string("u"), "password": .string("p"),
            "reject-old-cluster": .bool(true), "permit-without-stream": .bool(false),
        ])
        #expect(faults == [])
        #expect(ignored.count == 7)
        #expect(configuration.endpoints.map(\.description) == ["http://10.0.0.1:2379", "http://10.0.0.2:2379"])
        #expect(configuration.timeLimit == .seconds(5))
        #expect(configuration.username == "u" && configuration.password == "p")
    }

    @Test("endpoints: with and without a scheme, a port and brackets; each once")
    func endpointForms() {
        #expect(
            endpoints(
                .array(
                    ["a", "http://a:2379/", "b:1", "https://c", "HTTPS://d:2", "[fd00::1]", "http://[fd00::2]:3"].map {
                        .string($0)
                    })) == [
                    "http://a:2379", "http://b:1", "https://c:2379", "https://d:2", "http://[fd00::1]:2379",
                    "http://[fd00::2]:3",
                ])
        #expect(endpoints(.string("a:1")) == ["http://a:1"])
    }

    @Test("any field of TLS makes https of endpoints without a scheme, the default one, too")
    func impliedTLS() {
        let fields: [[String: JSONValue]] = [
            ["ca_file": .string("/ca")], ["server-name": .string("n")], ["insecure_skip_verify": .bool(true)],
            ["cert_file": .string("/c"), "key_file": .string("/k")],
        ]
        for field in fields {
            #expect(endpoints(.string("a:1"), field) == ["https://a:1"])
            #expect(read(field).0.endpoints.map(\.description) == ["https://localhost:2379"])
        }
        #expect(endpoints(.string("a:1"), ["insecure_skip_verify": .bool(false)]) == ["http://a:1"])
    }

    @Test(
        "faults name the field, what is wrong and what to do",
        arguments: [
            (["endpoints": .array([])], "the list is empty"), (["endpoints": .string("a:b")], "\"b\" is not a number"),
            (["endpoints": .string("unix:///run/etcd")], "neither http nor https"),
            (["endpoints": .string("http://a:1/v3")], "a:1/v3"), (["endpoints": .string("")], "endpoints"),
            (["endpoints": .array([.string("")])], "the host is missing"),
            (["endpoints": .integer(1)], "a list of texts"),
            (["endpoints": .string("http://a"), "ca_file": .string("/ca")], "write https://"),
            (["username": .string("u")], "password"), (["password": .string("secret")], "username"),
            (["cert_file": .string("/c")], "key_file"), (["key_file": .string("/k")], "cert_file"),
            (["dial-timeout": .string("2 days")], "dial-timeout"), (["dial-timeout": .integer(-1)], "dial-timeout"),
            (["endpoint": .string("a")], "\"endpoint\" is not known"),
        ] as [([String: JSONValue], String)])
    func faults(fields: [String: JSONValue], part: String) {
        let (_, faults, _) = read(fields)
        if fields["endpoints"] == .string("") {
            // An empty text counts as not given, as it does to Go's programs.
            #expect(faults == [])
        } else {
            #expect(faults.count == 1 && faults.first?.contains(part) == true, "\(faults)")
        }
    }

    @Test("no password gets into a message, not even one within an endpoint")
    func noSecrets() {
        let (_, faults, _) = read(["endpoints": .string("http://u:hunter2@a:1"), "password": .string("hunter2")])
        #expect(faults.count == 2 && !faults.joined().contains("hunter2"))
    }

    @Test("a file that cannot be read is told when the store is made, with the field and the path")
    func missingFile() {
        var configuration = EtcdConfiguration()
        configuration.caFile = "/nowhere/ca.pem"
        let error = #expect(throws: DiscoveryError.self) { try EtcdStore(configuration, key: "k") }
        #expect(error?.message.contains("/nowhere/ca.pem, which --disco-config names as ca_file") == true)
    }

    @Test("the mode is registered, and its configuration checked without I/O")
    func registered() {
        #expect(DiscoveryRegistry.modes.contains("etcd-kv"))
        let (faults, ignored) = DiscoveryRegistry.check(
            mode: "etcd-kv", ["user": .string("u"), "reject-old-cluster": .bool(true)])
        #expect(faults.count == 1 && ignored == ["reject-old-cluster"])
    }

    @Test("the keys are rqlite's; the command for the way out can be pasted into a shell and has no password in it")
    func names() throws {
        var configuration = EtcdConfiguration()
        (configuration.username, configuration.password) = ("u", "secret")
        let store = try EtcdStore(configuration, key: "it's")
        #expect(store.fullName("leader") == "/it's/leader" && store.fullName("nodes/x") == "/it's/nodes/x")
        #expect(store.place == "etcd at http://localhost:2379")
        #expect(
            store.deleteLeaderCommand
                == #"etcdctl --endpoints=http://localhost:2379 --user=u del '/it'\''s/leader'"#)
    }
}
