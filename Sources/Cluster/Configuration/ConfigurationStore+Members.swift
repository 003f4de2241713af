import Dqlite
import Platform

/// The tables about members, and about those that are members no more.
extension ConfigurationStore {
    /// Makes the tables that an earlier version of this program did not, when they are found to be missing.
    static func withAdditions<Result>(
        _ client: DqliteClient, _ body: (DqliteClient) async throws -> Result
    ) async throws -> Result {
        do {
            return try await body(client)
        } catch let error as DqliteError where error.code == .sql && error.message.contains("no such table") {
            for statement in Schema.additions { _ = try await client.execute(statement, []) }
            return try await body(client)
        }
    }

    static func nodes(_ client: DqliteClient) async throws -> [ReplicatedConfiguration.NodeEntry] {
        let rows = try await client.query(
            "SELECT node.dqlite_id, node_id, name, non_voter, failure_domain FROM node "
                + "LEFT JOIN node_option ON node_option.dqlite_id = node.dqlite_id ORDER BY node.dqlite_id", []
        ).rows
        return rows.compactMap { row in
            guard case .integer(let id) = row[0], case .text(let nodeID) = row[1], case .text(let name) = row[2]
            else { return nil }
            var entry = ReplicatedConfiguration.NodeEntry(
                dqliteID: DqliteNodeID(bitPattern: id), nodeID: nodeID, name: name)
            if case .integer(let flag) = row[3] { entry.isNonVoter = flag != 0 }
            if case .text(let domain) = row[4], !domain.isEmpty { entry.failureDomain = domain }
            return entry
        }
    }

    static func describe(_ node: ReplicatedConfiguration.NodeEntry, in client: DqliteClient) async throws {
        let id = DqliteValue.integer(Int64(bitPattern: node.dqliteID))
        _ = try await client.execute(
            "INSERT INTO node (dqlite_id, node_id, name) VALUES (?, ?, ?) ON CONFLICT (dqlite_id) "
                + "DO UPDATE SET node_id = excluded.node_id, name = excluded.name "
                + "WHERE node_id <> excluded.node_id OR name <> excluded.name",
            [id, .text(node.nodeID), .text(node.name)])
        guard let isNonVoter = node.isNonVoter else { return }
        _ = try await client.execute(
            "INSERT INTO node_option (dqlite_id, non_voter, failure_domain) VALUES (?, ?, ?) ON CONFLICT (dqlite_id) "
                + "DO UPDATE SET non_voter = excluded.non_voter, failure_domain = excluded.failure_domain "
                + "WHERE non_voter <> excluded.non_voter OR failure_domain <> excluded.failure_domain",
            [id, .integer(isNonVoter ? 1 : 0), .text(node.failureDomain ?? "")])
    }

    static func forget(_ id: DqliteNodeID, in client: DqliteClient) async throws {
        for table in ["node", "node_option", "node_label", "moving_node"] {
            try await delete(id, from: table, in: client)
        }
    }

    static func delete(_ id: DqliteNodeID, from table: String, in client: DqliteClient) async throws {
        _ = try await client.execute("DELETE FROM \(table) WHERE dqlite_id = ?", [.integer(Int64(bitPattern: id))])
    }

    /// Fails when one of the tables that a removal changes is missing.
    static func tablesOfMembers(_ client: DqliteClient) async throws {
        _ = try await client.query("SELECT (SELECT count(*) FROM removed_node), (SELECT count(*) FROM moving_node)", [])
    }

    static func removals(_ client: DqliteClient) async throws -> [RemovedNode] {
        let rows = try await client.query(
            "SELECT dqlite_id, node_id, name, address, reason, removed_at FROM removed_node "
                + "ORDER BY removed_at, dqlite_id", []
        ).rows
        return rows.compactMap { row in
            guard case .integer(let id) = row[0], case .text(let nodeID) = row[1], case .text(let name) = row[2],
                case .text(let address) = row[3], case .text(let reason) = row[4], case .integer(let at) = row[5]
            else { return nil }
            // A reason that a later version gives is one that this one does not go against.
            return RemovedNode(
                dqliteID: DqliteNodeID(bitPattern: id), nodeID: nodeID, name: name, address: address,
                reason: RemovedNode.Reason(rawValue: reason) ?? .removed, at: WallTime(milliseconds: at))
        }
    }

    static func note(_ removal: RemovedNode, in client: DqliteClient) async throws {
        _ = try await client.execute(
            "INSERT OR REPLACE INTO removed_node (dqlite_id, node_id, name, address, reason, removed_at) "
                + "VALUES (?, ?, ?, ?, ?, ?)",
            [
                .integer(Int64(bitPattern: removal.dqliteID)), .text(removal.nodeID), .text(removal.name),
                .text(removal.address), .text(removal.reason.rawValue), .integer(removal.at.milliseconds),
            ])
        _ = try await client.execute(
            "DELETE FROM removed_node WHERE dqlite_id NOT IN "
                + "(SELECT dqlite_id FROM removed_node ORDER BY removed_at DESC, dqlite_id LIMIT ?)",
            [.integer(Int64(RemovedNode.mostKept))])
    }
}
