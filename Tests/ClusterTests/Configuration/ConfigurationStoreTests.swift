import Dqlite
import Glibc
import NIOCore
import NIOPosix
import Platform
import Testing

@testable import Cluster

/// A real libdqlite node that leads a cluster of itself, for the time of `body`.
private func withLeader(
    _ body: (_ socket: DqliteAddress, _ group: any EventLoopGroup) async throws -> Void
) async throws {
    var template = Array("/tmp/dqlite-vip-store.XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let node = DqliteNode(
        configuration: .init(id: DqliteID.bootstrap, address: "127.0.0.1:1", directory: directory) { address in
            .failure(SystemError("connect to", address, errno: ECONNREFUSED))
        })
    try await node.start()
    let socket = try node.bindAddress
    // Shared by all: it lives as long as the process.
    let group = MultiThreadedEventLoopGroup.singleton
    do {
        let client = try await DqliteClient.connect(to: socket, on: group)
        let deadline = BootClock.now.advanced(by: .seconds(30))
        while try await client.leader()?.id != DqliteID.bootstrap {
            try #require(BootClock.now < deadline, "the node does not lead")
            try await Task.sleep(for: .milliseconds(5))
        }
        await client.close()
        try await body(socket, group)
    } catch {
        try? await node.stop()
        throw error
    }
    try await node.stop()
    try Directory.removeWithFiles(directory)
}

/// What a plain client reads, as the only value of the only row.
private func text(_ sql: String, _ socket: DqliteAddress, _ group: any EventLoopGroup) async throws -> String? {
    let client = try await DqliteClient.connect(to: socket, on: group)
    try await client.open(Schema.database)
    let rows = try await client.query(sql).rows
    await client.close()
    guard case .text(let text)? = rows.first?.first else { return nil }
    return text
}

private func execute(_ sql: String, _ socket: DqliteAddress, _ group: any EventLoopGroup) async throws {
    let client = try await DqliteClient.connect(to: socket, on: group)
    try await client.open(Schema.database)
    try await client.execute(sql)
    await client.close()
}

@Suite("The configuration store, on a real node")
struct ConfigurationStoreTests {
    private static let addresses = ["10.0.0.1/24", "10.0.0.2/24"]
    private static let tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"

    @Test(
        "what members were started with, and who was removed, is kept; tables that an older version did not make are made"
    )
    func members() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            for table in ["node_option", "removed_node"] { try await execute("DROP TABLE \(table)", socket, group) }
            var configuration = try await store.configuration()
            #expect(configuration.nodes.isEmpty && configuration.removed == [])
            let old = ReplicatedConfiguration.NodeEntry(dqliteID: 7, nodeID: "u7", name: "seven")
            let new = ReplicatedConfiguration.NodeEntry(
                dqliteID: .max, nodeID: "u8", name: "eight", isNonVoter: true, failureDomain: "a")
            for entry in [old, new, new] { try await store.apply(.describeNode(entry)) }
            configuration = try await store.configuration()
            #expect(Set(configuration.nodes.map(\.dqliteID)) == [7, .max])
            #expect(configuration.nodes.contains(old) && configuration.nodes.contains(new))
            for number in 1...70 as ClosedRange<UInt64> {
                try await store.apply(
                    .noteRemoval(
                        RemovedNode(
                            dqliteID: number, nodeID: "u", name: "", address: "10.0.0.1:1",
                            reason: number.isMultiple(of: 2) ? .left : .removed,
                            at: WallTime(milliseconds: Int64(number)))))
            }
            try await store.apply(.forgetRemoval(70))
            try await store.apply(.forgetNode(.max))
            configuration = try await store.configuration()
            #expect(configuration.nodes == [old])
            #expect(configuration.removed?.map(\.dqliteID) == Array(7...69))
            #expect(configuration.removed?.last?.reason == .removed)
            await store.use(nil)
        }
    }

    @Test("a change of address is kept until it is done; with the node's removal or its entry it is given up")
    func moves() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            let moves = (1...4).map { MovingNode(dqliteID: .max - $0, address: "10.0.0.1:\($0)", role: .standby) }
            // What the removal changes, and what is noted, may each be the first to miss the table.
            let removal = RemovedNode(
                dqliteID: moves[0].dqliteID, nodeID: "u", name: "", address: "", reason: .removed, at: .now)
            for change in [.noteRemoval(removal), .noteMove(moves[0])] as [ConfigurationChange] {
                await store.use(nil)
                try await execute("DROP TABLE moving_node", socket, group)
                await store.use(socket)
                try await store.apply(change)
            }
            for move in moves { try await store.apply(.noteMove(move)) }
            #expect(Set(try await store.moves().map(\.address)) == Set(moves.map(\.address)))
            #expect(try await store.configuration().moving == store.moves())
            try await store.apply(.noteRemoval(removal))
            try await store.apply(.forgetNode(moves[1].dqliteID))
            try await store.apply(.forgetMove(moves[2].dqliteID))
            let elsewhere = MovingNode(dqliteID: moves[3].dqliteID, address: "10.0.0.9:1", role: .voter)
            try await store.apply(.noteMove(elsewhere))
            #expect(try await store.moves() == [elsewhere])
            await store.use(nil)
        }
    }

    @Test("addresses are changed only if they are what the asker has seen, or already what it wants")
    func conditions() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            func change(_ present: [[String]], _ wanted: [String]) async throws -> [String] {
                try await store.apply(.setAddressesIf(present: present, wanted))
                return try await store.configuration().addresses
            }
            let (one, two) = (["10.0.0.1/24"], Self.addresses)
            #expect(try await change([[]], one) == one)
            #expect(try await change([two, one], two) == two)
            #expect(try await change([one], two) == two, "it was done already")
            for stale in [[one], [], [two.reversed()], [[]]] {
                let failure = await #expect(throws: PortFailure.self) { _ = try await change(stale, one) }
                #expect(failure?.reason == .changed)
                #expect(failure?.text.contains("now 10.0.0.1/24, 10.0.0.2/24") == true)
            }
            #expect(try await store.configuration().addresses == two)
            await store.use(nil)
        }
    }

    private static let leads = "SELECT value FROM meta WHERE key = 'leads'"

    @Test("before a lead answers, or changes anything, it has written a line; once, as long as the connection lasts")
    func ownEntry() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            // There is no table to write to, and soon will be.
            _ = try await store.facts()
            try await store.confirmLead()
            #expect(store.isUnconfirmed)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            // What is acted on at once does not wait for it.
            _ = try await store.configuration()
            #expect(store.isUnconfirmed)
            #expect(try await text(Self.leads, socket, group) == nil)
            for _ in 1...3 { _ = try await store.committedConfiguration() }
            try await store.confirmLead()
            try await store.apply(.setAddresses(Self.addresses))
            #expect(!store.isUnconfirmed)
            #expect(try await text(Self.leads, socket, group) == "1")
            // Each of them is the first to be asked on a connection of its own, as after a change of the lead.
            let first: [(ConfigurationStore) async throws -> Void] = [
                { try await $0.confirmLead() }, { _ = try await $0.committedConfiguration() },
                { _ = try await $0.moves() }, { try await $0.apply(.setAddressesIfNone([])) },
                { try await $0.apply(.setAddressesIf(present: [Self.addresses], Self.addresses)) },
            ]
            for (number, ask) in first.enumerated() {
                await store.use(socket)
                #expect(store.isUnconfirmed)
                try await ask(store)
                #expect(try await text(Self.leads, socket, group) == "\(number + 2)")
            }
            await store.use(nil)
        }
    }

    @Test("what was found to be so already, or not to be wanted, is told from what was written")
    func written() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            let (none, one) = ([String](), ["10.0.0.1/24"])
            #expect(try await store.apply(.setAddressesIf(present: [none], one)))
            #expect(try await !store.apply(.setAddressesIf(present: [one], one)))
            #expect(try await !store.apply(.setAddressesIf(present: [none], one)))
            #expect(try await !store.apply(.setAddressesIfNone(Self.addresses)))
            #expect(try await store.apply(.setAddresses(one)))
            await store.use(nil)
        }
    }

    @Test("the database of a new cluster comes into being with one write: nobody ever sees a part of it")
    func atomic() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            let reader = try await DqliteClient.connect(to: socket, on: group)
            try await reader.open(Schema.database)
            // Tables and facts, as a reader counts them meanwhile.
            let watching = Task {
                var seen: [[DqliteValue]] = []
                while !Task.isCancelled, [nil, .integer(0)].contains(seen.last?.first) {
                    let row = try await reader.query(Self.tables).rows.first ?? []
                    if seen.last != row { seen.append(row) }
                }
                return seen
            }
            defer { watching.cancel() }
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            let seen = try await watching.value
            let all = try await reader.query(Self.tables).rows.first
            #expect(seen.last == all && all != [.integer(0)], "no table, and then all")
            let facts = try await reader.query("SELECT count(*) FROM meta").rows
            #expect(facts == [[.integer(4)]])
            await reader.close()
            await store.use(nil)
        }
    }

    /// Makes the database one of an earlier version. A connection that knew the table would be told of it in other words.
    private static func withoutLabels(
        _ store: ConfigurationStore, _ socket: DqliteAddress, _ group: any EventLoopGroup
    ) async throws {
        await store.use(nil)
        try await execute("DROP TABLE IF EXISTS node_label", socket, group)
        await store.use(socket)
    }

    @Test("labels are replaced as a whole, go with their node, and are made room for in an older database")
    func labels() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            try await Self.withoutLabels(store, socket, group)
            try await store.apply(.describeNode(.init(dqliteID: 7, nodeID: "u", name: "seven")))
            #expect(try await store.configuration().nodes.map(\.labels) == [nil])
            try await Self.withoutLabels(store, socket, group)
            try await store.apply(.labelNode(7, ["rack": "3", "arch": "arm"]))
            #expect(try await store.configuration().nodes.map(\.labels) == [["rack": "3", "arch": "arm"]])
            // What is said of the node itself leaves them alone.
            try await store.apply(.describeNode(.init(dqliteID: 7, nodeID: "u", name: "seventh")))
            try await store.apply(.labelNode(7, ["rack": "4"]))
            #expect(try await store.configuration().nodes.map(\.labels) == [["rack": "4"]])
            try await store.apply(.forgetNode(7))
            try await store.apply(.describeNode(.init(dqliteID: 7, nodeID: "v", name: "another")))
            #expect(try await store.configuration().nodes.map(\.labels) == [nil])
            await store.use(nil)
        }
    }

    @Test("making the database of a cluster again changes nothing")
    func create() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            #expect(try await store.facts().isEmpty)
            try await store.create(clusterID: "c1", clusterName: "n", agreement: #"{"text":"it's"}"#)
            try await store.commitFormed()
            try await store.apply(.setAddresses(Self.addresses))
            try await store.create(clusterID: "c2", clusterName: "m", agreement: "other")
            #expect(
                try await store.facts() == [
                    "schema_version": "1", "cluster_id": "c1", "cluster_name": "n", "agreement": #"{"text":"it's"}"#,
                    "formed": "1", "addresses_set": "1", "leads": "1",
                ])
            #expect(try await store.configuration().addresses == Self.addresses)
            await store.use(nil)
        }
    }

    @Test("a database that another connection is writing to is busy, and free again as soon as that one has ended")
    func busy() async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            let other = try await DqliteClient.connect(to: socket, on: group)
            try await other.open(Schema.database)
            try await other.execute("BEGIN IMMEDIATE")
            try await other.execute("DELETE FROM vip")
            let error = await #expect(throws: DqliteError.self) { try await store.apply(.setAddresses(Self.addresses)) }
            #expect(error?.code == .busy)
            await other.close()
            // The node notices the end of the connection in its own time.
            let deadline = BootClock.now.advanced(by: .seconds(30))
            while true {
                do {
                    try await store.apply(.setAddresses(Self.addresses))
                    break
                } catch let error as DqliteError where error.code == .busy {
                    try #require(BootClock.now < deadline, "the lock was never released")
                }
            }
            #expect(try await store.configuration().addresses == Self.addresses)
            await store.use(nil)
        }
    }

    @Test(
        "a database that a newer version has changed is neither read nor written, and says why", arguments: ["2", "x"])
    func newer(version: String) async throws {
        try await withLeader { socket, group in
            let store = ConfigurationStore(group: group)
            await store.use(socket)
            try await store.create(clusterID: "c", clusterName: "n", agreement: "{}")
            try await store.apply(.setAddresses(Self.addresses))
            try await execute("UPDATE meta SET value = '\(version)' WHERE key = 'schema_version'", socket, group)
            #expect(store.newerSchema == nil)

            // As after a change of the lead, from which on another node may have changed the schema.
            await store.use(socket)
            await #expect(throws: NewerSchema.self) { try await store.facts() }
            await #expect(throws: NewerSchema.self) { try await store.configuration() }
            let changes: [ConfigurationChange] = [
                .setAddresses([]), .setAddressesIfNone(["10.0.0.9/24"]), .forgetNode(7),
                .describeNode(.init(dqliteID: 7, nodeID: "i", name: "n")),
            ]
            for change in changes {
                await #expect(throws: NewerSchema.self) { try await store.apply(change) }
            }
            await #expect(throws: NewerSchema.self) {
                try await store.create(clusterID: "d", clusterName: "m", agreement: "{}")
            }
            await #expect(throws: NewerSchema.self) { try await store.commitFormed() }
            let warning = try #require(store.newerSchema).description
            #expect(warning.contains("schema version \(version)") && warning.contains("install"), "\(warning)")

            #expect(try await text("SELECT group_concat(address) FROM vip", socket, group) == "10.0.0.1/24,10.0.0.2/24")
            #expect(try await text("SELECT value FROM meta WHERE key = 'cluster_id'", socket, group) == "c")
            #expect(try await text("SELECT value FROM meta WHERE key = 'formed'", socket, group) == nil)
            #expect(
                try await text("SELECT value FROM meta WHERE key = 'schema_version'", socket, group) == version)

            // Another database, such as that of a cluster which this node joins later, is another matter.
            try await execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'", socket, group)
            await store.use(socket)
            #expect(store.newerSchema == nil)
            #expect(try await store.configuration().addresses == Self.addresses)
            await store.use(nil)
        }
    }

    @Test(
        "who knows a schema version knows those before it",
        arguments: [(nil, 1, true), ("1", 1, true), ("1", 2, true), ("3", 2, false), ("", 2, false), ("-", 2, false)]
            as [(String?, Int, Bool)])
    func versions(found: String?, known: Int, isKnown: Bool) {
        #expect((NewerSchema(found: found, known: known) == nil) == isKnown)
        if let newer = NewerSchema(found: found, known: 0) { #expect(newer.isKnown(to: known) == isKnown) }
    }

    @Test("callers at the same time share one connection, and one that has ended is made anew")
    func sharedConnection() async throws {
        try await withLeader { socket, group in
            let connection = NodeConnection(group: group)
            await connection.use(socket)
            let clients = try await withThrowingTaskGroup(of: DqliteClient.self) { tasks in
                for _ in 0..<8 { tasks.addTask { try await connection.connected() } }
                return try await tasks.reduce(into: []) { $0.append($1) }
            }
            let first = try #require(clients.first)
            #expect(clients.allSatisfy { $0 === first })
            await first.close()
            let second = try await connection.connected()
            #expect(second !== first && second.isOpen)
            await connection.use(nil)
            #expect(!second.isOpen)
            await #expect(throws: PortFailure.self) { try await connection.connected() }
        }
    }

    @Test("a connection that is still being made when the node goes is closed, and given to nobody later")
    func lateConnection() async throws {
        try await withLeader { socket, group in
            let (prepared, began) = AsyncStream.makeStream(of: DqliteClient.self)
            let connection = NodeConnection(group: group) { client in
                began.yield(client)
                try await Task.sleep(for: .seconds(600))
            }
            await connection.use(socket)
            let caller = Task { try await connection.connected() }
            var iterator = prepared.makeAsyncIterator()
            let client = try #require(await iterator.next())
            await connection.use(nil)
            #expect(!client.isOpen)
            await #expect(throws: (any Error).self) { try await caller.value }
        }
    }
}
