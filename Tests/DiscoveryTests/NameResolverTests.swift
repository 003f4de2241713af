import Platform
import Synchronization
import Testing

@testable import Discovery

@Suite struct NameResolverTests {
    private static let answer = [IPAddress("192.0.2.1")].compactMap { $0 }

    @Test("an address needs no resolver")
    func literal() async throws {
        let resolver = NameResolver(timeLimit: .seconds(5)) { _ in .failure(DiscoveryError(.system, "was asked")) }
        #expect(try await resolver.addresses(of: "192.0.2.1") == Self.answer)
        #expect(try await resolver.addresses(of: "fd00::1").map(\.description) == ["fd00::1"])
    }

    @Test("getaddrinfo finds localhost in /etc/hosts, each address once")
    func localhost() async throws {
        let found = try await NameResolver().addresses(of: "localhost")
        #expect(found.contains { $0.isLoopback })
        #expect(Set(found).count == found.count)
    }

    @Test("a name that does not exist is an error with the name and the resolver's words")
    func unknown() async {
        // RFC 6761 section 6.4: no name below .invalid exists.
        let error = await #expect(throws: DiscoveryError.self) {
            try await NameResolver(timeLimit: .seconds(30)).addresses(of: "no-such-host.invalid")
        }
        #expect(error?.code == .unresolvable)
        #expect(error?.message.hasPrefix("cannot resolve \"no-such-host.invalid\": ") == true)
    }

    @Test(
        "names that no resolver takes are errors too",
        arguments: [".", "..", "a..b", String(repeating: "a", count: 5000)])
    func odd(name: String) async {
        await #expect(throws: DiscoveryError.self) {
            try await NameResolver(timeLimit: .seconds(30)).addresses(of: name)
        }
    }

    @Test("a look-up ends at its limit of time, and a hung name has one thread however often it is asked for")
    func limit() async throws {
        let gate = Gate()
        let calls = Atomic<Int>(0)
        let resolver = NameResolver(timeLimit: .milliseconds(20)) { _ in
            calls.add(1, ordering: .relaxed)
            gate.wait()
            return .success(Self.answer)
        }
        for _ in 0..<5 {
            let error = await #expect(throws: DiscoveryError.self) { try await resolver.addresses(of: "hangs") }
            #expect(error?.code == .timedOut)
        }
        #expect(calls.load(ordering: .relaxed) == 1)
        gate.open()
    }

    @Test("everybody who waits for a name gets the answer of its one thread, and the next asks anew")
    func shared() async throws {
        let gate = Gate()
        let calls = Atomic<Int>(0)
        let resolver = NameResolver(timeLimit: .seconds(30)) { _ in
            calls.add(1, ordering: .relaxed)
            gate.wait()
            return .success(Self.answer)
        }
        try await withThrowingTaskGroup(of: [IPAddress].self) { group in
            for _ in 0..<10 { group.addTask { try await resolver.addresses(of: "name") } }
            while resolver.waiterCount(of: "name") < 10 { await Task.yield() }
            gate.open()
            for try await found in group { #expect(found == Self.answer) }
        }
        #expect(calls.load(ordering: .relaxed) == 1)
        _ = try await resolver.addresses(of: "name")
        #expect(calls.load(ordering: .relaxed) == 2)
    }

    @Test("cancellation ends the wait at once")
    func cancellation() async {
        let gate = Gate()
        defer { gate.open() }
        let resolver = NameResolver(timeLimit: .seconds(600)) { _ in
            gate.wait()
            return .success(Self.answer)
        }
        let task = Task { try await resolver.addresses(of: "hangs") }
        while resolver.waiterCount(of: "hangs") < 1 { await Task.yield() }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}
