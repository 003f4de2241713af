import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Backup and restore")
    struct BackupTests {
        @Test("a backup from any node brings the configuration back through any node, all at once or not at all")
        func roundTrip() async throws {
            try await withCluster { lab, formation in
                let addresses = [lab.vipText, "10.42.0.120/24"]
                #expect(try await lab[1].command(["vip", "set"] + addresses).isSuccess)
                let backup = try await lab[2].command(["backup"])
                #expect(backup.isSuccess, "\(backup.text)")
                for part in addresses + [formation.clusterID, "\"version\" : 1", "dqlite-vip-backup"] {
                    #expect(backup.output.contains(part), "\(backup.output)")
                }
                let file = lab[3].directory + "/backup.json"
                try DurableFile.write(Array(backup.output.utf8), to: file)
                #expect(try await lab[1].command(["vip", "clear"]).isSuccess)

                let wrong = [
                    ("\"version\" : 1", "\"version\" : 2", "version: 2"),
                    ("10.42.0.120/24", "10.42.0.999/24", "configuration.addresses[1]"),
                    ("\"addresses\"", "\"adresses\"", "configuration.adresses"),
                    ("10.42.0.120/24", "10.42.0.3/24", "10.42.0.3 is the own address"),
                ]
                for (from, to, expected) in wrong {
                    try DurableFile.write(Array(Self.replacing(from, by: to, in: backup.output).utf8), to: file)
                    let refused = try await lab[3].command(["restore", "backup.json"])
                    #expect(!refused.isSuccess && refused.error.contains(expected), "\(expected): \(refused.text)")
                    // And whoever asks the API itself gets the same.
                    let text = String(decoding: try #require(try DurableFile.read(file)), as: UTF8.self)
                    #expect(try await lab[2].request("POST", "/v1/restore", body: text).status == 400)
                }
                #expect(try await lab[2].vip().isEmpty)

                try DurableFile.write(Array(backup.output.utf8), to: file)
                let restored = try await lab[3].command(["restore", "backup.json"])
                #expect(restored.isSuccess, "\(restored.text)")
                for node in lab.nodes {
                    let now = try await node.command(["vip", "get"]).output.split(separator: "\n").map(String.init)
                    #expect(now == addresses)
                }
                _ = try await lab.holder()
            }
        }

        private static func replacing(_ old: String, by new: String, in text: String) -> String {
            guard let range = text.firstRange(of: old) else { return text }
            return text.replacingCharacters(range, new)
        }

        @Test("the database of each node opens in sqlite3 as one sound file with the configuration in it")
        func database() async throws {
            try await withCluster { lab, formation in
                for number in 111...116 { _ = try await lab[1].setVIP("10.42.0.\(number)/24") }
                for node in lab.nodes {
                    let saved = try await node.command(["backup", "--database", "copy.db"])
                    #expect(saved.isSuccess, "\(saved.text)")
                    let path = node.directory + "/copy.db"
                    let check = try ToolCommand.check(["sqlite3", "-readonly", path, "PRAGMA integrity_check"])
                    #expect(check.hasPrefix("ok"), "\(check)")
                    try await eventually("the address in the copy of node \(node.number)", within: .seconds(5)) {
                        unlink(path)
                        _ = try await node.command(["backup", "--database", "copy.db"])
                        let rows = try ToolCommand.check([
                            "sqlite3", "-readonly", path,
                            "SELECT address FROM vip; SELECT value FROM meta WHERE key = 'cluster_id'",
                        ])
                        return rows == "10.42.0.116/24\n\(formation.clusterID)\n"
                    }
                    let again = try await node.command(["backup", "--database", "copy.db"])
                    #expect(!again.isSuccess && again.error.contains("not there"), "\(again.text)")
                }
            }
        }
    }
}

extension String {
    fileprivate func replacingCharacters(_ range: Range<String.Index>, _ new: String) -> String {
        self[..<range.lowerBound] + new + self[range.upperBound...]
    }
}
