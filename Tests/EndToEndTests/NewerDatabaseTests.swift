import Dqlite
import Glibc
import Lab
import NIOPosix
import Platform
import Testing

extension EndToEnd {
    @Suite("A database of a newer version")
    struct NewerDatabaseTests {
        /// Works on the database of a node whose daemon has stopped.
        private func withDatabase<Result: Sendable>(
            of node: LabNode, _ body: (DqliteClient) async throws -> Result
        ) async throws -> Result {
            // A node alone has the id that founds a cluster.
            let database = DqliteNode(
                configuration: .init(
                    id: 1, address: "\(node.clusterAddress)", directory: "\(node.dataDirectory)/raft"
                ) { .failure(SystemError("connect to", $0, errno: ECONNREFUSED)) })
            try await database.start()
            let client = try await DqliteClient.connect(
                to: try database.bindAddress, on: MultiThreadedEventLoopGroup.singleton)
            try await eventually("lead of the database", within: .seconds(10)) { try await client.leader()?.id == 1 }
            try await client.open("dqlite-vip")
            let result = try await body(client)
            await client.close()
            try await database.stop()
            return result
        }

        @Test("an older node leaves it alone: no address is set, no change is taken, and the status says why")
        func olderNode() async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                var options = StartOptions()
                options.further = ["--vip", lab.vipText]
                try node.start(options)
                _ = try await lab.holder()
                #expect(try await node.terminate().isSuccess)
                try await withDatabase(of: node) { client in
                    try await client.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
                    try await client.execute("ALTER TABLE vip ADD COLUMN since INTEGER NOT NULL DEFAULT 5")
                }

                try node.startAgain()
                let status = try await eventually("warning", within: .seconds(15)) {
                    let text = try await node.request("GET", "/status").text
                    return text.contains("schema version 7") ? text : nil
                }
                #expect(status.contains("knows it up to 1 only"), "\(status)")
                #expect(try await node.status().isLeader)
                let write = try await node.setVIP("10.42.0.111/24")
                #expect(write.status == 503)
                #expect(write.message.contains("schema version 7"), "\(write.message)")
                #expect(try await node.request("GET", "/vip").status == 503)
                #expect(lab.witness.holders(of: lab.vip).isEmpty)
                // Said once, not at each attempt.
                let lines = node.logText.split(separator: "\n").filter { $0.contains("schema version 7") }
                #expect(lines.count == 1, "\(node.logTail())")
                #expect(try await node.terminate().isSuccess)

                let kept = try await withDatabase(of: node) { client in
                    try await client.query(
                        "SELECT address || ' ' || since || ' ' || (SELECT value FROM meta WHERE key = 'schema_version') "
                            + "FROM vip"
                    ).rows
                }
                #expect(kept == [[.text("\(lab.vipText) 5 7")]])
            }
        }
    }
}
