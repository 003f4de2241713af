import Lab
import Platform
import Testing

@testable import Discovery

/// What the suites with a real etcd share: a `--disco-key` for each test, so that they can run side by side.
struct EtcdBench {
    let servers: EtcdServers
    let key: String

    init(_ key: String = #function) throws {
        servers = try #require(EtcdTrait.servers)
        self.key = "test/" + key.filter { $0.isLetter || $0.isNumber }
    }

    /// Seconds that a lease of the tests lives when nobody renews it.
    static let timeToLive: Int64 = 3

    func store(
        _ fields: [String: JSONValue] = [:], members: [Int]? = nil, timeToLive: Int64 = EtcdBench.timeToLive
    ) throws -> EtcdStore {
        try EtcdStore(servers.configuration(fields, members: members), key: key, timeToLive: timeToLive)
    }

    /// A discovery that looks after its records ten times as often as in production.
    func discovery(
        _ store: EtcdStore? = nil, log: LogRecorder = LogRecorder()
    ) throws -> KeyValueDiscovery<EtcdStore> {
        var timing = KeyValueDiscovery<EtcdStore>.Timing()
        timing.keeper.verification = .milliseconds(500)
        timing.keeper.retry = .milliseconds(100) ... .milliseconds(500)
        timing.lookUpRetry = .milliseconds(100) ... .milliseconds(500)
        return try KeyValueDiscovery(store ?? self.store(), mode: "etcd-kv", logger: log.logger, timing: timing)
    }

    /// What stands in etcd under a key of ours, as etcdctl sees it; nil when there is nothing.
    func value(_ name: String) async throws -> String? {
        let text = try await servers.control("get", "--print-value-only", "/\(key)/\(name)")
        return text.isEmpty ? nil : String(text.dropLast())
    }
}

@Suite("etcd: the store, one member", .etcd())
struct EtcdStoreTests {
    @Test("an empty store is an empty answer; what is written under a lease is read, with revision and lease")
    func readAndWrite() async throws {
        let bench = try EtcdBench()
        let store = try bench.store()
        #expect(try await store.read() == StoreSnapshot())
        let hold = try await store.openHold()
        // Four fifths of what was granted: the margin for a member that was just cut off.
        #expect(hold.lifetime == .milliseconds(2400))
        #expect(try await store.putNode("n1", Array("{}".utf8), under: hold))
        #expect(try await store.putLeader([0, 0xFF], replacing: nil, under: hold))
        let snapshot = try await store.read()
        #expect(snapshot.nodes == ["n1": Array("{}".utf8)])
        let leader = try #require(snapshot.leader)
        #expect(leader.record == [0, 0xFF] && leader.holdID == hold.id)
        #expect(try await bench.value("nodes/n1") == "{}")
        // Written by hand: under no lease, and of a new revision.
        try await bench.servers.control("put", "/\(bench.key)/leader", "x")
        let byHand = try await store.read().leader
        #expect(byHand?.isHeld == false && byHand?.record == [UInt8(ascii: "x")])
        #expect(try #require(byHand).version > leader.version)
        try await store.release(hold)
        #expect(try await store.read().nodes.isEmpty)
    }

    @Test("keys beside ours are not taken for ours")
    func neighbours() async throws {
        let bench = try EtcdBench()
        for name in ["/\(bench.key)/nodes", "/\(bench.key)/nodes0", "/\(bench.key)/leader/x", "/\(bench.key)2/leader"] {
            try await bench.servers.control("put", name, "x")
        }
        #expect(try await bench.store().read() == StoreSnapshot())
    }

    @Test("check-and-set: of several who set the unset key one does; who read an older version is refused")
    func checkAndSet() async throws {
        let bench = try EtcdBench()
        let store = try bench.store()
        let hold = try await store.openHold()
        let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<8 as Range<UInt8> {
                group.addTask { try await store.putLeader([number], replacing: nil, under: hold) }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(wins == 1)
        let first = try #require(try await store.read().leader)
        #expect(try await store.putLeader([9], replacing: first.version, under: hold))
        #expect(try await !store.putLeader([10], replacing: first.version, under: hold))
        #expect(try await store.read().leader?.record == [9])
    }

    @Test("a lease that etcd does not know any more is told from one that it does, by every call")
    func unknownLease() async throws {
        let store = try EtcdBench().store()
        let hold = try await store.openHold()
        #expect(try await store.renew(hold))
        try await store.release(hold)
        try await store.release(hold)
        #expect(try await !store.renew(hold))
        #expect(try await !store.putNode("n1", [1], under: hold))
        #expect(try await !store.putLeader([1], replacing: nil, under: hold))
    }

    @Test("who stops renewing is gone from the store when the lease has run out; who renews stays")
    func expiry() async throws {
        let store = try EtcdBench().store()
        let begin = BootClock.now
        let dead = try await store.openHold()
        let alive = try await store.openHold()
        #expect(try await store.putNode("dead", [1], under: dead))
        #expect(try await store.putLeader([1], replacing: nil, under: dead))
        #expect(try await store.putNode("alive", [1], under: alive))
        try await eventually("end of the lease", within: .seconds(30), every: .milliseconds(200)) {
            #expect(try await store.renew(alive))
            let snapshot = try await store.read()
            #expect(snapshot.nodes["alive"] != nil)
            return snapshot.nodes["dead"] == nil && snapshot.leader == nil
        }
        #expect(begin.duration(to: BootClock.now) > dead.lifetime)
    }

    @Test("credentials for an etcd that wants none are no hindrance")
    func needlessCredentials() async throws {
        let store = try EtcdBench().store(["username": .string("u"), "password": .string("p")])
        let hold = try await store.openHold()
        #expect(try await store.putNode("n", [1], under: hold))
    }

    @Test("errors name endpoint, reason and remedy: nobody there, a name that is none, TLS that is none, no etcd")
    func errors() async throws {
        let bench = try EtcdBench()
        let free = try #require(EtcdServers.freePorts(1).first)
        let alive = try #require(bench.servers.endpoints.first?.dropFirst("http://".count))
        for (endpoint, code, parts) in [
            ("127.0.0.1:\(free)", .unreachable, ["connection refused", "is etcd running there"]),
            ("no.such.name.invalid:1", .unresolvable, ["\"no.such.name.invalid\"", "correct \"endpoints\""]),
            ("https://\(alive)", .refused, ["does it speak TLS"]),
        ] as [(String, DiscoveryError.Code, [String])] {
            let store = try bench.store(["endpoints": .string(endpoint)])
            let error = await #expect(throws: DiscoveryError.self) { try await store.read() }
            #expect(error?.code == code)
            for part in ["cannot read the keys below /\(bench.key)/ in etcd at http", endpoint] + parts {
                #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            }
        }
    }

    @Test("an endpoint that is not etcd is passed over, and named when there is no other")
    func notEtcd() async throws {
        let bench = try EtcdBench()
        // The port for other members answers HTTP, and knows nothing of clients.
        let peer = try #require(bench.servers.peerAddresses.first)
        let client = try #require(bench.servers.endpoints.first)
        let error = await #expect(throws: DiscoveryError.self) {
            try await bench.store(["endpoints": .string(peer)]).read()
        }
        #expect(error?.message.contains("HTTP status 404: is it the client port of etcd 3.4 or later?") == true)
        let both = try bench.store(["endpoints": .array([.string(peer), .string(client)])])
        #expect(try await both.read() == StoreSnapshot())
    }
}
