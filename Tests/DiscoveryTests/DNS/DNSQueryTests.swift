import Glibc
import Platform
import Testing

@testable import Discovery

@Suite struct DNSQueryTests {
    private static let start = BootInstant(nanoseconds: 1_000_000_000)

    /// Plays a query against servers that reply by a function, and that take the time they say.
    private struct Play {
        var asked: [String] = []
        var took: Duration = .zero
        var outcome: Result<DNSAnswer, DNSFailure>

        init(
            _ name: String, type: DNSRecordType = .a, _ settings: DNSSettings, limit: Duration = .seconds(5),
            firstServer: Int = 0, reply: (DNSQuery.Ask) -> (DNSQuery.Reply, Duration)
        ) {
            var query = DNSQuery(
                DNSQuestion(name: name, type: type), settings, until: DNSQueryTests.start.advanced(by: limit),
                firstServer: firstServer)
            var now = DNSQueryTests.start
            while true {
                switch query.next(at: now) {
                case .ask(let ask):
                    let how = (ask.overTCP ? " tcp" : "") + (ask.withEDNS ? " edns" : "")
                    asked.append("\(settings.servers[ask.server]) \(ask.name)\(how) \(ask.seconds)s")
                    let (answer, duration) = reply(ask)
                    now = now.advanced(by: duration)
                    query.heard(answer)
                    precondition(asked.count < 1000, "a query must end")
                case .end(let outcome):
                    self.outcome = outcome
                    took = DNSQueryTests.start.duration(to: now)
                    return
                }
            }
        }

        var kind: DNSFailure.Kind? { if case .failure(let failure) = outcome { failure.kind } else { nil } }

        var replies: [String]? {
            guard case .failure(let failure) = outcome else { return nil }
            return failure.replies.map { "\($0.server) \($0.reply)" }
        }

        var addresses: [String]? {
            guard case .success(let answer) = outcome else { return nil }
            return answer.records.compactMap { $0.address?.description }
        }
    }

    private static func settings(
        _ servers: Int = 1, domains: [String] = [], _ change: (inout DNSSettings) -> Void = { _ in }
    ) -> DNSSettings {
        var settings = DNSSettings(servers: (1...servers).map { "s\($0)" }, domains: domains)
        change(&settings)
        return settings
    }

    private static func good(_ ask: DNSQuery.Ask) -> (DNSQuery.Reply, Duration) {
        (.message(MessageBuilder.answer(ask.name, type: 1, [(ask.name, 1, [10, 0, 0, 1])])), .milliseconds(1))
    }

    private static func code(
        _ code: UInt16, _ ask: DNSQuery.Ask, flags: UInt16 = MessageBuilder.usualFlags
    ) -> (DNSQuery.Reply, Duration) {
        (.message(MessageBuilder.answer(ask.name, type: 1, flags: flags, code: code)), .milliseconds(1))
    }

    private static func silent(_ ask: DNSQuery.Ask) -> (DNSQuery.Reply, Duration) {
        (.failed(ETIMEDOUT), .seconds(ask.seconds))
    }

    @Test("the order of names is that of resolv.conf: ndots, the search list, a last dot")
    func candidates() {
        let settings = Self.settings(domains: ["a.lab", "b.lab"])
        #expect(settings.candidates(for: "x") == ["x.a.lab", "x.b.lab", "x"])
        #expect(settings.candidates(for: "x.y") == ["x.y", "x.y.a.lab", "x.y.b.lab"])
        #expect(settings.candidates(for: "x.") == ["x."])
        let kubernetes = Self.settings(domains: ["ns.svc.cluster.local", "."]) { $0.ndots = 5 }
        #expect(kubernetes.candidates(for: "_x._tcp.db") == ["_x._tcp.db.ns.svc.cluster.local", "_x._tcp.db"])
        let spare = Self.settings(domains: ["a.lab"]) { $0.spareTopLevel = true }
        #expect(spare.candidates(for: "x") == ["x.a.lab"])
        #expect(Self.settings { $0.spareTopLevel = true }.candidates(for: "x") == ["x"])
        let long = String(repeating: "a.", count: 124) + "aaaa"
        #expect(settings.candidates(for: long) == [long], "a name that is too long with a domain is left out")
    }

    @Test("the first server that answers is enough")
    func firstAnswer() {
        let play = Play("x.lab", Self.settings(3), reply: Self.good)
        #expect(play.asked == ["s1 x.lab 1s"] && play.addresses == ["10.0.0.1"])
    }

    @Test("a silent server is followed by the next, and asked again when all were silent, within the limit")
    func silence() {
        let second = Play("x.lab", Self.settings(2)) { $0.server == 0 ? Self.silent($0) : Self.good($0) }
        #expect(second.asked == ["s1 x.lab 1s", "s2 x.lab 1s"] && second.addresses != nil)
        for count in 1...3 {
            let play = Play("x.lab", Self.settings(count, domains: ["lab"]), reply: Self.silent)
            #expect(play.kind == .timedOut && play.took == .seconds(5))
            #expect(play.replies == (1...count).map { "s\($0) does not answer" })
            #expect(!play.asked.contains { $0.contains("x.lab.lab") }, "no server, no other name")
        }
        #expect(Play("x.lab", Self.settings(), reply: Self.silent).asked == ["s1 x.lab 2s", "s1 x.lab 3s"])
    }

    @Test("a time-out and a number of attempts in resolv.conf below ours are kept")
    func configuredTimeout() {
        let settings = Self.settings {
            $0.timeout = 1
            $0.attempts = 3
        }
        let play = Play("x.lab", settings, reply: Self.silent)
        #expect(play.asked == ["s1 x.lab 1s", "s1 x.lab 1s", "s1 x.lab 1s"] && play.took == .seconds(3))
    }

    @Test("SERVFAIL and REFUSED make the next server be asked, not the same again, and are told apart")
    func serverFaults() {
        let rescued = Play("x.lab", Self.settings(3)) { ask in
            switch ask.server {
            case 0: Self.code(2, ask)
            case 1: Self.code(5, ask)
            default: Self.good(ask)
            }
        }
        #expect(rescued.asked.count == 3 && rescued.addresses == ["10.0.0.1"])
        let failed = Play("x.lab", Self.settings(2)) { Self.code($0.server == 0 ? 5 : 2, $0) }
        #expect(failed.kind == .serverFailure && failed.asked.count == 2)
        #expect(failed.replies == ["s1 answers REFUSED", "s2 answers SERVFAIL"])
        #expect(Play("x.lab", Self.settings()) { Self.code(5, $0) }.kind == .refused)
        #expect(Play("x.lab", Self.settings()) { Self.code(9, $0) }.replies == ["s1 answers RCODE 9"])
    }

    @Test("a server that knows nothing and asks nobody is followed by the next")
    func referral() {
        let play = Play("x.lab", Self.settings(2)) { ask in
            ask.server == 0 ? Self.code(0, ask, flags: 0x8100) : Self.good(ask)
        }
        #expect(play.addresses == ["10.0.0.1"])
        let alone = Play("x.lab", Self.settings()) { Self.code(0, $0, flags: 0x8100) }
        #expect(alone.kind == .serverFailure && alone.replies == ["s1 does not know and does not ask others"])
    }

    @Test("an alias that leads nowhere is named, with what it leads to")
    func looseAlias() {
        let play = Play("loose.lab", Self.settings()) { ask in
            let alias = ("loose.lab", UInt16(5), MessageBuilder.name("gone.lab"))
            return (.message(MessageBuilder.answer(ask.name, type: 1, code: 3, [alias])), .milliseconds(1))
        }
        guard case .failure(let failure) = play.outcome else { return #expect(Bool(false), "it failed") }
        #expect(
            DiscoveryError([failure]).message.hasPrefix(
                "\"loose.lab\" is an alias of \"gone.lab\", which does not exist (NXDOMAIN for A from s1)"))
    }

    @Test("NXDOMAIN and a missing record are certain: no other server is asked, but the other names are")
    func certain() {
        let play = Play("x", Self.settings(2, domains: ["a.lab", "b.lab"])) { Self.code(3, $0) }
        #expect(play.asked == ["s1 x.a.lab 1s", "s1 x.b.lab 1s", "s1 x 1s"] && play.kind == .noName)
        let mixed = Play("x", Self.settings(domains: ["a.lab"])) { Self.code($0.name == "x" ? 3 : 0, $0) }
        #expect(mixed.kind == .noRecord)
        #expect(mixed.replies == ["s1 answers NOERROR", "s1 answers NXDOMAIN"])
        let found = Play("x", Self.settings(domains: ["a.lab", "b.lab"])) { ask in
            ask.name == "x.b.lab" ? Self.good(ask) : Self.code(3, ask)
        }
        #expect(found.addresses == ["10.0.0.1"] && found.asked.count == 2)
    }

    @Test("the first name that may exist decides, whatever is said of the others")
    func faultAmongNames() {
        func kind(_ codes: [UInt16]) -> DNSFailure.Kind? {
            let names = ["x.a.lab", "x.b.lab", "x"]
            let settings = Self.settings(domains: ["a.lab", "b.lab"])
            return Play("x", settings) { ask in
                Self.code(zip(names, codes).first { $0.0 == ask.name }?.1 ?? 9, ask)
            }.kind
        }
        #expect(kind([2, 3, 3]) == .serverFailure)
        #expect(kind([3, 5, 3]) == .refused)
        #expect(kind([0, 2, 5]) == .noRecord)
        #expect(kind([5, 0, 3]) == .refused)
        #expect(kind([3, 3, 3]) == .noName)
    }

    @Test("for the next name the server that answered is asked first, so a dead one costs its time once")
    func orderOfServers() {
        let play = Play("x", Self.settings(2, domains: ["a.lab", "b.lab"])) { ask in
            ask.server == 0 ? Self.silent(ask) : Self.code(3, ask)
        }
        #expect(play.asked == ["s1 x.a.lab 1s", "s2 x.a.lab 1s", "s2 x.b.lab 1s", "s2 x 1s"])
    }

    @Test("rotate begins with another server")
    func rotation() {
        let play = Play("x.lab", Self.settings(3), firstServer: 2) { Self.code(2, $0) }
        #expect(play.asked.map { $0.prefix(2) } == ["s3", "s1", "s2"])
    }

    @Test("a truncated answer is asked for again over TCP, from the same server")
    func truncation() {
        let flags = MessageBuilder.usualFlags | MessageBuilder.truncated
        let play = Play("x.lab", Self.settings(2)) { $0.overTCP ? Self.good($0) : Self.code(0, $0, flags: flags) }
        #expect(play.asked == ["s1 x.lab 1s", "s1 x.lab tcp 1s"] && play.addresses == ["10.0.0.1"])
        let closed = Play("x.lab", Self.settings()) { ask in
            ask.overTCP ? (.failed(ECONNREFUSED), .zero) : Self.code(0, ask, flags: flags)
        }
        #expect(closed.kind == .unreachable)
        #expect(closed.replies == ["s1 cannot be reached over TCP, which this long an answer needs"])
        let hanging = Play("x.lab", Self.settings()) { ask in
            ask.overTCP ? Self.silent(ask) : Self.code(0, ask, flags: flags)
        }
        #expect(hanging.kind == .timedOut && hanging.took <= .milliseconds(5500))
        let direct = Play("x.lab", Self.settings { $0.usesTCP = true }, reply: Self.good)
        #expect(direct.asked == ["s1 x.lab tcp 2s"])
    }

    @Test("EDNS is used when the host says so, and left out for a server that does not know it", arguments: [1, 4])
    func edns(code: UInt16) {
        let settings = Self.settings { $0.usesEDNS = true }
        let play = Play("x.lab", settings) { $0.withEDNS ? Self.code(code, $0) : Self.good($0) }
        #expect(play.asked == ["s1 x.lab edns 2s", "s1 x.lab 2s"] && play.addresses != nil)
        #expect(Play("x.lab", settings) { Self.code(code, $0) }.kind == .serverFailure)
    }

    @Test("no server listens: at once the next, once each, and an error that says so")
    func unreachable() {
        let play = Play("x.lab", Self.settings(2)) { _ in (.failed(ECONNREFUSED), .zero) }
        #expect(play.asked.count == 2 && play.kind == .unreachable && play.took == .zero)
        let both = Play("x.lab", Self.settings(2)) { ask in
            ask.server == 0 ? (.failed(ECONNREFUSED), .zero) : Self.silent(ask)
        }
        #expect(both.kind == .timedOut && both.replies == ["s1 cannot be reached", "s2 does not answer"])
    }

    @Test("garbage is the server's fault, and the next is asked")
    func garbage() {
        let play = Play("x.lab", Self.settings(2)) { ask in
            ask.server == 0 ? (.message([1, 2, 3]), .zero) : Self.good(ask)
        }
        #expect(play.addresses == ["10.0.0.1"])
        let alone = Play("x.lab", Self.settings()) { _ in (.message([1, 2, 3]), .zero) }
        #expect(alone.kind == .malformed && alone.asked.count == 1)
        #expect(Play("x.lab", Self.settings()) { _ in (.failed(EBADMSG), .zero) }.kind == .malformed)
    }

    @Test("what this host cannot do is said as such")
    func host() {
        let play = Play("x.lab", Self.settings()) { _ in (.failed(EMFILE), .zero) }
        #expect(play.kind == .system(SystemError.text(of: EMFILE)))
        let none = Play("x.lab", DNSSettings(servers: []), reply: Self.good)
        #expect(none.asked.isEmpty && none.kind == .system("no name server is configured in /etc/resolv.conf"))
        let long = String(repeating: "a", count: 300)
        #expect(Play(long, Self.settings(), reply: Self.good).kind == .system("the name is too long"))
    }

    @Test("no-aaaa of resolv.conf: there are no IPv6 addresses, and nobody is asked")
    func noAAAA() {
        let play = Play("x.lab", type: .aaaa, Self.settings { $0.skipsAAAA = true }, reply: Self.good)
        #expect(play.asked.isEmpty && play.kind == .noRecord)
    }

    @Test("the life of a service's answer is that of its shortest record, addresses that came along included")
    func serviceTTL() throws {
        var message = MessageBuilder(counts: (1, 1, 0, 2))
        message.question("_x._tcp.lab", type: 33)
        message.record("_x._tcp.lab", type: 33, ttl: 60, MessageBuilder.service(0, 0, 1, MessageBuilder.name("n.lab")))
        message.record("n.lab", type: 1, ttl: 2, [10, 0, 0, 1])
        message.record("stranger.lab", type: 1, ttl: 1, [10, 0, 0, 2])
        let bytes = message.bytes
        let play = Play("_x._tcp.lab", type: .srv, Self.settings()) { _ in (.message(bytes), .zero) }
        let answer = try play.outcome.get()
        #expect(answer.ttl == 2)
        #expect(answer.additional.keys.map(\.text) == ["n.lab"], "only what belongs to a target is believed")
    }
}
