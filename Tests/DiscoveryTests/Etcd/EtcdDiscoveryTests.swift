import Lab
import Logging
import Platform
import Testing

@testable import Discovery

@Suite("etcd: discovery, one member", .etcd())
struct EtcdDiscoveryTests {
    /// Runs a discovery while the body does.
    private func running<Value: Sendable>(
        _ discovery: KeyValueDiscovery<EtcdStore>, _ body: () async throws -> Value
    ) async throws -> Value {
        let run = Task { await discovery.run() }
        defer { run.cancel() }
        return try await body()
    }

    private func isRegistered(_ discovery: KeyValueDiscovery<EtcdStore>) async throws {
        try await eventually(
            "registration", within: .seconds(30), state: { "\(discovery.statistics)" },
            { discovery.statistics.isRegistered == true })
    }

    @Test("a node that runs is found by others, under rqlite's field names, and is gone when it withdraws")
    func registration() async throws {
        let bench = try EtcdBench()
        let log = LogRecorder()
        let discovery = try bench.discovery(log: log)
        #expect(discovery.statistics.isRegistered == false)
        discovery.announce(.example())
        try await running(discovery) {
            try await isRegistered(discovery)
            let value = try #require(try await bench.value("nodes/n1"))
            #expect(value.hasPrefix(#"{"addr":"192.0.2.1:8800","api_addr":"192.0.2.1:9900","#))
            let other = try bench.discovery()
            #expect(try await other.lookUp() == [HostPort(host: "192.0.2.1", port: 8800)])
            #expect(other.statistics.lastAddresses.count == 1 && other.statistics.lastContact != nil)
            #expect(other.statistics.lastError == nil && other.statistics.isRegistered == false)
        }
        let begin = BootClock.now
        await discovery.withdraw()
        #expect(begin.duration(to: BootClock.now) < .seconds(2))
        #expect(try await bench.value("nodes/n1") == nil)
        #expect(discovery.statistics.isRegistered == false)
        #expect(log.count(of: "is registered") == 1 && log.lines.allSatisfy { $0.level <= .notice })
    }

    @Test("a record that is deleted by hand comes back")
    func deletedByHand() async throws {
        let bench = try EtcdBench()
        let discovery = try bench.discovery()
        discovery.announce(.example())
        try await running(discovery) {
            try await isRegistered(discovery)
            try await bench.servers.control("del", "/\(bench.key)/nodes/n1")
            try await eventually("record", within: .seconds(30)) { try await bench.value("nodes/n1") != nil }
        }
    }

    @Test("the leader's record follows the leadership from node to node, and later nodes find the leader first")
    func leaderKey() async throws {
        let bench = try EtcdBench()
        let (one, two) = (try bench.discovery(), try bench.discovery())
        one.announce(.example("n1", cluster: "A", leads: 1, port: 9))
        two.announce(.example("n2", cluster: "A", port: 10))
        func leads(_ id: String) async throws {
            try await eventually("leader \(id)", within: .seconds(30)) {
                try await bench.value("leader")?.contains("\"id\":\"\(id)\"") == true
            }
        }
        try await running(one) {
            try await running(two) {
                try await leads("n1")
                one.announce(.example("n1", cluster: "A", port: 9))
                two.announce(.example("n2", cluster: "A", leads: 2, port: 10))
                try await leads("n2")
                #expect(two.statistics.announceError == nil)
                try await isRegistered(one)
                #expect(try await bench.discovery().lookUp().map(\.port) == [10, 9])
            }
        }
    }

    @Test("of nodes that claim to found at once one is given the right, the others learn whose it is", arguments: 0..<5)
    func claims(round: Int) async throws {
        let bench = try EtcdBench("claims\(round)")
        let outcomes = try await withThrowingTaskGroup(of: FoundingClaim.self) { group in
            for index in 0..<4 {
                let discovery = try bench.discovery(bench.store(timeToLive: 15))
                discovery.announce(.example("n\(index)", port: UInt16(1 + index)))
                group.addTask { try await discovery.claimFounding(of: nil) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        var losers: Set<String> = []
        var winners = 0
        for outcome in outcomes {
            switch outcome {
            case .held(let until):
                winners += 1
                #expect(until > BootClock.now && until < BootClock.now + .seconds(15))
            case .taken(let record): losers.insert(record.nodeID)
            }
        }
        #expect(winners == 1 && losers.count == 1)
    }

    @Test(
        "a claim lives while it is prolonged, with the cluster id, becomes the leader's record, and ends with its node")
    func claimToLeader() async throws {
        let bench = try EtcdBench()
        let founder = try bench.discovery(bench.store(timeToLive: 5))
        let late = try bench.discovery()
        founder.announce(.example("n1"))
        late.announce(.example("n2"))
        guard case .held(let first) = try await founder.claimFounding(of: nil) else {
            Issue.record("the unset key was refused")
            return
        }
        try await running(founder) {
            // Longer than one lease, so prolonging and not its first life is what keeps it.
            try await eventually("prolonged claim", within: .seconds(30), every: .milliseconds(200)) {
                guard case .held(let until) = try await founder.claimFounding(of: "A") else { return false }
                guard case .taken(let holder) = try await late.claimFounding(of: nil) else { return false }
                return holder.clusterID == "A" && until > first + .seconds(4)
            }
            founder.announce(.example("n1", cluster: "A", leads: 1))
            try await eventually("leader's record", within: .seconds(30)) {
                try await bench.value("leader")?.contains(#""term":1"#) == true
            }
        }
        // The founder is dead: its key goes by itself, and the next may found.
        try await eventually("free key", within: .seconds(30), every: .milliseconds(100)) {
            if case .held = try await late.claimFounding(of: nil) { true } else { false }
        }
    }

    @Test("a claim that is not prolonged is given back by the node that lives on")
    func abandonedClaim() async throws {
        let bench = try EtcdBench()
        let discovery = try bench.discovery()
        discovery.announce(.example("n1"))
        try await running(discovery) {
            guard case .held = try await discovery.claimFounding(of: nil) else {
                Issue.record("the unset key was refused")
                return
            }
            try await eventually("free key", within: .seconds(30)) { try await bench.value("leader") == nil }
            try await isRegistered(discovery)
        }
    }

    @Test("another cluster's key is left alone, told once with the way out, which works as it is printed")
    func foreignCluster() async throws {
        let bench = try EtcdBench()
        let record = #"{"addr":"192.0.2.9:8800","cluster_id":"B","id":"n9"}"#
        try await bench.servers.control("put", "/\(bench.key)/leader", record)
        let log = LogRecorder()
        let discovery = try bench.discovery(log: log)
        discovery.announce(.example("n1", cluster: "A", leads: 1))
        try await running(discovery) {
            try await eventually("refusal", within: .seconds(30)) { discovery.statistics.announceError != nil }
            let text = try #require(discovery.statistics.announceError)
            for part in [
                "/\(bench.key)/leader", "cluster B", "ours, A", "will not lapse by itself", "another --disco-key",
            ] {
                #expect(text.contains(part), "\(text)")
            }
            // Some looks later nothing has changed, and nothing more was said.
            try await isRegistered(discovery)
            let looks = discovery.statistics
            try await Task.sleep(for: .milliseconds(1200))
            #expect(
                try await bench.value("leader") == record && discovery.statistics.announceError == looks.announceError)
            #expect(log.lines.count { $0.level == .warning } == 1)

            let quoted = text.split(separator: "`")
            let command = try #require(quoted.dropFirst().first)
            #expect(command.hasPrefix("etcdctl --endpoints=\(bench.servers.endpoints[0]) del "))
            _ = try await tool(["sh", "-c", String(command)])
            try await eventually("our record", within: .seconds(30)) {
                try await bench.value("leader")?.contains(#""cluster_id":"A""#) == true
            }
            try await eventually("end of the complaint", within: .seconds(30)) {
                discovery.statistics.announceError == nil
            }
        }
    }

    @Test(
        "a stale record of rqlite's under no lease holds up a founding, and is told with the way out; a leader replaces it"
    )
    func rqliteLeader() async throws {
        let bench = try EtcdBench()
        let record = #"{"id":"r1","api_addr":"http://192.0.2.7:4001","addr":"192.0.2.7:4002"}"#
        try await bench.servers.control("put", "/\(bench.key)/leader", record)
        let discovery = try bench.discovery()
        discovery.announce(.example("n1"))
        #expect(try await discovery.lookUp().map(\.description) == ["192.0.2.7:4002"])
        let claim = try await discovery.claimFounding(of: nil)
        #expect(claim == .taken(by: try #require(RecordCoding.leader(Array(record.utf8)))))
        #expect(discovery.statistics.announceError?.contains("no cluster is founded") == true)
        #expect(discovery.statistics.announceError?.contains("etcdctl") == true)
        discovery.announce(.example("n1", cluster: "A", leads: 1))
        try await running(discovery) {
            try await eventually("our record", within: .seconds(30)) {
                try await bench.value("leader")?.contains(#""cluster_id":"A""#) == true
            }
        }
    }

    @Test("records that are none are passed over, and named in the statistics and once in the log")
    func garbage() async throws {
        let bench = try EtcdBench()
        let log = LogRecorder()
        let discovery = try bench.discovery(log: log)
        try await bench.servers.control("put", "/\(bench.key)/nodes/a", "garbage")
        try await bench.servers.control("put", "/\(bench.key)/nodes/b", #"{"addr":"192.0.2.2:1"}"#)
        for _ in 0..<3 { #expect(try await discovery.lookUp().map(\.description) == ["192.0.2.2:1"]) }
        #expect(discovery.statistics.lastError?.contains("/\(bench.key)/nodes/a") == true)
        #expect(log.count(of: "/\(bench.key)/nodes/a") == 1)
    }
}
