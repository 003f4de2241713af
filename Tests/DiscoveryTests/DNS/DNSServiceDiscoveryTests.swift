import Platform
import Synchronization
import Testing

@testable import Discovery

@Suite struct DNSServiceDiscoveryTests {
    private static let name = "_dqlite-vip._tcp.lab"

    private static func discovery(
        _ resolver: FakeResolver, _ clock: HandClock = HandClock(), family: IPAddress.Family? = nil
    ) -> DNSServiceDiscovery {
        DNSServiceDiscovery(.init(name: "lab"), dnsContext(family: family), client: resolver.client(clock))
    }

    /// Records as "priority weight port target", and addresses that come along.
    private static func publish(
        _ services: [String], additional: [String: [String]] = [:], in resolver: FakeResolver
    ) {
        let records = services.map { text in
            let words = text.split(separator: " ").map(String.init)
            return DNSRecord(
                name: DNSName(written: name), ttl: 60,
                content: .service(
                    DNSService(
                        priority: UInt16(words[0]) ?? 0, weight: UInt16(words[1]) ?? 0, port: UInt16(words[2]) ?? 0,
                        target: DNSName(written: words[3]))))
        }
        var along: [DNSName: [DNSRecord]] = [:]
        for (target, addresses) in additional {
            let target = DNSName(written: target)
            along[target] = addresses.compactMap { IPAddress($0) }
                .map { DNSRecord(name: target, ttl: 60, content: .address($0)) }
        }
        let answer = DNSAnswer(
            records: records, canonicalName: DNSName(written: name), ttl: 60, additional: along, server: "192.0.2.53")
        resolver.zone.withLock { $0.outcomes[DNSQuestion(name: name, type: .srv)] = .success(answer) }
    }

    @Test("each node has its own port, from its record")
    func ports() async throws {
        let resolver = FakeResolver()
        Self.publish(
            ["0 0 8803 c.lab", "0 0 8801 a.lab", "0 0 8802 b.lab"],
            additional: ["a.lab": ["10.0.0.1"], "b.lab": ["10.0.0.2"], "c.lab": ["10.0.0.3"]], in: resolver)
        let discovery = Self.discovery(resolver)
        let found = try await discovery.lookUp().map(\.description)
        #expect(found == ["10.0.0.1:8801", "10.0.0.2:8802", "10.0.0.3:8803"])
        #expect(resolver.zone.withLock { $0.asked.count } == 1, "what came along is not asked for")
        #expect(discovery.statistics.lastAddresses.map(\.description) == found)
        #expect(discovery.statistics.lastError == nil)
    }

    @Test("lower priority values first, then higher weights, then by name and port: the same in every order of records")
    func order() async throws {
        let services = ["2 0 1 a.lab", "1 5 2 b.lab", "1 9 3 c.lab", "1 5 1 b.lab", "1 5 9 a.lab"]
        for rotation in services.indices {
            let resolver = FakeResolver()
            Self.publish(
                Array(services[rotation...] + services[..<rotation]),
                additional: ["a.lab": ["10.0.0.1"], "b.lab": ["10.0.0.2"], "c.lab": ["10.0.0.3"]], in: resolver)
            let found = try await Self.discovery(resolver).lookUp().map(\.description)
            #expect(found == ["10.0.0.3:3", "10.0.0.1:9", "10.0.0.2:1", "10.0.0.2:2", "10.0.0.1:1"])
        }
    }

    @Test("targets that came without address are resolved, as complete names; the same address and port count once")
    func missingAdditional() async throws {
        let resolver = FakeResolver()
        Self.publish(["0 0 1 a.lab", "0 0 1 b.lab", "0 0 2 b.lab"], additional: ["a.lab": ["10.0.0.1"]], in: resolver)
        resolver.set("b.lab.", ["10.0.0.1", "fd00::2"])
        let found = try await Self.discovery(resolver).lookUp().map(\.description)
        #expect(found == ["10.0.0.1:1", "[fd00::2]:1", "10.0.0.1:2", "[fd00::2]:2"])
        #expect(resolver.count("b.lab.", .a) == 1, "one target of two records is resolved once")
    }

    @Test("one dangling target does not fail the rest, and is told")
    func dangling() async throws {
        let resolver = FakeResolver()
        Self.publish(["0 0 1 a.lab", "0 0 1 gone.lab"], additional: ["a.lab": ["10.0.0.1"]], in: resolver)
        let discovery = Self.discovery(resolver)
        #expect(try await discovery.lookUp().map(\.description) == ["10.0.0.1:1"])
        #expect(discovery.statistics.lastError?.hasPrefix("the target \"gone.lab.\" does not exist (NXDOMAIN") == true)
        #expect(discovery.statistics.lastContact != nil)
    }

    @Test("when no target has an address the look-up throws and names each")
    func allDangling() async throws {
        let resolver = FakeResolver()
        Self.publish(["0 0 1 a.lab", "0 0 1 b.lab"], in: resolver)
        resolver.fail("a.lab.", .a, .timedOut, .silent(overTCP: false))
        resolver.fail("a.lab.", .aaaa, .timedOut, .silent(overTCP: false))
        let discovery = Self.discovery(resolver)
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(error?.code == .timedOut)
        #expect(error?.message.hasPrefix("no target of \"_dqlite-vip._tcp.lab\" can be used: ") == true)
        #expect(error?.message.contains("\"a.lab.\" (A and AAAA): 192.0.2.53 does not answer") == true)
        #expect(error?.message.contains("\"b.lab.\" does not exist") == true)
        #expect(discovery.statistics.lastError == error?.message)
    }

    @Test("of a target with both families the cluster's is taken; if it did not come along it is asked for")
    func family() async throws {
        let resolver = FakeResolver()
        Self.publish(
            ["0 0 1 a.lab", "0 0 2 b.lab"],
            additional: ["a.lab": ["10.0.0.1", "fd00::1"], "b.lab": ["10.0.0.2"]], in: resolver)
        resolver.set("b.lab.", ["10.0.0.2", "fd00::2"])
        let six = try await Self.discovery(resolver, family: .v6).lookUp().map(\.description)
        #expect(six == ["[fd00::1]:1", "[fd00::2]:2"])
        let four = try await Self.discovery(resolver, family: .v4).lookUp().map(\.description)
        #expect(four == ["10.0.0.1:1", "10.0.0.2:2"])
    }

    @Test("the target \".\" says that there is no service, and a port of 0 is nobody's")
    func unusableRecords() async throws {
        let resolver = FakeResolver()
        Self.publish(["0 0 0 ."], in: resolver)
        let error = await #expect(throws: DiscoveryError.self) { try await Self.discovery(resolver).lookUp() }
        #expect(error?.code == .unresolvable)
        #expect(error?.message.contains("the target \".\", which says that the service is not offered") == true)

        Self.publish(
            ["0 0 0 a.lab", "0 0 7 b.lab"], additional: ["a.lab": ["10.0.0.1"], "b.lab": ["10.0.0.2"]], in: resolver)
        let discovery = Self.discovery(resolver)
        #expect(try await discovery.lookUp().map(\.description) == ["10.0.0.2:7"])
        #expect(discovery.statistics.lastError?.contains("the SRV record for \"a.lab\" has the port 0") == true)
    }

    @Test("a service that does not exist is an error with its full name")
    func unknown() async throws {
        let error = await #expect(throws: DiscoveryError.self) { try await Self.discovery(FakeResolver()).lookUp() }
        #expect(error?.message.hasPrefix("\"_dqlite-vip._tcp.lab\" does not exist (NXDOMAIN for SRV") == true)
    }

    @Test("an answer with thousands of targets has bounded work")
    func manyTargets() async throws {
        let resolver = FakeResolver()
        Self.publish((0..<2000).map { "0 0 1 n\($0).lab" }, in: resolver)
        for number in 0..<2000 { resolver.set("n\(number).lab.", ["10.0.\(number / 250).\(number % 250)"]) }
        let discovery = Self.discovery(resolver, family: .v4)
        #expect(try await discovery.lookUp().count == DNSServiceDiscovery.mostTargets)
        #expect(discovery.statistics.lastError?.contains("more than 128 targets") == true)
    }

    @Test("the fields name and service, with defaults and faults")
    func fields() {
        func faults(_ object: [String: JSONValue]) -> [String] {
            DiscoveryRegistry.check(mode: "dns-srv", object).faults
        }
        #expect(faults([:]).isEmpty)
        #expect(faults(["name": .string("lab"), "service": .string("rqlite")]).isEmpty)
        #expect(faults(["port": .integer(1)]).count == 1)
        #expect(faults(["service": .string("_x")]).first?.contains("give the bare name") == true)
        #expect(faults(["service": .string("_x._tcp")]).first?.contains("give the bare name") == true)
        #expect(faults(["service": .string("x y")]).first?.contains("has a character") == true)
        let long = String(repeating: "a.", count: 124) + "a"
        #expect(faults(["name": .string(long)]).first?.contains("together with the service \"dqlite-vip\"") == true)
    }
}
