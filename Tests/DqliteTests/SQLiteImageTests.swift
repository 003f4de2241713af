import Dqlite
import Glibc
import Platform
import Testing

@Suite("A database and its log as one file")
struct SQLiteImageTests {
    @Test("what libdqlite dumps opens as one sound database with all rows, also after many changes")
    func dump() async throws {
        try await TestCluster.run(voters: 1) { cluster in
            let client = try await cluster.client(1, open: true)
            try await client.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
            for round in 1...3 {
                for _ in 0..<40 {
                    try await client.execute("INSERT INTO t(b) VALUES(hex(zeroblob(600)))")
                }
                try await client.execute("DELETE FROM t WHERE a % 3 = 0")
                let expected = try await client.query("SELECT count(*) || ' ' || sum(a) FROM t").rows
                let files = try await client.dump(TestCluster.database)
                let image = try SQLiteImage.merge(database: files[0].content, log: files[1].content)
                let path = cluster.path(1) + ".\(round).db"
                try DurableFile.write(image, to: path)
                #expect(try sqlite(path, "PRAGMA integrity_check") == "ok")
                #expect([[.text(try sqlite(path, "SELECT count(*) || ' ' || sum(a) FROM t"))]] == expected)
            }
        }
    }

    @Test("what is no database, or a damaged log, is refused and crashes nothing")
    func refused() async throws {
        #expect(throws: DqliteError.self) { try SQLiteImage.merge(database: [], log: []) }
        #expect(throws: DqliteError.self) {
            try SQLiteImage.merge(database: [UInt8](repeating: 7, count: 4096), log: [])
        }
        try await TestCluster.run(voters: 1) { cluster in
            let client = try await cluster.client(1, open: true)
            try await client.execute("CREATE TABLE t(a INTEGER)")
            let files = try await client.dump(TestCluster.database)
            for _ in 0..<300 {
                var log = files[1].content
                for _ in 0..<4 where !log.isEmpty { log[Int.random(in: 0..<min(log.count, 64))] = .random(in: 0...255) }
                _ = try? SQLiteImage.merge(
                    database: files[0].content, log: Array(log.prefix(.random(in: 0...log.count))))
            }
        }
    }

    /// The answer of the sqlite3 command line.
    private func sqlite(_ path: String, _ sql: String) throws -> String {
        let output = path + ".out"
        // The paths are of this test's own making.
        let command = "exec sqlite3 -readonly '\(path)' \"\(sql)\" > '\(output)' 2>&1"
        var pid: pid_t = 0
        let words = ["sh", "-c", command]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { (text: String) in strdup(text) } + [nil]
        defer { arguments.forEach { free($0) } }
        guard posix_spawnp(&pid, "sh", nil, nil, &arguments, environ) == 0 else { return "sqlite3 cannot be started" }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        let text = String(decoding: try DurableFile.read(output) ?? [], as: UTF8.self)
        return text.split(separator: "\n").joined(separator: "\n")
    }
}
