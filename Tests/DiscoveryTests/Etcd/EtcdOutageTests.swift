import Lab
import Logging
import Platform
import Testing

@testable import Discovery

@Suite("etcd: several members, one of them failing", .etcd(.init(members: 3)), .serialized)
struct EtcdMembersTests {
    private let limit: [String: JSONValue] = ["dial-timeout": .string("700ms")]

    @Test("a member that is there and does not answer costs its limit of time once; then the next is asked first")
    func hangingMember() async throws {
        let bench = try EtcdBench()
        bench.servers.suspend(0)
        defer { bench.servers.resume(0) }
        let store = try bench.store(limit)
        var begin = BootClock.now
        // The two that are left may have to choose a leader first.
        try await eventually("answer of the others", within: .seconds(30)) { _ = try await store.read() }
        #expect(begin.duration(to: BootClock.now) >= .milliseconds(700))
        begin = BootClock.now
        for _ in 0..<5 { _ = try await store.read() }
        #expect(begin.duration(to: BootClock.now) < .seconds(3))
    }

    @Test("a registered node outlives the death of the member that it talks to: nothing is lost, nobody is bothered")
    func deadMember() async throws {
        let bench = try EtcdBench()
        let discovery = try bench.discovery(bench.store(limit, members: [1, 2, 0], timeToLive: 15))
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        defer { run.cancel() }
        try await eventually("registration", within: .seconds(30)) { discovery.statistics.isRegistered == true }
        let lease = try await bench.store(members: [0]).read()
        try await bench.servers.killAndWait(1)
        discovery.announce(.example(port: 9))
        try await eventually("the new record", within: .seconds(30)) {
            try await bench.store(members: [0]).read().nodes != lease.nodes
        }
        #expect(try await discovery.lookUp().map(\.port) == [9])
        try bench.servers.start(1)
        try await bench.servers.serves()
    }

    @Test("without a quorum the error names each endpoint and asks for the members; with one again all is well")
    func noQuorum() async throws {
        let bench = try EtcdBench()
        let store = try bench.store(limit)
        try await bench.servers.killAndWait(0)
        try await bench.servers.killAndWait(1)
        let error = await #expect(throws: DiscoveryError.self) { try await store.read() }
        #expect(error?.code == .timedOut)
        for part in bench.servers.endpoints + ["connection refused", "are most members of etcd running?"] {
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
        try bench.servers.start(0)
        try bench.servers.start(1)
        try await bench.servers.serves()
        #expect(try await store.read() == StoreSnapshot())
    }
}

@Suite("etcd: stopped, started again, wiped", .etcd(), .serialized)
struct EtcdOutageTests {
    @Test("a store that is stopped is told once, look-ups fail at once meanwhile; started again all is as it was")
    func stopAndStart() async throws {
        try await outage(wiped: false) { try $0.start(0) }
    }

    @Test("a store that comes back empty gets all records again, the leader's, too")
    func wiped() async throws {
        try await outage(wiped: true) { try await $0.startWiped(0) }
    }

    private func outage(
        wiped: Bool, _ name: String = #function, _ restart: (EtcdServers) async throws -> Void
    ) async throws {
        let bench = try EtcdBench(name)
        let log = LogRecorder()
        let discovery = try bench.discovery(bench.store(timeToLive: 15), log: log)
        discovery.announce(.example("n1", cluster: "A", leads: 1))
        let run = Task { await discovery.run() }
        defer { run.cancel() }
        let address = [HostPort(host: "192.0.2.1", port: 8800)]
        func stands() async throws -> Bool {
            let snapshot = try await bench.store().read()
            return snapshot.nodes["n1"] != nil && snapshot.leader != nil
        }
        try await eventually("registration", within: .seconds(30)) { try await stands() }
        let before = try await bench.store().read()

        try await bench.servers.killAndWait(0)
        try await eventually("failure", within: .seconds(30)) { discovery.statistics.announceError != nil }
        #expect(discovery.statistics.announceError?.contains("connection refused: is etcd running there") == true)
        let error = await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() }
        #expect(error?.code == .unreachable && discovery.statistics.lastError == error?.message)
        for _ in 0..<50 { await #expect(throws: DiscoveryError.self) { try await discovery.lookUp() } }

        try await restart(bench.servers)
        try await eventually("all records", within: .seconds(30)) { try await stands() }
        try await eventually("end of the trouble", within: .seconds(30)) {
            discovery.statistics.announceError == nil && discovery.statistics.isRegistered == true
        }
        #expect(try await discovery.lookUp() == address)
        #expect(discovery.statistics.lastError == nil)
        let after = try await bench.store().read()
        #expect((after.leader?.holdID != before.leader?.holdID) == wiped)
        #expect(after.nodes == before.nodes)
        #expect(log.lines.count { $0.level == .warning } == 1, "\(log.texts)")
        #expect(log.count(of: "answers again") == 1)
        #expect(log.count(of: "had lost the record") == (wiped ? 1 : 0))
    }

    @Test("withdrawing from a store that does not answer takes a second at most")
    func withdrawalFromHangingStore() async throws {
        let bench = try EtcdBench()
        let discovery = try bench.discovery(bench.store(["dial-timeout": .string("20s")]))
        discovery.announce(.example())
        let run = Task { await discovery.run() }
        try await eventually("registration", within: .seconds(30)) { discovery.statistics.isRegistered == true }
        bench.servers.suspend(0)
        defer { bench.servers.resume(0) }
        // In the midst of a request that will not be answered.
        try await Task.sleep(for: .milliseconds(600))
        let begin = BootClock.now
        run.cancel()
        await run.value
        await discovery.withdraw()
        #expect(begin.duration(to: BootClock.now) < .seconds(4))
    }
}
