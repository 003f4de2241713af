import Lab
import Logging
import Platform
import Synchronization
import Testing

@testable import Discovery

/// With a store in memory: only what a real one cannot be made to do. The rest is tested with etcd and Consul.
@Suite("key-value discovery: a store that misbehaves")
struct KeyValueDiscoveryTests {
    private let store = FakeStore()
    private let log = LogRecorder()

    private func discovery() -> KeyValueDiscovery<FakeStore> {
        var timing = KeyValueDiscovery<FakeStore>.Timing()
        timing.keeper.retry = .milliseconds(20) ... .milliseconds(40)
        timing.withdrawal = .milliseconds(300)
        return KeyValueDiscovery(store, mode: "fake", logger: log.logger, timing: timing, seed: 1)
    }

    private func registered(_ discovery: KeyValueDiscovery<FakeStore>) async throws {
        try await eventually("registration", within: .seconds(30)) { discovery.statistics.isRegistered == true }
    }

    @Test("look-ups that come while one is under way share it; one that is cancelled returns at once")
    func sharedLookUp() async throws {
        let gate = WakeUp()
        store.before { _ in await gate.sleep(until: nil) }
        let discovery = discovery()
        let lookUps = (0..<5).map { _ in Task { try await discovery.lookUp() } }
        try await eventually("request", within: .seconds(30)) { store.count(of: "read") == 1 }
        lookUps[0].cancel()
        await #expect(throws: CancellationError.self) { try await lookUps[0].value }
        #expect(store.count(of: "read") == 1)
        try await eventually("all of them", within: .seconds(30)) { discovery.lookUpsWaiting == 4 }
        gate.call()
        for lookUp in lookUps.dropFirst() { #expect(try await lookUp.value == []) }
        #expect(store.count(of: "read") == 1)
    }

    @Test(
        "a dead store is asked at growing intervals, however often it is looked up; meanwhile the last error is the answer"
    )
    func lookUpPauses() async throws {
        store.before { _ in throw DiscoveryError.away }
        let discovery = discovery()
        let begin = BootClock.now
        for _ in 0..<200 {
            await #expect(throws: DiscoveryError.away) { try await discovery.lookUp() }
        }
        // The first pause is half a second at least, and the others are longer.
        let time = begin.duration(to: BootClock.now)
        #expect(store.count(of: "read") <= 1 + Int(time.inMilliseconds / 500))
        #expect(discovery.statistics.lastError == "nobody there" && discovery.statistics.lastContact == nil)
        #expect(log.lines.count == 1)
        store.before { _ in }
        try await eventually("answer", within: .seconds(30)) { try await discovery.lookUp() == [] }
        #expect(discovery.statistics.lastError == nil)
        #expect(log.count(of: "answers again") == 1)
    }

    @Test("a claim that was done but not answered is recognised as won by the next")
    func lostAnswer() async throws {
        let discovery = discovery()
        discovery.announce(.example())
        store.after { if case .putLeader = $0 { throw DiscoveryError(.timedOut, "no answer") } }
        await #expect(throws: DiscoveryError.self) { try await discovery.claimFounding(of: nil) }
        store.after { _ in }
        try await eventually("claim", within: .seconds(30)) {
            if case .held = try await discovery.claimFounding(of: nil) { true } else { false }
        }
        #expect(store.count(of: "put leader") == 1)
    }

    @Test("the keeper and claims take turns, and both get theirs")
    func turns() async throws {
        store.before { _ in try await Task.sleep(for: .milliseconds(2)) }
        let discovery = discovery()
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        defer { run.cancel() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    guard case .held = try await discovery.claimFounding(of: nil) else {
                        Issue.record("its own right was refused")
                        return
                    }
                }
            }
            for port in 1..<10 as Range<UInt16> {
                discovery.announce(.example(port: port))
                try await Task.sleep(for: .milliseconds(3))
            }
            try await group.waitForAll()
        }
        try await eventually("last record", within: .seconds(30)) {
            try await store.read().nodes["n1"] == RecordCoding.encode(DiscoveryAnnouncement.example(port: 9).node)
        }
        #expect(store.mostAtOnce == 1)
    }

    @Test(
        "a store that cannot be written to is told once, however often it is read, and does not keep look-ups from answers"
    )
    func readOnly() async throws {
        store.before { if case .putNode = $0 { throw DiscoveryError.denied } }
        let discovery = discovery()
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        defer { run.cancel() }
        try await eventually("some attempts", within: .seconds(30)) {
            let found = try await discovery.lookUp()
            #expect(found == [])
            return store.count(of: "put n1") > 4
        }
        #expect(discovery.statistics.announceError == "permission denied" && discovery.statistics.isRegistered == false)
        #expect(discovery.statistics.lastError == nil)
        #expect(log.lines.count == 1 && log.count(of: "permission denied") == 1)
        store.before { _ in }
        try await registered(discovery)
        try await eventually("good news", within: .seconds(30)) { log.count(of: "answers again") == 1 }
        #expect(discovery.statistics.announceError == nil)
    }

    @Test("an error of a kind that is not expected is a failure like others, and ends nothing")
    func strangeErrors() async throws {
        struct Strange: Error {}
        store.before { request in
            if request == .openHold { throw CancellationError() }
            throw Strange()
        }
        let discovery = discovery()
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        defer { run.cancel() }
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(error?.code == .system && error?.message.contains("Strange") == true)
        try await eventually("attempts", within: .seconds(30)) { store.count(of: "open") > 2 }
        // With pauses between them.
        #expect(store.count(of: "open") < 100)
        store.before { _ in }
        try await registered(discovery)
    }

    @Test("withdrawing from a store that hangs even when cancelled ends with the limit, in a cancelled task, too")
    func hangingWithdrawal() async throws {
        let discovery = discovery()
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        try await registered(discovery)
        run.cancel()
        await run.value
        let gate = WakeUp()
        defer { gate.call() }
        store.before { _ in await Task.detached { await gate.sleep(until: nil) }.value }
        let begin = BootClock.now
        let withdrawal = Task { await discovery.withdraw() }
        withdrawal.cancel()
        await withdrawal.value
        let time = begin.duration(to: BootClock.now)
        #expect(time >= .milliseconds(300) && time < .seconds(5))
    }

    @Test("withdrawn by a cancelled task, the record is gone all the same")
    func cancelledWithdrawal() async throws {
        let discovery = discovery()
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        try await registered(discovery)
        let end = Task {
            await run.value
            await discovery.withdraw()
        }
        end.cancel()
        run.cancel()
        await end.value
        #expect(try await store.read() == StoreSnapshot())
    }

    @Test("nothing announced: nothing asked; run ends with its task and not before")
    func idle() async throws {
        let discovery = discovery()
        let run = Task { await discovery.run() }
        await #expect(throws: DiscoveryError.self) { try await discovery.claimFounding(of: nil) }
        #expect(try await discovery.lookUp() == [])
        run.cancel()
        await run.value
        #expect(store.requests == ["read"])
        #expect(discovery.canClaimFounding && discovery.description == "fake: a fake")
    }
}
