import Dqlite

/// What operators have attached to members.
extension ConfigurationStore {
    static func labels(_ client: DqliteClient) async throws -> [DqliteNodeID: [String: String]] {
        var labels: [DqliteNodeID: [String: String]] = [:]
        for row in try await client.query("SELECT dqlite_id, key, value FROM node_label", []).rows {
            guard case .integer(let id) = row[0], case .text(let key) = row[1], case .text(let value) = row[2] else {
                continue
            }
            labels[DqliteNodeID(bitPattern: id), default: [:]][key] = value
        }
        return labels
    }

    static func label(_ id: DqliteNodeID, _ labels: [String: String], in client: DqliteClient) async throws {
        let id = DqliteValue.integer(Int64(bitPattern: id))
        // Found to be missing, the table is made before the transaction.
        _ = try await withAdditions(client) { try await $0.query("SELECT 1 FROM node_label LIMIT 1", []) }
        try await transaction(client) {
            _ = try await client.execute("DELETE FROM node_label WHERE dqlite_id = ?", [id])
            for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
                _ = try await client.execute(
                    "INSERT INTO node_label (dqlite_id, key, value) VALUES (?, ?, ?)", [id, .text(key), .text(value)])
            }
        }
    }
}
