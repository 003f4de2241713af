import Platform
import Synchronization
import Testing

@testable import Discovery

@Suite struct StaticDiscoveryTests {
    private static func resolver(
        _ table: [String: [String]], timeLimit: Duration = .seconds(5)
    ) -> NameResolver {
        NameResolver(timeLimit: timeLimit) { host in
            guard let texts = table[host] else {
                return .failure(DiscoveryError(.unresolvable, "cannot resolve \"\(host)\": Name or service not known"))
            }
            return .success(texts.compactMap { IPAddress($0) })
        }
    }

    private static func entries(_ text: String) -> [HostPort] { StaticDiscovery.parse([text]).entries }

    @Test("comma lists and repeated flags make one list, in order, without repetitions, with port 8800")
    func parse() {
        let (entries, faults) = StaticDiscovery.parse(["a, b:1", "[fd00::1],a:8800", " c "])
        #expect(faults.isEmpty)
        #expect(entries.map(\.description) == ["a:8800", "b:1", "[fd00::1]:8800", "c:8800"])
    }

    @Test("every bad element is reported, an empty one too, and the good ones are kept")
    func parseFaults() {
        let (entries, faults) = StaticDiscovery.parse(["a,,b:0", "", ":8800", "fd00::1"])
        #expect(entries.map(\.description) == ["a:8800"])
        #expect(faults.map(\.text) == ["", "b:0", "", ":8800", "fd00::1"])
    }

    @Test("names become addresses, in the order of the list, each once")
    func lookUp() async throws {
        let discovery = StaticDiscovery(
            Self.entries("one,192.0.2.7:1,two:9,one:8800,192.0.2.1"),
            resolver: Self.resolver(["one": ["192.0.2.1", "192.0.2.2"], "two": ["192.0.2.1"]]))
        let found = try await discovery.lookUp().map(\.description)
        #expect(found == ["192.0.2.1:8800", "192.0.2.2:8800", "192.0.2.7:1", "192.0.2.1:9"])
        let statistics = discovery.statistics
        #expect(statistics.mode == "static" && statistics.lastError == nil && statistics.lastContact != nil)
        #expect(statistics.lastAddresses.map(\.description) == found)
    }

    @Test("a dual-stack name counts once when the family of the cluster is known, a literal of the other stays")
    func family() async throws {
        let resolver = Self.resolver(["both": ["fd00::1", "192.0.2.1"], "six": ["fd00::2"]])
        let entries = Self.entries("both,six,[fd00::3]")
        let v4 = try await StaticDiscovery(entries, family: .v4, resolver: resolver).lookUp().map(\.description)
        #expect(v4 == ["192.0.2.1:8800", "[fd00::2]:8800", "[fd00::3]:8800"])
        let all = try await StaticDiscovery(entries, resolver: resolver).lookUp()
        #expect(all.count == 4)
    }

    @Test("a name that cannot be resolved does not fail the others, and is the last error until it can")
    func partialFailure() async throws {
        let knows = Atomic<Bool>(false)
        let discovery = StaticDiscovery(
            Self.entries("bad,192.0.2.1"),
            resolver: NameResolver(timeLimit: .seconds(5)) { host in
                knows.load(ordering: .relaxed)
                    ? .success(IPAddress("192.0.2.9").map { [$0] } ?? [])
                    : .failure(DiscoveryError(.unresolvable, "cannot resolve \"\(host)\""))
            })
        #expect(try await discovery.lookUp().map(\.description) == ["192.0.2.1:8800"])
        #expect(discovery.statistics.lastError == "cannot resolve \"bad\"")
        knows.store(true, ordering: .relaxed)
        #expect(try await discovery.lookUp().map(\.description) == ["192.0.2.9:8800", "192.0.2.1:8800"])
        #expect(discovery.statistics.lastError == nil)
    }

    @Test("when no name can be resolved the look-up throws, names each, and keeps the last answer in the statistics")
    func totalFailure() async throws {
        let discovery = StaticDiscovery(Self.entries("bad,worse,bad:1"), resolver: Self.resolver([:]))
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(error?.code == .unresolvable)
        #expect(
            error?.message == "none of the join addresses can be resolved: "
                + "cannot resolve \"bad\": Name or service not known; cannot resolve \"worse\": Name or service not known"
        )
        #expect(discovery.statistics.lastContact == nil)
    }

    @Test("an empty list has an empty answer and no error")
    func empty() async throws {
        let discovery = StaticDiscovery([])
        #expect(try await discovery.lookUp().isEmpty)
        #expect(discovery.description == "static, no addresses")
    }

    @Test("announcing is possible and does nothing; founding cannot be claimed")
    func optionalOperations() async throws {
        let address = HostPort(host: "192.0.2.1", port: 1)
        let discovery: any Discovery = StaticDiscovery([address])
        discovery.announce(
            DiscoveryAnnouncement(
                node: .init(nodeID: "n", apiAddress: nil, address: address, name: "", clusterID: nil, clusterName: "c"))
        )
        #expect(!discovery.canClaimFounding)
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.claimFounding(of: nil) }
        #expect(error?.code == .unsupported)
        #expect(discovery.statistics == DiscoveryStatistics(mode: "static"))
    }

    @Test("a name that hangs costs the look-up its limit of time and not the other addresses")
    func hangingName() async throws {
        let gate = Gate()
        defer { gate.open() }
        let resolver = NameResolver(timeLimit: .milliseconds(500)) { host in
            if host == "hangs" { gate.wait() }
            return .success(IPAddress("192.0.2.2").map { [$0] } ?? [])
        }
        let discovery = StaticDiscovery(Self.entries("hangs,good"), resolver: resolver)
        #expect(try await discovery.lookUp().map(\.description) == ["192.0.2.2:8800"])
        #expect(discovery.statistics.lastError?.contains("no answer within") == true)
    }
}
