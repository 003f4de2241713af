import Platform
import Synchronization
import Testing

@testable import Discovery

/// A clock that stands still until it is moved.
final class HandClock: Sendable {
    private let time = Atomic<Int64>(1_000_000_000)

    var now: BootInstant { BootInstant(nanoseconds: time.load(ordering: .acquiring)) }

    func advance(by duration: Duration) {
        time.add(duration.inNanoseconds, ordering: .acquiringAndReleasing)
    }
}

/// Answers from a table that can be changed, and counts.
final class FakeResolver: Sendable {
    struct Zone {
        var outcomes: [DNSQuestion: Result<DNSAnswer, DNSFailure>] = [:]
        var asked: [DNSQuestion] = []
    }

    let zone = Mutex(Zone())

    func answer(to question: DNSQuestion) -> Result<DNSAnswer, DNSFailure> {
        zone.withLock { zone in
            zone.asked.append(question)
            return zone.outcomes[question]
                ?? .failure(
                    DNSFailure(
                        question: question, kind: .noName,
                        replies: [.init(name: question.name, server: "192.0.2.53", reply: .code(.nameError))]))
        }
    }

    func set(_ name: String, _ addresses: [String], ttl: UInt32 = 60) {
        for (type, family) in [(DNSRecordType.a, IPAddress.Family.v4), (.aaaa, .v6)] {
            let question = DNSQuestion(name: name, type: type)
            let records = addresses.compactMap { IPAddress($0) }.filter { $0.family == family }
                .map { DNSRecord(name: DNSName(written: name), ttl: ttl, content: .address($0)) }
            zone.withLock { zone in
                zone.outcomes[question] =
                    records.isEmpty
                    ? .failure(
                        DNSFailure(
                            question: question, kind: .noRecord,
                            replies: [.init(name: name, server: "192.0.2.53", reply: .code(.noError))]))
                    : .success(
                        DNSAnswer(
                            records: records, canonicalName: DNSName(written: name), ttl: ttl, server: "192.0.2.53"))
            }
        }
    }

    func fail(_ name: String, _ type: DNSRecordType, _ kind: DNSFailure.Kind, _ reply: DNSFailure.Reply) {
        let question = DNSQuestion(name: name, type: type)
        let failure = DNSFailure(
            question: question, kind: kind, replies: [.init(name: name, server: "192.0.2.53", reply: reply)])
        zone.withLock { $0.outcomes[question] = .failure(failure) }
    }

    func count(_ name: String, _ type: DNSRecordType) -> Int {
        zone.withLock { $0.asked.count { $0 == DNSQuestion(name: name, type: type) } }
    }

    func client(_ clock: HandClock = HandClock()) -> DNSClient {
        DNSClient(now: { clock.now }, query: { self.answer(to: $0) })
    }
}

@Suite struct DNSClientTests {
    private static let question = DNSQuestion(name: "n.lab", type: .a)

    @Test(
        "an answer is kept for its TTL, at least half a second and at most five",
        arguments: [(0, 500), (1, 1000), (3, 3000), (5, 5000), (86400, 5000), (0x7FFF_FFFF, 5000)] as [(UInt32, Int64)])
    func life(ttl: UInt32, milliseconds: Int64) async throws {
        let (clock, resolver) = (HandClock(), FakeResolver())
        resolver.set("n.lab", ["10.0.0.1"], ttl: ttl)
        let client = resolver.client(clock)
        _ = try await client.answer(to: Self.question)
        resolver.set("n.lab", ["10.0.0.2"], ttl: ttl)
        clock.advance(by: .milliseconds(milliseconds - 1))
        #expect(try await client.answer(to: Self.question).records.first?.address?.description == "10.0.0.1")
        #expect(resolver.count("n.lab", .a) == 1)
        clock.advance(by: .milliseconds(1))
        #expect(try await client.answer(to: Self.question).records.first?.address?.description == "10.0.0.2")
        #expect(resolver.count("n.lab", .a) == 2)
    }

    @Test("what is no answer is kept for half a second, so a name that appears is seen soon")
    func negativeLife() async throws {
        let (clock, resolver) = (HandClock(), FakeResolver())
        let client = resolver.client(clock)
        await #expect(throws: DNSFailure.self) { try await client.answer(to: Self.question) }
        resolver.set("n.lab", ["10.0.0.1"])
        clock.advance(by: .milliseconds(499))
        await #expect(throws: DNSFailure.self) { try await client.answer(to: Self.question) }
        #expect(resolver.count("n.lab", .a) == 1)
        clock.advance(by: .milliseconds(1))
        #expect(try await client.answer(to: Self.question).records.count == 1)
    }

    @Test("the cache forgets what is over, so names that come and go do not fill it")
    func cacheIsBounded() {
        var cache = DNSCache()
        var now = BootInstant(nanoseconds: 0)
        for number in 0..<1000 {
            let question = DNSQuestion(name: "n\(number)", type: .a)
            cache.store(.failure(DNSFailure(question: question, kind: .noName)), of: question, at: now)
            now = now.advanced(by: .milliseconds(100))
        }
        #expect(cache.count <= 5)
    }

    @Test("callers share one query, and the name server gets one")
    func shared() async throws {
        let calls = Atomic<Int>(0)
        let (gate, clock) = (Gate(), HandClock())
        let answer = DNSAnswer(records: [], canonicalName: .root, ttl: 1, server: "s")
        let client = DNSClient(now: { clock.now }) { _ in
            calls.add(1, ordering: .relaxed)
            gate.wait()
            return .success(answer)
        }
        try await withThrowingTaskGroup(of: DNSAnswer.self) { group in
            for _ in 0..<10 { group.addTask { try await client.answer(to: Self.question) } }
            while client.waiterCount(of: Self.question) < 10 { await Task.yield() }
            gate.open()
            for try await found in group { #expect(found == answer) }
        }
        _ = try await client.answer(to: Self.question)
        #expect(calls.load(ordering: .relaxed) == 1)
    }

    @Test("a caller waits no longer than its limit, and cancellation ends the wait at once")
    func limits() async throws {
        let (gate, clock) = (Gate(), HandClock())
        defer { gate.open() }
        let client = DNSClient(now: { clock.now }) { question in
            gate.wait()
            return .failure(DNSFailure(question: question, kind: .noName))
        }
        let failure = await #expect(throws: DNSFailure.self) {
            try await client.answer(to: Self.question, within: .milliseconds(20))
        }
        #expect(failure?.kind == .timedOut)
        let task = Task { try await client.addresses(of: "n.lab", family: nil) }
        while client.waiterCount(of: Self.question) < 1 { await Task.yield() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("addresses are in ascending order, whatever the order of the answer")
    func order() async throws {
        let resolver = FakeResolver()
        resolver.set("n.lab", ["10.0.0.10", "fd00::2", "10.0.0.9", "fd00::1"])
        let found = try await resolver.client().addresses(of: "n.lab", family: nil)
        #expect(found.addresses.map(\.description) == ["10.0.0.9", "10.0.0.10", "fd00::1", "fd00::2"])
        #expect(found.problem == nil)
    }

    @Test("a name with addresses of the cluster's family answers with them alone, one without with the others")
    func family() async throws {
        let resolver = FakeResolver()
        resolver.set("both.lab", ["10.0.0.1", "fd00::1"])
        resolver.set("six.lab", ["fd00::2"])
        let client = resolver.client()
        #expect(try await client.addresses(of: "both.lab", family: .v4).addresses.map(\.description) == ["10.0.0.1"])
        #expect(try await client.addresses(of: "both.lab", family: .v6).addresses.map(\.description) == ["fd00::1"])
        let six = try await client.addresses(of: "six.lab", family: .v4)
        #expect(six.addresses.map(\.description) == ["fd00::2"] && six.problem == nil)
    }

    @Test("an AAAA query that hangs does not hold up an IPv4 cluster")
    func otherFamilyHangs() async throws {
        let (gate, clock, resolver) = (Gate(), HandClock(), FakeResolver())
        defer { gate.open() }
        resolver.set("n.lab", ["10.0.0.1"])
        let client = DNSClient(now: { clock.now }) { question in
            if question.type == .aaaa { gate.wait() }
            return resolver.answer(to: question)
        }
        let found = try await client.addresses(of: "n.lab", family: .v4, within: .seconds(600))
        #expect(found.addresses.map(\.description) == ["10.0.0.1"] && found.problem == nil)
    }

    @Test("a fault with one type does not hide the addresses of the other, and is told")
    func oneTypeFails() async throws {
        let resolver = FakeResolver()
        resolver.set("n.lab", ["10.0.0.1"])
        resolver.fail("n.lab", .aaaa, .serverFailure, .code(.serverFailure))
        let found = try await resolver.client().addresses(of: "n.lab", family: nil)
        #expect(found.addresses.map(\.description) == ["10.0.0.1"])
        #expect(found.problem?.kind == .serverFailure && found.problem?.question.type == .aaaa)
    }

    @Test("when it is unknown whether there are addresses of the cluster's family, others are no answer")
    func ownFamilyFails() async throws {
        let resolver = FakeResolver()
        resolver.set("n.lab", ["fd00::1"])
        resolver.fail("n.lab", .a, .timedOut, .silent(overTCP: false))
        let failures = await #expect(throws: DNSFailures.self) {
            try await resolver.client().addresses(of: "n.lab", family: .v4)
        }
        #expect(failures?.list.map(\.kind) == [.timedOut])
    }
}
