import Dqlite

/// Labels of members, in a table of their own: a program that does not know it can leave it alone, so it does not raise the
/// version of the schema. It is made with the first label.
extension ConfigurationStore {
    private static let table =
        "CREATE TABLE IF NOT EXISTS node_label (dqlite_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "
        + "PRIMARY KEY (dqlite_id, key)) WITHOUT ROWID"

    static func labelled(
        _ configuration: ReplicatedConfiguration, _ client: DqliteClient
    ) async throws -> ReplicatedConfiguration {
        guard try await hasTable(client) else { return configuration }
        var configuration = configuration
        let rows = try await client.query("SELECT dqlite_id, key, value FROM node_label", []).rows
        var labels: [DqliteNodeID: [String: String]] = [:]
        for row in rows {
            guard case .integer(let id) = row[0], case .text(let key) = row[1], case .text(let value) = row[2] else {
                continue
            }
            labels[DqliteNodeID(bitPattern: id), default: [:]][key] = value
        }
        for index in configuration.nodes.indices {
            configuration.nodes[index].labels = labels[configuration.nodes[index].dqliteID]
        }
        return configuration
    }

    static func label(_ id: DqliteNodeID, _ labels: [String: String], in client: DqliteClient) async throws {
        let isThere = try await hasTable(client)
        if labels.isEmpty && !isThere { return }
        try await transaction(client) {
            if !isThere { _ = try await client.execute(table, []) }
            // Also those of members that are gone.
            _ = try await client.execute(
                "DELETE FROM node_label WHERE dqlite_id = ? OR dqlite_id NOT IN (SELECT dqlite_id FROM node)",
                [.integer(Int64(bitPattern: id))])
            for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
                _ = try await client.execute(
                    "INSERT INTO node_label (dqlite_id, key, value) VALUES (?, ?, ?)",
                    [.integer(Int64(bitPattern: id)), .text(key), .text(value)])
            }
        }
    }

    private static func hasTable(_ client: DqliteClient) async throws -> Bool {
        let found = try await client.query(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'node_label'", [])
        return !found.rows.isEmpty
    }
}
