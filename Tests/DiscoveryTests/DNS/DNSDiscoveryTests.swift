import Logging
import Platform
import Testing

@testable import Discovery

/// What a backend is told in these tests.
func dnsContext(family: IPAddress.Family? = nil) -> DiscoveryContext {
    DiscoveryContext(
        key: "dqlite-vip", clusterPort: 8800, family: family, interface: "eth0", logger: Logger(label: "test"))
}

@Suite struct DNSDiscoveryTests {
    private static func discovery(
        _ resolver: FakeResolver, _ clock: HandClock = HandClock(), name: String = "n.lab", port: UInt16? = nil,
        family: IPAddress.Family? = nil
    ) -> DNSDiscovery {
        DNSDiscovery(.init(name: name, port: port), dnsContext(family: family), client: resolver.client(clock))
    }

    @Test("the addresses of the name with the port of the cluster, or the configured one")
    func lookUp() async throws {
        let resolver = FakeResolver()
        resolver.set("n.lab", ["10.0.0.2", "10.0.0.1", "fd00::1"])
        let found = try await Self.discovery(resolver).lookUp()
        #expect(found.map(\.description) == ["10.0.0.1:8800", "10.0.0.2:8800", "[fd00::1]:8800"])
        let six = try await Self.discovery(resolver, port: 4002, family: .v6).lookUp()
        #expect(six.map(\.description) == ["[fd00::1]:4002"])
    }

    @Test("the statistics show the last answer and the last error, which goes when it is over")
    func statistics() async throws {
        let (resolver, clock) = (FakeResolver(), HandClock())
        let discovery = Self.discovery(resolver, clock)
        #expect(discovery.statistics == DiscoveryStatistics(mode: "dns"))
        await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(discovery.statistics.lastError?.contains("NXDOMAIN") == true)
        #expect(discovery.statistics.lastContact == nil)
        clock.advance(by: .seconds(5))
        resolver.set("n.lab", ["10.0.0.1"])
        resolver.fail("n.lab", .aaaa, .serverFailure, .code(.serverFailure))
        let found = try await discovery.lookUp()
        #expect(discovery.statistics.lastAddresses == found && discovery.statistics.lastContact != nil)
        #expect(discovery.statistics.lastError?.contains("(AAAA): 192.0.2.53 answers SERVFAIL") == true)
        clock.advance(by: .seconds(5))
        resolver.set("n.lab", [])
        await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(discovery.statistics.lastAddresses == found, "the last answer stays")
        clock.advance(by: .seconds(5))
        resolver.set("n.lab", ["10.0.0.3"])
        _ = try await discovery.lookUp()
        #expect(discovery.statistics.lastError == nil)
    }

    @Test("a name that does not exist, or has no address, is an error that says what to create")
    func absent() async {
        let resolver = FakeResolver()
        let remedy =
            "create the record or correct the name; that of a Kubernetes headless service has addresses before the pods "
            + "are ready only with publishNotReadyAddresses"
        let unknown = await #expect(throws: DiscoveryError.self) { try await Self.discovery(resolver).lookUp() }
        #expect(
            unknown
                == DiscoveryError(
                    .unresolvable, "\"n.lab\" does not exist (NXDOMAIN for A and AAAA from 192.0.2.53): \(remedy)"))
        resolver.set("n.lab", [])
        let empty = await #expect(throws: DiscoveryError.self) { try await Self.discovery(resolver).lookUp() }
        #expect(
            empty
                == DiscoveryError(
                    .unresolvable, "\"n.lab\" has no A or AAAA record (asked 192.0.2.53): \(remedy)"))
    }

    @Test(
        "each kind of failure has its code, the server's name and a remedy",
        arguments: [
            (
                .serverFailure, .code(.serverFailure), .unresolvable, "192.0.2.53 answers SERVFAIL",
                "the fault lies with that name server or one that it asks, its log knows more"
            ),
            (
                .refused, .code(.refused), .refused, "192.0.2.53 answers REFUSED",
                "correct the name servers in /etc/resolv.conf, or what that server permits this host"
            ),
            (
                .timedOut, .silent(overTCP: false), .timedOut, "192.0.2.53 does not answer",
                "are the name servers of /etc/resolv.conf up, and may UDP and TCP pass to them?"
            ),
            (
                .unreachable, .unreachable(overTCP: false), .unreachable, "192.0.2.53 cannot be reached",
                "correct the name servers in /etc/resolv.conf, or the route to them"
            ),
            (
                .malformed, .malformed("it ends too early"), .malformed,
                "192.0.2.53 gives an answer that cannot be understood, it ends too early", "is that a name server?"
            ),
        ] as [(DNSFailure.Kind, DNSFailure.Reply, DiscoveryError.Code, String, String)])
    func failures(
        kind: DNSFailure.Kind, reply: DNSFailure.Reply, code: DiscoveryError.Code, said: String, remedy: String
    ) async {
        let resolver = FakeResolver()
        resolver.fail("n.lab", .a, kind, reply)
        resolver.fail("n.lab", .aaaa, kind, reply)
        let error = await #expect(throws: DiscoveryError.self) { try await Self.discovery(resolver).lookUp() }
        #expect(error == DiscoveryError(code, "cannot resolve \"n.lab\" (A and AAAA): \(said): \(remedy)"))
    }

    @Test("different failures of A and AAAA are both told")
    func differentFailures() async {
        let resolver = FakeResolver()
        resolver.fail("n.lab", .a, .serverFailure, .code(.serverFailure))
        let error = await #expect(throws: DiscoveryError.self) { try await Self.discovery(resolver).lookUp() }
        #expect(error?.message.contains("(A): 192.0.2.53 answers SERVFAIL") == true)
        #expect(error?.message.contains("NXDOMAIN for AAAA") == true)
    }

    @Test("names tried with search domains are named, and what was said of each")
    func searched() {
        func message(_ kind: DNSFailure.Kind, _ reply: DNSFailure.Reply) -> String {
            let failure = DNSFailure(
                question: DNSQuestion(name: "n", type: .a), kind: kind,
                replies: [
                    .init(name: "n.lab", server: "192.0.2.53", reply: .code(.nameError)),
                    .init(name: "n", server: "192.0.2.53", reply: reply),
                ])
            return DiscoveryError([failure]).message
        }
        #expect(
            message(.noName, .code(.nameError)).hasPrefix(
                "\"n\" does not exist (NXDOMAIN for A from 192.0.2.53, tried as \"n.lab\", \"n\"): "))
        #expect(
            message(.refused, .code(.refused)).hasPrefix(
                "cannot resolve \"n\" (A): as \"n.lab\" 192.0.2.53 answers NXDOMAIN, as \"n\" 192.0.2.53 answers REFUSED: "
            ))
    }

    @Test("that AAAA was not asked for because of no-aaaa is said")
    func noAAAA() {
        let failure = DNSFailure(question: DNSQuestion(name: "n", type: .aaaa), kind: .noRecord)
        #expect(
            DiscoveryError([failure]).message.hasPrefix(
                "\"n\" has no AAAA record (not asked for: no-aaaa stands in /etc/resolv.conf): "))
    }

    @Test("without fields the name is dqlite-vip and the port that of the cluster")
    func defaults() {
        var fields = ConfigurationFields([:])
        #expect(DNSDiscovery.configuration(from: &fields) == .init(name: "dqlite-vip", port: nil))
        #expect(fields.faults.isEmpty)
    }

    @Test("rqlite's fields are understood, others are faults")
    func fields() {
        let good: [String: JSONValue] = ["name": .string("nodes.example.com"), "port": .integer(4002)]
        #expect(DiscoveryRegistry.check(mode: "dns", good).faults.isEmpty)
        #expect(DiscoveryRegistry.check(mode: "dns", ["service": .string("x")]).faults.count == 1)
        #expect(DiscoveryRegistry.check(mode: "dns", ["port": .integer(0)]).faults.count == 1)
        #expect(DiscoveryRegistry.check(mode: "dns", ["port": .integer(65536)]).faults.count == 1)
    }

    @Test(
        "a name that cannot be one is a fault, said with the reason",
        arguments: [
            ("10.0.0.1", "is an address"), ("fd00::1", "is an address"), ("a b", "has a character"),
            ("http://a", "has a character"), ("a:53", "has a character"), ("a..b", "nothing before, after or between"),
            (".", "nothing before, after or between"), ("-\u{e9}t\u{e9}", "xn--"),
            (String(repeating: "a", count: 64), "at most 63"),
            (String(repeating: "a.", count: 127) + "b", "at most 253"),
        ])
    func badNames(name: String, reason: String) {
        let faults = DiscoveryRegistry.check(mode: "dns", ["name": .string(name)]).faults
        #expect(faults.count == 1 && faults.first?.contains(reason) == true, "\(faults)")
        #expect(faults.first?.hasPrefix("the field \"name\": ") == true)
    }

    @Test(
        "usual names, absolute ones and the longest are taken",
        arguments: [
            "a", "a.b.", "Db-1_x.example.com", String(repeating: "a.", count: 126) + "b",
        ])
    func goodNames(name: String) {
        #expect(DiscoveryRegistry.check(mode: "dns", ["name": .string(name)]).faults.isEmpty)
    }

    @Test("the registry makes both backends")
    func registry() throws {
        #expect(Set(DiscoveryRegistry.modes).isSuperset(of: ["dns", "dns-srv"]))
        let dns = try DiscoveryRegistry.make(mode: "dns", ["name": .string("n.lab")], dnsContext())
        #expect(dns?.description == "dns: the addresses of \"n.lab\", port 8800")
        let service = try DiscoveryRegistry.make(mode: "dns-srv", [:], dnsContext())
        #expect(service?.description == "dns-srv: the targets of \"_dqlite-vip._tcp.dqlite-vip\"")
        #expect(service?.canClaimFounding == false)
    }
}
