import Dqlite
import NIOCore
import Platform
import Synchronization

/// Reads and writes the replicated tables through the local node. It works only while that node leads, and leaves a
/// database alone that a newer version has changed.
///
/// A statement whose fate is unknown (leadership lost while it ran, no answer in time) is reported as such and never
/// repeated here; each is idempotent, so that its asker may.
actor ConfigurationStore {
    private let connection: NodeConnection
    private let refused: RefusedSchema
    /// One piece of work at a time: a transaction takes several requests on the one connection.
    private let queue = SerialQueue()
    /// The connection on which an entry of this lead was committed; see `confirm`.
    private var confirmed: DqliteClient? { didSet { hasConfirmed.withLock { $0 = confirmed != nil } } }
    private let hasConfirmed = Mutex(false)

    /// A statement failed because the disk could not take it. libraft goes on as if nothing was, and uses its place in the log again,
    /// while other members may have it (DOC/LIBRAFT.md, L4): so nothing more is written.
    private let failedDisk = Mutex(false)

    /// - Parameter timeout: for each statement.
    init(group: any EventLoopGroup, timeout: Duration = .seconds(5)) {
        let refused = RefusedSchema()
        self.refused = refused
        // Checked for each connection: libdqlite takes the database from all of them when the lead goes, and only a leader
        // changes the schema.
        connection = NodeConnection(group: group, timeout: timeout) { client in
            try await client.open(Schema.database)
            try refused.check(version: try await Self.facts(client)["schema_version"])
        }
    }

    /// Names the local node's socket, or that there is none.
    func use(_ socket: DqliteAddress?) async {
        await connection.use(nil)
        confirmed = nil
        refused.forget()
        await connection.use(socket)
    }

    /// Whether an entry of this lead is still to be written, as far as is known. From any thread.
    nonisolated var isUnconfirmed: Bool { hasConfirmed.withLock { !$0 } }

    /// From any thread.
    nonisolated var hasFailedDisk: Bool { failedDisk.withLock { $0 } }
    nonisolated func forgetFailedDisk() { failedDisk.withLock { $0 = false } }

    /// That the database was found to be newer than this program; nil until then. From any thread.
    nonisolated var newerSchema: NewerSchema? { refused.schema }

    // MARK: - The cluster itself

    /// Makes the tables and records the cluster's identity; repeatable.
    func create(clusterID: String, clusterName: String, agreement: String) async throws {
        let facts = [
            ("schema_version", String(Schema.version)), ("cluster_id", clusterID), ("cluster_name", clusterName),
            ("agreement", agreement),
        ]
        try await run { client in
            // One transaction is one write to the disk: the founder gives up when it takes too long.
            try await Self.transaction(client) {
                for statement in Schema.statements + Schema.additions { _ = try await client.execute(statement, []) }
                for (key, value) in facts {
                    _ = try await client.execute(
                        "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", [.text(key), .text(value)])
                }
            }
        }
    }

    /// The facts of table `meta`; empty while there is no such table.
    func facts() async throws -> [String: String] {
        try await run { try await Self.facts($0) }
    }

    private static func facts(_ client: DqliteClient) async throws -> [String: String] {
        let tables = try await client.query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'meta'", [])
        guard !tables.rows.isEmpty else { return [:] }
        var facts: [String: String] = [:]
        for row in try await client.query("SELECT key, value FROM meta", []).rows {
            if case .text(let key) = row[0], case .text(let value) = row[1] { facts[key] = value }
        }
        return facts
    }

    /// Commits that the cluster is formed.
    func commitFormed() async throws {
        try await run { client in
            _ = try await client.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('formed', '1')", [])
        }
    }

    // MARK: - The configuration

    /// What the local node has applied as the leader: good enough to act on at once. It may be an entry of an earlier term that
    /// is not safe yet; `committedConfiguration` tells nothing of that kind.
    func configuration() async throws -> ReplicatedConfiguration {
        try await run { try await Self.configuration($0) }
    }

    /// What no later leader can be without, or newer. Whether this node has led all the time is for the caller to see.
    func committedConfiguration() async throws -> ReplicatedConfiguration {
        try await runConfirmed { try await Self.configuration($0) }
    }

    private static func configuration(_ client: DqliteClient) async throws -> ReplicatedConfiguration {
        let addresses = try await Self.addresses(client)
        let (nodes, removed, labels, moving) = try await Self.withAdditions(client) { client in
            (
                try await Self.nodes(client), try await Self.removals(client), try await Self.labels(client),
                try await Self.moves(client)
            )
        }
        var configuration = ReplicatedConfiguration(
            addresses: addresses, nodes: nodes, removed: removed, moving: moving)
        for index in configuration.nodes.indices {
            configuration.nodes[index].labels = labels[configuration.nodes[index].dqliteID]
        }
        return configuration
    }

    private static func addresses(_ client: DqliteClient) async throws -> [String] {
        let found = try await client.query(
            "SELECT address FROM vip WHERE group_name = 'default' ORDER BY position", [])
        return found.rows.compactMap { row in
            if case .text(let address) = row[0] { address } else { nil }
        }
    }

    /// Commits a change; when this returns, a majority of the voters has it on disk.
    ///
    /// - Returns: whether it was written. false: it was found to be so already, or not to be wanted, which is worth as much as
    ///   a read is.
    /// - Throws: `PortFailure` `.changed` when the addresses are none of those that the change is for.
    @discardableResult
    func apply(_ change: ConfigurationChange) async throws -> Bool {
        try await runConfirmed { client in
            switch change {
            case .setAddresses(let addresses):
                try await Self.transaction(client) { try await Self.replace(addresses, in: client) }
            case .setAddressesIf(let present, let addresses):
                return try await Self.replace(addresses, ifOneOf: present, in: client)
            case .setAddressesIfNone(let addresses):
                guard !addresses.isEmpty else { return false }
                // What an operator has cleared stays cleared.
                let known = try await client.query(
                    "SELECT 1 FROM vip UNION ALL SELECT 1 FROM meta WHERE key = 'addresses_set' LIMIT 1", [])
                guard known.rows.isEmpty else { return false }
                try await Self.transaction(client) { try await Self.replace(addresses, in: client) }
            case .describeNode(let node):
                try await Self.withAdditions(client) { try await Self.describe(node, in: $0) }
            case .labelNode(let id, let labels):
                try await Self.label(id, labels, in: client)
            case .forgetNode(let id):
                try await Self.withAdditions(client) { try await Self.forget(id, in: $0) }
            case .noteRemoval(let removal):
                // Found to be missing, a table is made before the transaction.
                _ = try await Self.withAdditions(client) { try await Self.tablesOfMembers($0) }
                try await Self.transaction(client) {
                    try await Self.note(removal, in: client)
                    try await Self.forgetMove(removal.dqliteID, in: client)
                }
            case .forgetRemoval(let id):
                try await Self.withAdditions(client) { try await Self.delete(id, from: "removed_node", in: $0) }
            case .noteMove(let move):
                try await Self.withAdditions(client) { try await Self.note(move, in: $0) }
            case .forgetMove(let id):
                try await Self.withAdditions(client) { try await Self.forgetMove(id, in: $0) }
            }
            return true
        }
    }

    private static func replace(_ addresses: [String], in client: DqliteClient) async throws {
        _ = try await client.execute("DELETE FROM vip WHERE group_name = 'default'", [])
        for (position, address) in addresses.enumerated() {
            _ = try await client.execute(
                "INSERT INTO vip (group_name, position, address) VALUES ('default', ?, ?)",
                [.integer(Int64(position)), .text(address)])
        }
        _ = try await client.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('addresses_set', '1')", [])
    }

    private static func replace(
        _ addresses: [String], ifOneOf present: [[String]], in client: DqliteClient
    ) async throws -> Bool {
        var found: [String] = []
        // Read under the write lock: a change of which nobody knew whether it took effect cannot come between.
        try await transaction(client) {
            found = try await Self.addresses(client)
            if present.contains(found), found != addresses { try await replace(addresses, in: client) }
        }
        // Who asks again because an answer was lost has got what he wanted (RFC 9110, 13.1.1).
        guard present.contains(found) || found == addresses else {
            let list = found.isEmpty ? "none" : found.joined(separator: ", ")
            throw PortFailure(
                reason: .changed,
                text:
                    "the virtual addresses were changed meanwhile, nothing was done: they are now \(list); read them again"
            )
        }
        return found != addresses
    }

    /// All of `body` takes effect at once, or nothing: a reader never sees half of it.
    static func transaction(_ client: DqliteClient, _ body: () async throws -> Void) async throws {
        _ = try await client.execute("BEGIN IMMEDIATE", [])
        do {
            try await body()
            _ = try await client.execute("COMMIT", [])
        } catch {
            // The connection holds the write lock until the transaction ends with it.
            await client.close()
            throw error
        }
    }

    // MARK: - The lead

    /// Sees to it that an entry of this lead's own term is committed; to be asked before each change of members.
    ///
    /// - Throws: when it cannot be committed, or this node leads no more.
    func confirmLead() async throws {
        // What a newer version has changed is left alone; this node gives the lead away.
        guard refused.schema == nil else { return }
        do {
            try await confirmOnce()
        } catch let error as DqliteError where error.code == .noDatabase || error.code == .connectionClosed {
            // The connection was that of an earlier lead.
            try await confirmOnce()
        } catch is NewerSchema {
            return
        }
    }

    private func confirmOnce() async throws {
        try await run { client in
            guard try await !self.confirm(client) else { return }
            // Whether the connection still is that of this lead only its use can tell.
            _ = try await client.query("SELECT 1", [])
        }
    }

    /// Commits one entry on a connection that is new.
    ///
    /// libraft commits entries of earlier terms by counting copies, which is not safe (section 5.4.2 of the Raft paper): a later
    /// leader may do without them until one of the leader's own term is committed behind them. libdqlite takes the database from all
    /// connections when the lead goes. So what works on the connection on which it was written is of the same lead.
    ///
    /// - Returns: whether it was written now.
    @discardableResult
    private func confirm(_ client: DqliteClient) async throws -> Bool {
        guard confirmed !== client else { return false }
        do {
            _ = try await client.execute(
                "INSERT INTO meta (key, value) VALUES ('leads', '1') "
                    + "ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1", [])
        } catch let error as DqliteError where error.code == .sql && error.message.contains("no such table") {
            // The tables of a new cluster are written by what comes next.
            return false
        }
        confirmed = client
        return true
    }

    // MARK: - Connection

    func runConfirmed<Result: Sendable>(
        _ body: @escaping @Sendable (DqliteClient) async throws -> Result
    ) async throws -> Result {
        try await run { client in
            try await self.confirm(client)
            return try await body(client)
        }
    }

    func run<Result: Sendable>(
        _ body: @escaping @Sendable (DqliteClient) async throws -> Result
    ) async throws -> Result {
        try await queue.run { try await self.runNow(body) }
    }

    private func runNow<Result: Sendable>(
        _ body: @Sendable (DqliteClient) async throws -> Result
    ) async throws -> Result {
        try refused.check()
        guard !hasFailedDisk else {
            throw PortFailure(reason: .unavailable, text: "a write to the disk has failed: the daemon starts anew")
        }
        let client = try await connection.connected()
        do {
            return try await body(client)
        } catch {
            if (error as? DqliteError)?.isFailedWrite == true { failedDisk.withLock { $0 = true } }
            // After anything but a refused statement the connection is in doubt: the node closes the database of every
            // connection when it loses leadership, and an open transaction ends with its connection.
            let code = (error as? DqliteError)?.code
            let isRefused = code == .sql || code == .constraint || code == .busy || error is PortFailure
            if !client.isOpen || !isRefused {
                await connection.drop(client)
            }
            throw error
        }
    }
}
