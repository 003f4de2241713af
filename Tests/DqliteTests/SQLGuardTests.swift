import CDqlite
@testable import Dqlite
import Glibc
import Testing

/// Both walls against the installed SQLite, without a node: what readers may do, and that neither wall needs the other.
@Suite("what SQL strangers may run")
struct SQLGuardTests {
    private static let tables: Set<String> = ["vip", "node", "sqlite_master", "sqlite_schema"]

    /// A connection as libdqlite opens them in the daemon.
    private final class Connection {
        let handle: OpaquePointer

        init(isReader: Bool) throws {
            try SQLGuard.install(limit: .milliseconds(90), tables: SQLGuardTests.tables)
            var opened: OpaquePointer?
            try #require(
                sqlite3_open_v2(":memory:", &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nil) == SQLITE_OK)
            handle = try #require(opened)
            try #require(run("CREATE TABLE vip(position INTEGER, address TEXT)") == SQLITE_OK)
            for more in ["TABLE node(id INTEGER, name TEXT)", "TABLE secret(word TEXT)", "INDEX i ON vip(position)"] {
                try #require(run("CREATE \(more)") == SQLITE_OK)
            }
            try #require(run("INSERT INTO vip VALUES(1,'192.0.2.10/24'),(2,'192.0.2.11/24')") == SQLITE_OK)
            if isReader { try #require(cdqlite_make_reader(handle) == SQLITE_OK) }
        }

        deinit { sqlite3_close(handle) }

        @discardableResult
        func run(_ sql: String) -> Int32 { sqlite3_exec(handle, sql, nil, nil, nil) }

        /// The first column of all rows.
        func column(_ sql: String) throws -> [String] {
            var statement: OpaquePointer?
            try #require(sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK)
            defer { sqlite3_finalize(statement) }
            var found: [String] = []
            while sqlite3_step(statement) == SQLITE_ROW {
                if let text = sqlite3_column_text(statement, 0) { found.append(String(cString: text)) }
            }
            return found
        }
    }

    @Test("every function that the library has is refused by both walls, but for those that are listed")
    func functions() throws {
        let owner = try Connection(isReader: false)
        let names = Set(try owner.column("SELECT DISTINCT name FROM pragma_function_list"))
        #expect(names.count > 100 && names.contains("fts3_tokenizer"), "the library tells what it has")
        let reader = try Connection(isReader: true)
        let vetter = ReadOnlySQL(tables: Self.tables)
        for name in names where !ReadOnlySQL.functions.contains(name) {
            for arguments in ["", "1", "1, 1", "1, 1, 1", "?1, ?2"] {
                let sql = "SELECT \"\(name)\"(\(arguments)) FROM vip"
                #expect(reader.run(sql) != SQLITE_OK, "SQLite's authorizer lets \(sql) pass")
                #expect(vetter.check(Array(sql.utf8)) != nil, "\(sql)")
                let bare = "SELECT \(name)(\(arguments)) FROM vip"
                #expect(vetter.check(Array(bare.utf8)) != nil, "\(bare)")
            }
        }
        for name in ReadOnlySQL.functions {
            let sql = "SELECT \(name)(position) FROM vip"
            #expect(vetter.check(Array(sql.utf8)) == nil, "\(sql)")
            let isForTwo = ["ifnull", "nullif", "coalesce", "substr"].contains(name)
            #expect(reader.run(isForTwo ? "SELECT \(name)(position, 1) FROM vip" : sql) == SQLITE_OK, "\(sql)")
        }
    }

    @Test("every table that the library makes out of nothing is refused by both walls")
    func modules() throws {
        let owner = try Connection(isReader: false)
        let names = try owner.column("SELECT name FROM pragma_module_list")
        #expect(names.contains("fts3tokenize") && names.contains("json_each"))
        let pragmas = try owner.column("SELECT 'pragma_' || name FROM pragma_pragma_list")
        let reader = try Connection(isReader: true)
        let vetter = ReadOnlySQL(tables: Self.tables)
        for name in names + pragmas + ["secret", "sqlite_temp_master", "sqlite_stat1"] {
            for sql in [
                "SELECT * FROM \"\(name)\"", "SELECT * FROM \(name)('x')", "SELECT * FROM vip, '\(name)'",
                "SELECT 1 IN \(name)",
            ] {
                #expect(reader.run(sql) != SQLITE_OK, "SQLite lets \(sql) pass")
                #expect(vetter.check(Array(sql.utf8)) != nil, "\(sql)")
            }
        }
    }

    @Test(
        "the second wall alone refuses what changes anything, recursion, and what makes much of little",
        arguments: [
            "INSERT INTO vip VALUES(3,'x')", "DELETE FROM vip", "UPDATE vip SET address='x'", "CREATE TABLE t(a)",
            "DROP TABLE vip",
            "CREATE TEMP TABLE t(a)", "ATTACH ':memory:' AS x", "PRAGMA journal_mode", "PRAGMA user_version=7", "BEGIN",
            "SAVEPOINT a",
            "VACUUM", "ANALYZE", "REINDEX", "CREATE VIRTUAL TABLE f USING fts3(a)", "SELECT * FROM secret",
            "WITH x(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM x) SELECT count(*) FROM x", "SELECT load_extension('x')",
            "SELECT replace(address, '1', '22') FROM vip", "SELECT address LIKE '%1%' FROM vip",
            "SELECT printf('%*d', 100000000, 1)",
            "SELECT zeroblob(1000000000)", "SELECT group_concat(address) FROM vip", "SELECT '{}' -> '$'",
            "SELECT random()",
        ])
    func refused(_ sql: String) throws {
        let reader = try Connection(isReader: true)
        #expect(reader.run(sql) != SQLITE_OK)
        #expect(try reader.column("SELECT count(*) FROM vip") == ["2"])
    }

    @Test("a connection of our own does all that it needs, and one of a reader never becomes one again")
    func owner() throws {
        let owner = try Connection(isReader: false)
        #expect(owner.run("BEGIN IMMEDIATE; DELETE FROM vip; COMMIT; PRAGMA user_version=7") == SQLITE_OK)
        // Tokenizers and extensions are nobody's business here.
        #expect(owner.run("SELECT fts3_tokenizer('simple', x'4141414141414141')") != SQLITE_OK)
        #expect(owner.run("SELECT load_extension('x')") != SQLITE_OK)
        let reader = try Connection(isReader: true)
        #expect(reader.run("SELECT dqlite_vip_reader()") != SQLITE_OK)
        #expect(reader.run("DELETE FROM vip") != SQLITE_OK)
    }

    @Test("a statement of a reader that goes on for ever gets 5 ms of the thread, whatever it is made of")
    func time() throws {
        let reader = try Connection(isReader: true)
        let rows = "(VALUES" + (0..<200).map { "(\($0))" }.joined(separator: ",") + ")"
        for sql in [
            "SELECT count(*) FROM \(rows) a, \(rows) b, \(rows) c, \(rows) d",
            "SELECT max(upper(a.column1 || b.column1 || c.column1)) FROM \(rows) a, \(rows) b, \(rows) c",
            "SELECT a.column1 FROM \(rows) a, \(rows) b, \(rows) c ORDER BY a.column1 || b.column1",
        ] {
            var statement: OpaquePointer?
            try #require(sqlite3_prepare_v2(reader.handle, sql, -1, &statement, nil) == SQLITE_OK)
            let begun = Self.threadMicroseconds
            var code = SQLITE_ROW
            while code == SQLITE_ROW { code = sqlite3_step(statement) }
            let took = Self.threadMicroseconds - begun
            sqlite3_finalize(statement)
            #expect(code == SQLITE_INTERRUPT, "\(sql.prefix(60))")
            // Four times the limit: the clock is looked at every 2000 instructions, and a sort ends in one.
            #expect(took < 20_000, "\(took) µs: \(sql.prefix(60))")
        }
        // The next one begins anew.
        #expect(try reader.column("SELECT count(*) FROM vip") == ["2"])
    }

    @Test("no text of a reader grows beyond 64 KiB, so that no single instruction takes long")
    func length() throws {
        let reader = try Connection(isReader: true)
        var text = "'" + String(repeating: "x", count: 1000) + "'"
        for _ in 0..<3 { text = "(\(text) || \(text) || \(text) || \(text) || \(text))" }
        #expect(reader.run("SELECT length(\(text))") == SQLITE_TOOBIG)
        let deep = String(repeating: "(", count: 200) + "1" + String(repeating: " + 1)", count: 200)
        #expect(reader.run("SELECT \(deep)") != SQLITE_OK)
    }

    private static var threadMicroseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
