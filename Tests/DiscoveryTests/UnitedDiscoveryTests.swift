import Platform
import Synchronization
import Testing

@testable import Discovery

/// A source that does as it is told, and remembers what it was told.
private final class Source: Discovery {
    struct State {
        var answer: Result<[HostPort], DiscoveryError> = .success([])
        var statistics: DiscoveryStatistics
        var claims: [String?] = []
        var announced: [DiscoveryAnnouncement?] = []
        var isRunning = false
        var withdrawals = 0
    }

    let state: Mutex<State>
    let canClaimFounding: Bool
    /// Blocks a look-up until it is finished.
    let gate: AsyncStream<Void>?

    init(
        _ mode: String, _ answer: Result<[HostPort], DiscoveryError>, claims: Bool = false,
        gate: AsyncStream<Void>? = nil
    ) {
        state = Mutex(State(answer: answer, statistics: DiscoveryStatistics(mode: mode)))
        canClaimFounding = claims
        self.gate = gate
    }

    var statistics: DiscoveryStatistics { state.withLock { $0.statistics } }
    var description: String { "the \(statistics.mode)" }

    func lookUp() async throws -> [HostPort] {
        if let gate { for await _ in gate {} }
        return try state.withLock { $0.answer }.get()
    }

    func announce(_ announcement: DiscoveryAnnouncement?) { state.withLock { $0.announced.append(announcement) } }

    func claimFounding(of clusterID: String?) async throws -> FoundingClaim {
        state.withLock { $0.claims.append(clusterID) }
        return .held(until: BootInstant(nanoseconds: 7))
    }

    func run() async {
        state.withLock { $0.isRunning = true }
        try? await Task.sleep(for: .seconds(600))
        state.withLock { $0.isRunning = false }
    }

    func withdraw() async { state.withLock { $0.withdrawals += 1 } }
}

@Suite struct UnitedDiscoveryTests {
    private static func addresses(_ hosts: String...) -> [HostPort] { hosts.map { HostPort(host: $0, port: 1) } }

    @Test("the answer is the union: in the order of the sources, each address once")
    func union() async throws {
        let united = UnitedDiscovery([
            Source("one", .success(Self.addresses("c", "a"))), Source("two", .success([])),
            Source("three", .success(Self.addresses("a", "b"))),
        ])
        #expect(try await united.lookUp() == Self.addresses("c", "a", "b"))
        #expect(united.description == "the one + the two + the three")
    }

    @Test("all sources are asked at the same time")
    func parallel() async throws {
        // Each waits until the other was asked.
        let (first, openFirst) = AsyncStream.makeStream(of: Void.self)
        let slow = Source("slow", .success(Self.addresses("a")), gate: first)
        let opening = AsyncStream<Void> {
            openFirst.finish()
            return nil
        }
        let opener = Source("opener", .success(Self.addresses("b")), gate: opening)
        #expect(try await UnitedDiscovery([slow, opener]).lookUp() == Self.addresses("a", "b"))
    }

    @Test("a source that fails takes nothing from the others, even when these found nobody")
    func partialFailure() async throws {
        let broken = Source("broken", .failure(DiscoveryError(.unreachable, "away")))
        #expect(
            try await UnitedDiscovery([broken, Source("s", .success(Self.addresses("a")))]).lookUp()
                == Self.addresses("a"))
        #expect(try await UnitedDiscovery([Source("s", .success([])), broken]).lookUp().isEmpty)
    }

    @Test("when all fail the reason of each is told")
    func totalFailure() async {
        let united = UnitedDiscovery([
            Source("one", .failure(DiscoveryError(.timedOut, "no answer"))),
            Source("two", .failure(DiscoveryError(.refused, "no right"))),
        ])
        let error = await #expect(throws: DiscoveryError.self) { try await united.lookUp() }
        #expect(error == DiscoveryError(.timedOut, "one: no answer; two: no right"))
    }

    @Test("the statistics of all stand side by side")
    func statistics() {
        let one = Source("static", .success([]))
        let two = Source("etcd-kv", .success([]))
        let united = UnitedDiscovery([one, two])
        #expect(united.statistics == DiscoveryStatistics(mode: "static+etcd-kv"))
        one.state.withLock {
            $0.statistics.lastAddresses = Self.addresses("a", "b")
            $0.statistics.lastContact = WallTime(milliseconds: 9)
        }
        two.state.withLock {
            $0.statistics.lastAddresses = Self.addresses("b", "c")
            $0.statistics.lastContact = WallTime(milliseconds: 8)
            $0.statistics.lastError = "away"
            $0.statistics.isRegistered = true
            $0.statistics.announceError = "no lease"
        }
        #expect(
            united.statistics
                == DiscoveryStatistics(
                    mode: "static+etcd-kv", lastContact: WallTime(milliseconds: 9),
                    lastAddresses: Self.addresses("a", "b", "c"), lastError: "etcd-kv: away", isRegistered: true,
                    announceError: "etcd-kv: no lease"))
        one.state.withLock { $0.statistics.isRegistered = false }
        #expect(united.statistics.isRegistered == false)
    }

    @Test("announcing, running and withdrawing reach every source")
    func forwarded() async {
        let sources = [Source("one", .success([])), Source("two", .success([]))]
        let united = UnitedDiscovery(sources)
        let announcement = DiscoveryAnnouncement(
            node: .init(
                nodeID: "n", apiAddress: nil, address: HostPort(host: "a", port: 1), name: "", clusterID: nil,
                clusterName: "c"))
        united.announce(announcement)
        let running = Task { await united.run() }
        while !sources.allSatisfy({ $0.state.withLock { $0.isRunning } }) { await Task.yield() }
        running.cancel()
        await running.value
        await united.withdraw()
        for source in sources {
            let state = source.state.withLock { ($0.announced, $0.isRunning, $0.withdrawals) }
            #expect(state.0 == [announcement] && !state.1 && state.2 == 1)
        }
    }

    @Test("the right to found is claimed where it can be, and in one place only")
    func claims() async throws {
        let plain = Source("static", .success([]))
        let store = Source("store", .success([]), claims: true)
        let second = Source("second", .success([]), claims: true)
        let united = UnitedDiscovery([plain, store, second])
        #expect(united.canClaimFounding)
        #expect(try await united.claimFounding(of: "c") == .held(until: BootInstant(nanoseconds: 7)))
        #expect(store.state.withLock { $0.claims } == ["c"])
        #expect(plain.state.withLock { $0.claims.isEmpty } && second.state.withLock { $0.claims.isEmpty })
        let without = UnitedDiscovery([plain])
        #expect(!without.canClaimFounding)
        let error = await #expect(throws: DiscoveryError.self) { try await without.claimFounding(of: nil) }
        #expect(error?.code == .unsupported)
    }
}
