import Dqlite

/// Changes of address that are under way.
extension ConfigurationStore {
    /// Those that were begun and not brought to their end.
    func moves() async throws -> [MovingNode] {
        try await runConfirmed { client in try await Self.withAdditions(client) { try await Self.moves($0) } }
    }

    static func moves(_ client: DqliteClient) async throws -> [MovingNode] {
        let rows = try await client.query(
            "SELECT dqlite_id, address, role FROM moving_node ORDER BY dqlite_id", []
        ).rows
        return rows.compactMap { row in
            guard case .integer(let id) = row[0], case .text(let address) = row[1], case .integer(let number) = row[2],
                let role = UInt64(exactly: number).flatMap(DqliteRole.init(rawValue:))
            else { return nil }
            return MovingNode(dqliteID: DqliteNodeID(bitPattern: id), address: address, role: role)
        }
    }

    static func note(_ move: MovingNode, in client: DqliteClient) async throws {
        _ = try await client.execute(
            "INSERT OR REPLACE INTO moving_node (dqlite_id, address, role) VALUES (?, ?, ?)",
            [
                .integer(Int64(bitPattern: move.dqliteID)), .text(move.address), .integer(Int64(move.role.rawValue)),
            ])
    }

    static func forgetMove(_ id: DqliteNodeID, in client: DqliteClient) async throws {
        try await delete(id, from: "moving_node", in: client)
    }
}
