import Curl
import FoundationEssentials
import Glibc
import Lab
import Logging
import Platform
import Testing

@testable import Discovery

/// With a real agent.
@Suite("Consul as a store", .timeLimit(.minutes(3)), .serialized)
struct ConsulStoreTests {
    private func store(
        _ agent: ConsulAgent, key: String = "test/cluster", sessionTime: Duration = .seconds(10),
        _ change: (inout ConsulConfiguration) -> Void = { _ in }
    ) throws -> ConsulStore {
        var configuration = ConsulConfiguration()
        configuration.address = .network(host: "127.0.0.1", port: agent.http)
        change(&configuration)
        return try ConsulStore(configuration, key: key, environment: [:], sessionTime: sessionTime)
    }

    private func error(_ body: () async throws -> Void) async -> DiscoveryError? {
        await #expect(throws: DiscoveryError.self) { try await body() }
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("records of nodes and of the leader are read as they were written, and go with their hold")
    func records() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent)
        #expect(try await store.read() == StoreSnapshot())
        let first = try await store.openHold()
        let second = try await store.openHold()
        #expect(first.lifetime == .seconds(10) && first.id != second.id)
        #expect(try await store.putNode("a", bytes("record of a"), under: first))
        #expect(try await store.putNode("b", [0, 255, 34], under: second))
        #expect(try await store.putLeader(bytes("leader a"), replacing: nil, under: first))
        let snapshot = try await store.read()
        #expect(snapshot.nodes == ["a": bytes("record of a"), "b": [0, 255, 34]])
        #expect(snapshot.leader?.record == bytes("leader a"))
        #expect(snapshot.leader?.holdID == first.id)

        #expect(try await store.renew(first))
        try await store.release(first)
        #expect(try await store.read() == StoreSnapshot(nodes: ["b": [0, 255, 34]], leader: nil))
    }

    @Test("the record of a node takes the place of one under another hold, whose end does not concern it any more")
    func replacedNode() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent)
        let old = try await store.openHold()
        #expect(try await store.putNode("a", bytes("old"), under: old))
        let new = try await store.openHold()
        for text in ["new", "newer"] { #expect(try await store.putNode("a", bytes(text), under: new)) }
        try await store.release(old)
        #expect(try await store.read().nodes == ["a": bytes("newer")])
    }

    @Test("the leader key is written only when it is as it was read")
    func leaderKey() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent)
        let first = try await store.openHold()
        let second = try await store.openHold()
        #expect(try await store.putLeader(bytes("1"), replacing: nil, under: first))
        #expect(try await !store.putLeader(bytes("x"), replacing: nil, under: first))
        #expect(try await !store.putLeader(bytes("x"), replacing: nil, under: second))
        let version1 = try #require(try await store.read().leader?.version)
        // By its holder, and then by another.
        #expect(try await store.putLeader(bytes("2"), replacing: version1, under: first))
        #expect(try await !store.putLeader(bytes("x"), replacing: version1, under: first))
        #expect(try await !store.putLeader(bytes("x"), replacing: version1, under: second))
        let version2 = try #require(try await store.read().leader?.version)
        #expect(version2 > version1)
        #expect(try await store.putLeader(bytes("3"), replacing: version2, under: second))
        #expect(try await store.read().leader?.holdID == second.id)
        let version3 = try #require(try await store.read().leader?.version)
        try await store.release(first)
        #expect(try await store.read().leader?.record == bytes("3"))
        // A key that is gone is not as it was read, either.
        #expect(try await agent.ask("DELETE", "kv/test/cluster/leader").status == 200)
        #expect(try await !store.putLeader(bytes("x"), replacing: version3, under: second))
        #expect(try await store.read().leader == nil)
    }

    @Test("of many that claim the unset leader key at once, one succeeds; of many that replace it, too")
    func race() async throws {
        let agent = try await ConsulAgent()
        let stores = try (0..<8).map { _ in try store(agent) }
        var holds: [StoreHold] = []
        for store in stores { holds.append(try await store.openHold()) }
        var version: UInt64?
        for _ in 0..<5 {
            let wins = try await withThrowingTaskGroup { group in
                for (store, hold) in zip(stores, holds) {
                    group.addTask { [version] in try await store.putLeader([1], replacing: version, under: hold) }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(wins == 1)
            version = try #require(try await stores[0].read().leader?.version)
        }
    }

    @Test("a leader key that rqlite or a person wrote is known to be under no hold, and can be replaced")
    func foreignLeaderKey() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent)
        #expect(try await agent.ask("PUT", "kv/test/cluster/leader", "by hand").status == 200)
        // Of others, and below others.
        for key in ["kv/test/cluster/nodes/a/b", "kv/test/cluster/nodes/", "kv/test/cluster2/leader", "kv/test"] {
            #expect(try await agent.ask("PUT", key, "no record").status == 200)
        }
        let snapshot = try await store.read()
        #expect(snapshot.nodes.isEmpty)
        let leader = try #require(snapshot.leader)
        #expect(leader.record == bytes("by hand") && !leader.isHeld)
        let hold = try await store.openHold()
        #expect(try await store.putLeader(bytes("ours"), replacing: leader.version, under: hold))
        #expect(try await store.read().leader?.holdID == hold.id)
    }

    @Test("a hold that is not renewed ends, and the records with it; one that is renewed stays")
    func expiry() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent, sessionTime: .seconds(1))
        let dying = try await store.openHold()
        let living = try await store.openHold()
        #expect(try await store.putNode("dying", [1], under: dying))
        #expect(try await store.putLeader([1], replacing: nil, under: dying))
        #expect(try await store.putNode("living", [1], under: living))
        try await eventually("end of the record", within: .seconds(15), every: .milliseconds(200)) {
            #expect(try await store.renew(living))
            return try await store.read() == StoreSnapshot(nodes: ["living": [1]], leader: nil)
        }
        #expect(try await !store.renew(dying))
        #expect(try await !store.putNode("dying", [1], under: dying))
        #expect(try await !store.putLeader([1], replacing: nil, under: dying))
        // The old record of the node must not have been deleted on the way to that.
        #expect(try await store.putNode("dying", [2], under: living))
        #expect(try await !store.putNode("dying", [3], under: dying))
        #expect(try await store.read().nodes["dying"] == [2])
        try await store.release(dying)
    }

    @Test("a hold survives that the health of the agent's host flaps")
    func flappingHealth() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent)
        let hold = try await store.openHold()
        #expect(try await store.putNode("a", [1], under: hold))
        // A session as Consul makes it by default dies of it: so the test sees what it wants to see.
        let usual = try await agent.ask("PUT", "session/create", "{\"Name\":\"usual\"}").body
        let check = """
            {"Node":"test","Address":"127.0.0.1","Check":{"CheckID":"serfHealth","Name":"Serf","Status":"critical"}}
            """
        #expect(try await agent.ask("PUT", "catalog/register", check).status == 200)
        let usualID = try #require(usual.split(separator: "\"").first { $0.utf8.count == 36 })
        try await eventually("end of the usual session", within: .seconds(10)) {
            try await agent.ask("GET", "session/info/\(usualID)").body.contains("usual") == false
        }
        #expect(try await store.renew(hold))
        #expect(try await store.read().nodes == ["a": [1]])
    }

    @Test("an agent that was started again with nothing in it knows no hold; another one is opened as ever")
    func wiped() async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent)
        let old = try await store.openHold()
        #expect(try await store.putNode("a", [1], under: old))
        try await agent.kill()
        let away = await error { _ = try await store.renew(old) }
        #expect(away?.code == .unreachable)
        #expect(away?.message.contains("127.0.0.1:\(agent.http)") == true && away?.message.contains("refused") == true)
        try await agent.start()
        #expect(try await !store.renew(old))
        #expect(try await !store.putNode("a", [1], under: old))
        let new = try await store.openHold()
        #expect(try await store.putNode("a", [1], under: new))
    }

    @Test("keys with any characters are read and written", arguments: ["a b", "ü/%2F?#&", "x+y;z=\"'"])
    func unusualKeys(key: String) async throws {
        let agent = try await ConsulAgent()
        let store = try store(agent, key: key)
        let hold = try await store.openHold()
        #expect(try await store.putNode("a", [1], under: hold))
        #expect(try await store.putLeader([2], replacing: nil, under: hold))
        let snapshot = try await store.read()
        #expect(snapshot.nodes == ["a": [1]] && snapshot.leader?.record == [2])
    }

    @Test("a datacentre or a namespace that is not there is named, with what to do")
    func scope() async throws {
        let agent = try await ConsulAgent()
        let elsewhere = try store(agent) { $0.datacenter = "nowhere" }
        let datacentre = await error { _ = try await elsewhere.read() }
        #expect(datacentre?.message.contains("\"datacenter\"") == true, "\(String(describing: datacentre))")
        let spaced = try store(agent) { $0.namespace = "team" }
        for error in [
            await error { _ = try await spaced.read() }, await error { _ = try await spaced.openHold() },
        ] {
            #expect(error?.code == .refused)
            #expect(error?.message.contains("\"namespace\"") == true, "\(String(describing: error))")
        }
    }

    @Test("an agent that listens on a unix socket is asked there")
    func unixSocket() async throws {
        let path = "/tmp/dqlite-vip-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).sock"
        defer { unlink(path) }
        let agent = try await ConsulAgent("{\"addresses\": {\"http\": \"127.0.0.1 unix://\(path)\"}}")
        let store = try store(agent) { $0.address = .socket(path) }
        let hold = try await store.openHold()
        #expect(try await store.putNode("a", [1], under: hold))
        #expect(try await store.read().nodes == ["a": [1]])
        #expect(store.place == "Consul at unix://\(path)")
    }

    @Test(
        "two nodes find each other, one of them gets the right to found, and both are there again after a loss of all")
    func discovery() async throws {
        let agent = try await ConsulAgent()
        let nodes = try ["a", "b"].map { name in
            KeyValueDiscovery(
                try store(agent), mode: ConsulStore.mode,
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        }
        let addresses = [HostPort(host: "10.0.0.1", port: 8800), HostPort(host: "10.0.0.2", port: 8800)]
        for (index, node) in nodes.enumerated() {
            node.announce(
                DiscoveryAnnouncement(
                    node: .init(
                        nodeID: "node-\(index)", apiAddress: nil, address: addresses[index], name: "n", clusterID: nil,
                        clusterName: "test")))
        }
        try await withThrowingTaskGroup { group in
            for node in nodes { group.addTask { await node.run() } }
            try await eventually("both records", within: .seconds(10)) {
                try await nodes[0].lookUp() == addresses && nodes.allSatisfy { $0.statistics.isRegistered == true }
            }
            let claims = [
                try await nodes[0].claimFounding(of: "cluster"), try await nodes[1].claimFounding(of: "cluster"),
            ]
            guard case .held = claims[0], case .taken(let by) = claims[1] else {
                Issue.record("claims: \(claims)")
                return
            }
            #expect(by.nodeID == "node-0")
            try await agent.kill()
            try await agent.start()
            try await eventually("both records again", within: .seconds(30)) {
                try await nodes[1].lookUp() == addresses
            }
            group.cancelAll()
        }
        for node in nodes { await node.withdraw() }
        #expect(try await store(agent).read() == StoreSnapshot())
    }
}
