import Lab
import Platform
import Testing

@testable import Discovery

/// Look-ups against a real name server, dnsmasq, on a loopback port.
@Suite(.timeLimit(.minutes(2))) struct NameServerTests {
    private static let three = ["10.0.0.1 n.lab", "10.0.0.2 n.lab", "10.0.0.3 n.lab"]

    private static func dns(
        _ resolver: SystemResolver, _ name: String = "n.lab", family: IPAddress.Family? = nil
    ) -> DNSDiscovery {
        DNSDiscovery(.init(name: name), dnsContext(family: family), client: DNSClient(resolver))
    }

    private static func services(
        _ resolver: SystemResolver, family: IPAddress.Family? = nil
    ) -> DNSServiceDiscovery {
        DNSServiceDiscovery(.init(name: "lab", service: "x"), dnsContext(family: family), client: DNSClient(resolver))
    }

    private static func resolver(_ servers: NameServer...) -> SystemResolver {
        SystemResolver(servers: servers.map(\.endpoint))
    }

    private static func ask(_ resolver: SystemResolver, _ name: String) async throws -> Result<DNSAnswer, DNSFailure> {
        try await BlockingThread.run(named: "test") { resolver.answer(to: DNSQuestion(name: name, type: .a)) }
    }

    private static func texts(_ found: [HostPort]) -> [String] { found.map(\.description) }

    @Test("A and AAAA records, each family and both; upper case makes no difference")
    func families() async throws {
        let server = try await NameServer(hosts: Self.three + ["fd00::1 n.lab", "fd00::2 six.lab"])
        defer { server.stop() }
        let four = try await Self.dns(Self.resolver(server), family: .v4).lookUp()
        #expect(Self.texts(four) == ["10.0.0.1:8800", "10.0.0.2:8800", "10.0.0.3:8800"])
        #expect(try await Self.texts(Self.dns(Self.resolver(server), family: .v6).lookUp()) == ["[fd00::1]:8800"])
        #expect(try await Self.dns(Self.resolver(server), "N.LAB.").lookUp().count == 4)
        let six = try await Self.dns(Self.resolver(server), "six.lab", family: .v4).lookUp()
        #expect(Self.texts(six) == ["[fd00::2]:8800"], "a name without our family answers with what it has")
    }

    @Test("a name server with an IPv6 address")
    func ipv6Server() async throws {
        let port = try LoopbackPort.free()
        let server = try await NameServer(hosts: Self.three, address: "::1", port: port)
        defer { server.stop() }
        for first in ["::1", "127.0.0.1"] {
            // After an IPv4 one that nobody listens at, too.
            let servers = [HostPort(host: first, port: port), HostPort(host: "::1", port: port)]
            #expect(try await Self.dns(SystemResolver(servers: servers)).lookUp().count == 3)
        }
    }

    @Test("a chain of aliases")
    func aliases() async throws {
        let server = try await NameServer(hosts: Self.three, ["cname=a.lab,b.lab", "cname=b.lab,n.lab"])
        defer { server.stop() }
        #expect(try await Self.dns(Self.resolver(server), "a.lab").lookUp().count == 3)
        let answer = try await Self.ask(Self.resolver(server), "a.lab").get()
        #expect(answer.canonicalName.text == "n.lab")
    }

    @Test("the order of the answer goes round, that of the look-up stays")
    func roundRobin() async throws {
        let server = try await NameServer(hosts: Self.three)
        defer { server.stop() }
        var orders: Set<[String]> = []
        for _ in 0..<12 {
            let answer = try await Self.ask(Self.resolver(server), "n.lab").get()
            orders.insert(answer.records.compactMap { $0.address?.description })
            let found = try await Self.dns(Self.resolver(server)).lookUp()
            #expect(Self.texts(found) == ["10.0.0.1:8800", "10.0.0.2:8800", "10.0.0.3:8800"])
        }
        #expect(orders.count > 1, "or the server does not rotate, and this tests nothing")
    }

    @Test("a name that does not exist is an error, and found once it exists; records come and go")
    func changes() async throws {
        let server = try await NameServer()
        defer { server.stop() }
        let clock = HandClock()
        let resolver = Self.resolver(server)
        let client = DNSClient(now: { clock.now }, query: { resolver.answer(to: $0) })
        let discovery = DNSDiscovery(.init(name: "n.lab"), dnsContext(), client: client)
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(error?.code == .unresolvable)
        #expect(
            error?.message.hasPrefix(
                "\"n.lab\" does not exist (NXDOMAIN for A and AAAA from \(server.endpoint)): ") == true)
        for count in [1, 2, 3, 2] {
            try await server.setHosts(Array(Self.three.prefix(count)))
            clock.advance(by: .seconds(5))
            #expect(try await discovery.lookUp().count == count)
            #expect(discovery.statistics.lastError == nil)
        }
    }

    @Test("the server is asked again when the TTL is over, and not before")
    func timeToLive() async throws {
        let server = try await NameServer(["host-record=n.lab,10.0.0.1,2"])
        defer { server.stop() }
        let clock = HandClock()
        let resolver = Self.resolver(server)
        let client = DNSClient(now: { clock.now }, query: { resolver.answer(to: $0) })
        let discovery = DNSDiscovery(.init(name: "n.lab"), dnsContext(family: .v4), client: client)
        for (step, queries) in [(0, 1), (1000, 1), (999, 1), (1, 2), (1999, 2), (1, 3)] as [(Int64, Int)] {
            clock.advance(by: .milliseconds(step))
            _ = try await discovery.lookUp()
            #expect(server.count("query[A] n.lab") == queries)
        }
    }

    @Test("sixty addresses come over TCP, since they are too many for UDP")
    func sixty() async throws {
        let hosts = (1...60).map { "10.0.1.\($0) many.lab" }
        let server = try await NameServer(hosts: hosts)
        defer { server.stop() }
        let found = try await Self.dns(Self.resolver(server), "many.lab", family: .v4).lookUp()
        #expect(Self.texts(found) == (1...60).map { "10.0.1.\($0):8800" })
        // Once over UDP, once over TCP.
        #expect(server.count("query[A] many.lab") == 2)
    }

    @Test("a thousand addresses, 16 KiB, come whole")
    func thousand() async throws {
        let hosts = (0..<1000).map { "10.1.\($0 / 250).\($0 % 250) many.lab" }
        let server = try await NameServer(hosts: hosts)
        defer { server.stop() }
        #expect(try await Self.dns(Self.resolver(server), "many.lab", family: .v4).lookUp().count == 1000)
    }

    @Test("SERVFAIL is told as such, and is no time-out")
    func serverFailure() async throws {
        let upstream = try await NameServer(["host-record=signed.test,10.0.0.1", "local=/signed.test/"])
        defer { upstream.stop() }
        // It validates, and the zone is not signed: RFC 4035 section 5.5 demands SERVFAIL.
        let digest = String(repeating: "0", count: 64)
        let options = [
            "dnssec", "trust-anchor=.,1,8,2,\(digest)", "trust-anchor=signed.test,1,8,2,\(digest)",
            "server=/signed.test/127.0.0.1#\(upstream.endpoint.port)",
        ]
        let server = try await NameServer(options)
        defer { server.stop() }
        let discovery = Self.dns(Self.resolver(server), "signed.test")
        let start = BootClock.now
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(start.duration(to: BootClock.now) < .seconds(2), "and does not cost the time of one")
        #expect(error?.code == .unresolvable)
        #expect(
            error?.message.hasPrefix(
                "cannot resolve \"signed.test\" (A and AAAA): \(server.endpoint) answers SERVFAIL: ") == true,
            "\(error?.message ?? "")")
        // The next server is asked, and knows it.
        let both = Self.resolver(server, upstream)
        #expect(try await Self.texts(Self.dns(both, "signed.test").lookUp()) == ["10.0.0.1:8800"])
    }

    @Test("REFUSED is told as such, and the next server is asked")
    func refused() async throws {
        let server = try await NameServer()
        defer { server.stop() }
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.dns(Self.resolver(server), "n.elsewhere").lookUp()
        }
        #expect(error?.code == .refused)
        #expect(
            error?.message.hasPrefix(
                "cannot resolve \"n.elsewhere\" (A and AAAA): \(server.endpoint) answers REFUSED: ") == true)
        let other = try await NameServer(["host-record=n.elsewhere,10.0.0.1"])
        defer { other.stop() }
        let both = Self.resolver(server, other)
        #expect(try await Self.dns(both, "n.elsewhere").lookUp().count == 1)
    }

    @Test("a port where nobody listens: an error at once that names the server")
    func nobodyListens() async throws {
        let endpoint = HostPort(host: "127.0.0.1", port: try LoopbackPort.free())
        let start = BootClock.now
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.dns(SystemResolver(servers: [endpoint])).lookUp()
        }
        #expect(start.duration(to: BootClock.now) < .seconds(2))
        #expect(error?.code == .unreachable)
        #expect(error?.message.contains("(A and AAAA): \(endpoint) cannot be reached: correct") == true)
    }

    @Test("a server that stays silent costs the limit, and no more")
    func silentServer() async throws {
        let silent = try BadNameServer { _ in nil }
        defer { silent.stop() }
        let start = BootClock.now
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.dns(SystemResolver(timeLimit: .seconds(2), servers: [silent.endpoint])).lookUp()
        }
        let took = start.duration(to: BootClock.now)
        #expect(took >= .milliseconds(1900) && took < .seconds(4))
        #expect(error?.code == .timedOut)
        #expect(error?.message.contains("(A and AAAA): \(silent.endpoint) does not answer: are the name") == true)
    }

    @Test("the first server dead, by silence or by a closed port: the second answers")
    func firstServerDead() async throws {
        let silent = try BadNameServer { _ in nil }
        defer { silent.stop() }
        let closed = HostPort(host: "127.0.0.1", port: try LoopbackPort.free())
        let server = try await NameServer(hosts: Self.three)
        defer { server.stop() }
        for dead in [silent.endpoint, closed] {
            let resolver = SystemResolver(servers: [dead, server.endpoint])
            #expect(try await Self.dns(resolver, family: .v4).lookUp().count == 3)
        }
    }

    @Test(
        "a server that cuts its answers and then says nothing over TCP costs the limit, where libc would wait for ever")
    func silentOverTCP() async throws {
        let bad = try BadNameServer(listensOnTCP: true) { BadNameServer.answer($0, flags: 0x8380) }
        defer { bad.stop() }
        let start = BootClock.now
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.dns(SystemResolver(timeLimit: .seconds(2), servers: [bad.endpoint])).lookUp()
        }
        #expect(start.duration(to: BootClock.now) < .seconds(4))
        #expect(error?.code == .timedOut)
        #expect(error?.message.contains("does not answer over TCP, which this long an answer needs") == true)
    }

    @Test("a server that cuts its answers and does not listen on TCP is told as such")
    func closedTCP() async throws {
        let bad = try BadNameServer { BadNameServer.answer($0, flags: 0x8380) }
        defer { bad.stop() }
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.dns(SystemResolver(servers: [bad.endpoint])).lookUp()
        }
        #expect(error?.code == .unreachable)
        #expect(error?.message.contains("cannot be reached over TCP, which this long an answer needs") == true)
    }

    @Test(
        "a server that knows nothing and asks nobody does not stop the look-up: libc with a pfcode would wait for ever")
    func referral() async throws {
        let bad = try BadNameServer { BadNameServer.answer($0, flags: 0x8100) }
        defer { bad.stop() }
        let start = BootClock.now
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.dns(SystemResolver(servers: [bad.endpoint])).lookUp()
        }
        #expect(start.duration(to: BootClock.now) < .seconds(2))
        #expect(error?.message.contains("does not know and does not ask others") == true)
        let server = try await NameServer(hosts: Self.three)
        defer { server.stop() }
        let resolver = SystemResolver(servers: [bad.endpoint, server.endpoint])
        #expect(try await Self.dns(resolver).lookUp().count == 3)
    }

    @Test("answers to other questions, or with another id, are not believed")
    func forged() async throws {
        let forger = try BadNameServer { query in
            var answer = MessageBuilder.answer("n.lab", type: 1, [("n.lab", 1, [10, 6, 6, 6])])
            // The right id with another name, or the right name with another id.
            if query[1] % 2 == 0 { answer[13] = UInt8(ascii: "m") }
            answer[0] = query[0]
            answer[1] = query[1] % 2 == 0 ? query[1] : query[1] &+ 1
            return answer
        }
        defer { forger.stop() }
        for _ in 0..<2 {
            let resolver = SystemResolver(timeLimit: .seconds(1), servers: [forger.endpoint])
            let outcome = try await Self.ask(resolver, "n.lab")
            guard case .failure(let failure) = outcome else {
                Issue.record("believed: \(outcome)")
                continue
            }
            #expect(failure.kind == .timedOut)
        }
    }

    @Test("SRV: a port for each node, and the addresses come along with the answer")
    func services() async throws {
        let hosts = ["10.0.0.1 n1.lab", "10.0.0.2 n2.lab", "fd00::2 n2.lab", "10.0.0.3 n3.lab"]
        let options = (1...3).map { "srv-host=_x._tcp.lab,n\($0).lab,880\($0)" }
        let server = try await NameServer(hosts: hosts, options)
        defer { server.stop() }
        let found = try await Self.services(Self.resolver(server), family: .v4).lookUp()
        #expect(Self.texts(found) == ["10.0.0.1:8801", "10.0.0.2:8802", "10.0.0.3:8803"])
        #expect(server.count("query[A]") == 0)
    }

    @Test("SRV: targets without additional section are resolved, dangling ones are told and do not fail the rest")
    func targetsElsewhere() async throws {
        let upstream = try await NameServer(hosts: ["10.0.0.1 n1.far", "10.0.0.2 n2.far"], ["local=/far/"])
        defer { upstream.stop() }
        let options =
            ["cache-size=0", "server=/far/127.0.0.1#\(upstream.endpoint.port)"]
            + ["n1", "n2", "gone"].map { "srv-host=_x._tcp.lab,\($0).far,8801" }
        let server = try await NameServer(options)
        defer { server.stop() }
        let discovery = Self.services(Self.resolver(server))
        #expect(try await Self.texts(discovery.lookUp()) == ["10.0.0.1:8801", "10.0.0.2:8801"])
        #expect(server.count("query[A] n1.far") == 1)
        #expect(
            discovery.statistics.lastError?.hasPrefix(
                "the target \"gone.far.\" does not exist (NXDOMAIN for A and AAAA from \(server.endpoint)): ")
                == true)
    }

    @Test("SRV: priorities and weights decide the order, whatever the order of the answer")
    func priorities() async throws {
        let hosts = (1...4).map { "10.0.0.\($0) n\($0).lab" }
        let options = [("n1", 20, 1), ("n2", 10, 1), ("n3", 10, 9), ("n4", 10, 1)].map { name, priority, weight in
            "srv-host=_x._tcp.lab,\(name).lab,8800,\(priority),\(weight)"
        }
        for order in [options, options.reversed()] {
            let server = try await NameServer(hosts: hosts, order)
            defer { server.stop() }
            for _ in 0..<3 {
                let found = try await Self.services(Self.resolver(server)).lookUp()
                #expect(found.map(\.host) == ["10.0.0.3", "10.0.0.2", "10.0.0.4", "10.0.0.1"])
            }
        }
    }

    @Test("SRV: sixty nodes with long names, over TCP")
    func sixtyServices() async throws {
        let hosts = (1...60).map { "10.0.1.\($0) node-number-\($0).rack.lab" }
        let options = (1...60).map { "srv-host=_x._tcp.lab,node-number-\($0).rack.lab,\(9000 + $0)" }
        let server = try await NameServer(hosts: hosts, options)
        defer { server.stop() }
        let found = try await Self.services(Self.resolver(server), family: .v4).lookUp()
        #expect(Set(Self.texts(found)) == Set((1...60).map { "10.0.1.\($0):\(9000 + $0)" }))
    }

    @Test("SRV: no such service")
    func noService() async throws {
        let server = try await NameServer()
        defer { server.stop() }
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.services(Self.resolver(server)).lookUp()
        }
        #expect(error?.message.hasPrefix("\"_x._tcp.lab\" does not exist (NXDOMAIN for SRV from") == true)
    }

    @Test("SRV: the target \".\" says that the service is not offered")
    func notOffered() async throws {
        let server = try await NameServer(["srv-host=_x._tcp.lab"])
        defer { server.stop() }
        let error = await #expect(throws: DiscoveryError.self) {
            try await Self.services(Self.resolver(server)).lookUp()
        }
        #expect(error?.message.contains("the service is not offered") == true)
    }
}
