@testable import Dqlite
import NIOCore
import Testing

@Suite("vetting of requests from outside")
struct VetterTests {
    private static let select = "SELECT a FROM t"

    private static let tables: Set<String> = ["t", "u", "sqlite_master"]

    private static func vetter(
        _ policy: ClientRequestVetter.Policy = .readOnly, limits: ClientRequestVetter.Limits = .init(),
        databases: Set<String>? = nil
    ) -> ClientRequestVetter {
        ClientRequestVetter(policy: policy, limits: limits, databases: databases, tables: tables)
    }

    /// What becomes of the messages in the bytes when the node answers each at once, and does what makes a reader.
    private static func verdicts(
        _ vetter: inout ClientRequestVetter, _ bytes: some Collection<UInt8>
    ) -> [ClientRequestVetter.Verdict] {
        vetter.consume(bytes)
        var found: [ClientRequestVetter.Verdict] = []
        while let verdict = vetter.next() {
            guard case .forward(let request) = verdict else {
                found.append(verdict)
                continue
            }
            let isRestriction = request == restriction
            if !isRestriction { found.append(verdict) }
            let passed = vetter.consumeAnswer(isRestriction ? rows : failure)
            #expect(Array(passed) == (isRestriction ? [] : failure))
        }
        return found
    }

    private static let restriction =
        (try? WireRequest.querySQL(database: 0, sql: "SELECT dqlite_vip_reader()", parameters: []).encoded()) ?? []
    private static let rows = message(7, hex("0100000000000000 6100000000000000 ffffffffffffffff"))
    private static let failure = message(0, hex("0100000000000000 6e6f 000000000000"))

    private func code(_ verdict: ClientRequestVetter.Verdict?) -> UInt64? {
        guard case .answer(let bytes) = verdict else { return nil }
        let body = WireMessage(type: bytes[4], body: Array(bytes[8...]))
        guard case .failure(let code, _) = try? WireResponse(body, answering: .leader) else { return nil }
        return code
    }

    private func isClosed(_ verdict: ClientRequestVetter.Verdict?) -> Bool {
        if case .close = verdict { true } else { false }
    }

    private static let reading: [WireRequest] = [
        .leader, .client(id: 1), .open(name: "d.db"), .prepare(database: 0, sql: select),
        .querySQL(database: 0, sql: select, parameters: []),
        .querySQL(
            database: 0, sql: select,
            parameters: [.integer(1), .float(2), .text("three"), .blob([4]), .null, .boolean(true)]),
        .interrupt(database: 0), .dump(name: "d.db"), .cluster(format: .withRoles), .cluster(format: .withoutRoles),
        .describe,
    ]
    private static let writing: [WireRequest] = [
        .exec(database: 0, statement: 0, parameters: []), .execSQL(database: 0, sql: "DELETE FROM t", parameters: []),
        .add(id: 2, address: "n2"), .assign(id: 2, role: .voter), .remove(id: 2), .transfer(id: 0), .weight(1),
    ]

    @Test("every reading request passes unchanged", arguments: reading)
    func readingPasses(_ request: WireRequest) throws {
        var vetter = Self.vetter()
        let bytes = try request.encoded()
        #expect(Self.verdicts(&vetter, bytes) == [.forward(bytes)])
        #expect(!vetter.isBusy)
    }

    @Test("a writing request is answered with a reason, unless the policy is full", arguments: writing)
    func writingIsRefused(_ request: WireRequest) throws {
        let bytes = try request.encoded()
        var readOnly = Self.vetter()
        #expect(code(Self.verdicts(&readOnly, bytes).first) == 8)
        #expect(!readOnly.isBusy)
        guard request.type != .exec else { return }
        var full = Self.vetter(.full)
        #expect(Self.verdicts(&full, bytes) == [.forward(bytes)])
    }

    @Test("messages pass whole, however the stream is cut, and a ByteBuffer will do")
    func chunks() throws {
        let messages = try Self.reading.map { try $0.encoded() }
        let stream = messages.flatMap { $0 }
        for size in 1...40 {
            var vetter = Self.vetter()
            var forwarded: [ClientRequestVetter.Verdict] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                let chunk = ByteBuffer(bytes: stream[start..<min(start + size, stream.count)])
                forwarded += Self.verdicts(&vetter, chunk.readableBytesView)
            }
            #expect(forwarded == messages.map { .forward($0) })
        }
    }

    @Test("the old form of Assign passes under the full policy, an unknown role does not")
    func assign() {
        var vetter = Self.vetter(.full)
        let old = message(13, hex("0200000000000000"))
        #expect(Self.verdicts(&vetter, old) == [.forward(old)])
        #expect(code(Self.verdicts(&vetter, message(13, hex("0200000000000000 0300000000000000"))).first) == 1005)
    }

    static let killers: [(String, [UInt8])] = [
        ("an empty body makes the node abort", hex("00000000 00 00 0000")),
        ("a gigantic length makes the node wait and allocate", hex("ffffffff 00 00 0000")),
        ("a body one word beyond the limit", hex("01000200 09 00 0000")),
        ("a client that becomes a raft peer", message(11, hex("0200000000000000 6e32 000000000000"))),
        ("an Open whose name has no end", message(3, hex("6162636465666768"))),
        ("an Open without flags", message(3, hex("6100000000000000"))),
        ("an Open without VFS name", message(3, hex("6100000000000000 0000000000000000"))),
        ("a Prepare whose SQL has no end", message(4, hex("0000000000000000 6162636465666768"))),
        ("a Prepare without SQL", message(4, hex("0000000000000000"))),
        ("more than a Leader request", message(0, hex("0000000000000000 0000000000000000"))),
        ("a tuple that counts more values than there are", sql("05 01 01 01 01 01 0000")),
        ("a tuple without values", sql("00 00000000000000")),
        ("a tuple of 255 types in one word", sql("ff 01010101010101")),
        ("a time as parameter", sql("01 09 000000000000 0000000000000000")),
        ("an unknown type code", sql("01 07 000000000000 0000000000000000")),
        ("type code 0", sql("01 00 000000000000 0000000000000000")),
        ("a text parameter without end", sql("01 03 000000000000 6162636465666768")),
        ("a blob longer than the body", sql("01 04 000000000000 0900000000000000 0000000000000000")),
        ("a blob of 2^64-1 bytes", sql("01 04 000000000000 ffffffffffffffff 0000000000000000")),
        ("a blob whose padding overflows", sql("01 04 000000000000 f9ffffffffffffff 0000000000000000")),
        ("bytes behind the parameters", sql("01 01 000000000000 0100000000000000 0000000000000000")),
        ("a Dump whose name has no end", message(15, hex("6162636465666768"))),
        ("a Cluster with more than a format", message(16, hex("0000000000000000 0000000000000000"))),
    ]

    private static func sql(_ parameters: String) -> [UInt8] {
        message(9, hex("0000000000000000 53454c4543542031 0000000000000000 \(parameters)"))
    }

    @Test("a malformed message closes the connection and nothing behind it is looked at", arguments: killers.indices)
    func malformed(_ index: Int) throws {
        let (name, bytes) = Self.killers[index]
        for policy in [ClientRequestVetter.Policy.readOnly, .full] {
            var vetter = Self.vetter(policy)
            let verdicts = Self.verdicts(&vetter, bytes + (try WireRequest.leader.encoded()))
            #expect(verdicts.count == 1 && isClosed(verdicts.first), "\(name), \(policy): \(verdicts)")
            #expect(Self.verdicts(&vetter, try WireRequest.leader.encoded()) == [])
        }
    }

    static let answered: [(String, [UInt8], UInt64)] = [
        ("Heartbeat is never answered by the node", message(2, hex("0000000000000000")), 1001),
        ("type 20", message(20, hex("0000000000000000")), 1001),
        ("type 255", message(255, hex("0000000000000000")), 1001),
        ("Describe format 1 makes the node abort", message(18, hex("0100000000000000")), 1005),
        ("Cluster format 2", message(16, hex("0200000000000000")), 1005),
        ("schema 1", hex("01000000 00 01 0000 0000000000000000"), 1001),
        ("the reserved bytes", hex("01000000 00 00 0100 0000000000000000"), 1001),
        ("a database in memory has no file, and the node dies of it", open(":memory:"), 14),
        ("a database without name", open(""), 14), ("a path", open("../x"), 14), ("a hidden file", open(".x"), 14),
        ("a name too long", open(String(repeating: "x", count: 65)), 14),
        ("a statement that was never prepared", message(6, hex("00000000 00000000")), 12),
        ("finalizing one", message(7, hex("00000000 00000000")), 12),
    ]

    private static func open(_ name: String) -> [UInt8] {
        (try? WireRequest.open(name: name).encoded()) ?? []
    }

    @Test(
        "what the node must not see is answered in its place, and the connection goes on", arguments: answered.indices)
    func refusedWithAnAnswer(_ index: Int) throws {
        let (name, bytes, expected) = Self.answered[index]
        let leader = try WireRequest.leader.encoded()
        for policy in [ClientRequestVetter.Policy.readOnly, .full] {
            var vetter = Self.vetter(policy)
            let verdicts = Self.verdicts(&vetter, bytes + leader)
            #expect(verdicts.count == 2 && code(verdicts.first) == expected, "\(name), \(policy): \(verdicts)")
            #expect(verdicts.last == .forward(leader))
        }
    }

    @Test("with a list of databases only these can be opened and dumped")
    func databases() throws {
        var vetter = Self.vetter(databases: ["dqlite-vip"])
        #expect(code(Self.verdicts(&vetter, try WireRequest.open(name: "other").encoded()).first) == 14)
        #expect(code(Self.verdicts(&vetter, try WireRequest.dump(name: "other").encoded()).first) == 14)
        let opening = try WireRequest.open(name: "dqlite-vip").encoded()
        #expect(Self.verdicts(&vetter, opening) == [.forward(opening)])
    }

    @Test("one request at a time reaches the node: the next waits until it is answered")
    func oneAtATime() throws {
        var vetter = Self.vetter()
        let leader = try WireRequest.leader.encoded()
        let cluster = try WireRequest.cluster(format: .withRoles).encoded()
        vetter.consume(leader + cluster)
        #expect(vetter.next() == .forward(leader))
        #expect(vetter.isBusy && !vetter.hasMessage)
        #expect(vetter.next() == nil)
        // Not before the last byte of the answer.
        for byte in Self.failure.dropLast() { _ = vetter.consumeAnswer([byte]) }
        #expect(vetter.next() == nil)
        _ = vetter.consumeAnswer(Self.failure.suffix(1))
        #expect(vetter.next() == .forward(cluster))
    }

    @Test("nothing of SQL passes before the node's connection is one of a reader, and the client hears nothing of that")
    func restrictedFirst() throws {
        var vetter = Self.vetter()
        let query = try WireRequest.querySQL(database: 0, sql: Self.select, parameters: []).encoded()
        vetter.consume(query)
        #expect(vetter.next() == .forward(Self.restriction))
        #expect(vetter.next() == nil)
        #expect(vetter.consumeAnswer(Self.rows).isEmpty)
        #expect(vetter.isHalfway)
        #expect(vetter.next() == .forward(query))
        #expect(Array(vetter.consumeAnswer(Self.rows)) == Self.rows)
        // Once is enough, until a database is opened anew: that is another connection of SQLite.
        vetter.consume(query)
        #expect(vetter.next() == .forward(query))
        _ = vetter.consumeAnswer(Self.rows)
        vetter.consume(try WireRequest.open(name: "d").encoded() + query)
        _ = vetter.next()
        _ = vetter.consumeAnswer(message(4, hex("0000000000000000")))
        #expect(vetter.next() == .forward(Self.restriction))
    }

    @Test("when it cannot be made one, the client hears why, and its query never reaches the node")
    func notRestricted() throws {
        var vetter = Self.vetter()
        let query = try WireRequest.querySQL(database: 0, sql: Self.select, parameters: []).encoded()
        vetter.consume(query)
        #expect(vetter.next() == .forward(Self.restriction))
        #expect(vetter.consumeAnswer(Self.failure).isEmpty)
        #expect(vetter.next() == .answer(Self.failure))
        #expect(vetter.next() == nil)
        vetter.consume(query)
        #expect(vetter.next() == .forward(Self.restriction))
    }

    @Test("who waited too long is told so, and its message is gone")
    func postponed() throws {
        var vetter = Self.vetter()
        let leader = try WireRequest.leader.encoded()
        vetter.consume(leader)
        #expect(code(.answer(vetter.postponed())) == 5)
        #expect(!vetter.hasMessage)
        #expect(Self.verdicts(&vetter, leader) == [.forward(leader)])
    }

    @Test("a statement can be used from the answer that names it until it is finalized")
    func statements() throws {
        var vetter = Self.vetter(.full)
        let prepare = try WireRequest.prepare(database: 0, sql: Self.select).encoded()
        let query = try WireRequest.query(database: 0, statement: 3, parameters: []).encoded()
        let finalize = try WireRequest.finalize(database: 0, statement: 3).encoded()
        #expect(code(Self.verdicts(&vetter, query).first) == 12)
        vetter.consume(prepare + query)
        #expect(vetter.next() == .forward(prepare))
        for byte in message(5, hex("00000000 03000000 0000000000000000")) { _ = vetter.consumeAnswer([byte]) }
        #expect(vetter.next() == .forward(query))
        // Rows in two messages are one answer.
        _ = vetter.consumeAnswer(message(7, hex("0100000000000000 6100000000000000 eeeeeeeeeeeeeeee")))
        #expect(vetter.isBusy)
        _ = vetter.consumeAnswer(message(7, hex("0100000000000000 6100000000000000 ffffffffffffffff")))
        #expect(!vetter.isBusy)
        #expect(Self.verdicts(&vetter, finalize) == [.forward(finalize)])
        #expect(code(Self.verdicts(&vetter, query).first) == 12)
        #expect(code(Self.verdicts(&vetter, finalize).first) == 12)
    }

    @Test("a failed Prepare gives no statement, and an Open takes all away")
    func statementsGone() throws {
        var vetter = Self.vetter(.full)
        let prepare = try WireRequest.prepare(database: 0, sql: Self.select).encoded()
        let query = try WireRequest.query(database: 0, statement: 0, parameters: []).encoded()
        #expect(Self.verdicts(&vetter, prepare).count == 1)
        #expect(code(Self.verdicts(&vetter, query).first) == 12)
        vetter.consume(prepare)
        _ = vetter.next()
        _ = vetter.consumeAnswer(message(5, hex("00000000 00000000 0000000000000000")))
        #expect(Self.verdicts(&vetter, query) == [.forward(query)])
        _ = Self.verdicts(&vetter, try WireRequest.open(name: "d").encoded())
        #expect(code(Self.verdicts(&vetter, query).first) == 12)
    }

    @Test("there is a limit to prepared statements")
    func statementLimit() throws {
        var vetter = Self.vetter(.full, limits: .init(statements: 2))
        let prepare = try WireRequest.prepare(database: 0, sql: Self.select).encoded()
        for id in 0..<2 {
            vetter.consume(prepare)
            #expect(vetter.next() == .forward(prepare))
            _ = vetter.consumeAnswer(message(5, hex("00000000 0\(id)000000 0000000000000000")))
        }
        #expect(code(Self.verdicts(&vetter, prepare).last) == 5)
    }

    static let readable = [
        "SELECT 1", "select a from t;", " \n-- comment\n SELECT 1 /* end */ ; -- really", "VALUES(1),(2)",
        "SELECT 'DELETE FROM t; --'", "SELECT \"delete\", [update], `insert` FROM t", "SELECT 'it''s'",
        "SELECT x'0102', 1e5, .5, 0x1F, ?1, :name, @name, $name FROM t WHERE a <> 1 AND b != ? || 'x'",
        "SELECT deleted, update_count FROM t", "SELECT CASE a WHEN 1 THEN 2 ELSE 3 END FROM t",
        "SELECT 'größe' AS größe",
        "SELECT count(*), max(a), upper(substr(b, 1, 3)) FROM t GROUP BY b HAVING count(*) > 1",
        "SELECT * FROM t, u", "SELECT * FROM t JOIN u ON t.a = u.a LEFT JOIN u AS v USING (a) WHERE t.a IN (1, 2)",
        "SELECT * FROM main.t WHERE a IN (SELECT a FROM u) ORDER BY a, b LIMIT 3 OFFSET 1",
        "SELECT a FROM (SELECT a FROM t) AS x UNION ALL SELECT a FROM (u)", "SELECT name FROM sqlite_master",
        "SELECT a IS DISTINCT FROM b FROM t",
        "SELECT CAST(a AS INTEGER) FROM \"t\" WHERE NOT EXISTS (SELECT 1 FROM [u])",
        "SELECT (SELECT count(*) FROM t), (SELECT max(a) FROM u)",
    ]
    static let unreadable = [
        "", " ", "-- only a comment", ";", "; SELECT 1", "SELECT 1; SELECT 2", "SELECT 1;;", "DELETE FROM t",
        "INSERT INTO t VALUES(1)", "REPLACE INTO t VALUES(1)", "UPDATE t SET a=1", "PRAGMA journal_mode=DELETE",
        "ATTACH 'x' AS y", "BEGIN", "VACUUM", "CREATE TABLE t(a)", "DROP TABLE t", "ANALYZE", "REINDEX",
        "WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) DELETE FROM t", "EXPLAIN QUERY PLAN SELECT 1",
        "WITH x(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM x) SELECT count(*) FROM x", "/**/DELETE/**/FROM t",
        "with/**/recursive n(i) as (select 1) select 1", "SELECT 'a", "SELECT \"a", "SELECT [a", "SELECT /* a",
        "SELECT load_extension('x')", "SELECT \"load_extension\"('x')", "SELECT zeroblob(1000000000)",
        "SELECT hex(fts3_tokenizer('simple'))", "SELECT \"fts3_tokenizer\"('simple', ?)", "SELECT [count](*) FROM t",
        "SELECT replace(a, 'x', 'y') FROM t", "SELECT a LIKE 'x' FROM t", "SELECT a GLOB 'x' FROM t",
        "SELECT hex(a) FROM t",
        "SELECT group_concat(a) FROM t", "SELECT sum(a) OVER (PARTITION BY b) FROM t",
        "SELECT count(a) FILTER (WHERE 1) FROM t",
        "SELECT * FROM fts3tokenize WHERE input='hello'", "SELECT * FROM 'json_each'('[1,2]')",
        "SELECT * FROM t, 'json_each'('[1]')",
        "SELECT * FROM 'pragma_database_list'", "SELECT * FROM pragma_table_info('t')", "SELECT * FROM t('x')",
        "SELECT * FROM t JOIN 'pragma_optimize'(65535)", "SELECT * FROM \"PRAGMA_table_info\"('t')",
        "SELECT 1 IN sqlite_stat1",
        "SELECT * FROM (SELECT 1 FROM json_each('[1]'))", "SELECT * FROM (json_each)", "SELECT * FROM temp.t",
        "SELECT * FROM dbstat",
        "SELECT * FROM t, t AS a, u, u AS b, t AS c",
        "SELECT * FROM (VALUES(1)) a, (VALUES(1)) b, (VALUES(1)) c, (VALUES(1)) d, t",
        "SELECT '{}' -> '$.a'", "SELECT '{}' ->> '$.a'", "SELECT current_timestamp",
        "SELECT * FROM t WHERE a MATCH 'x'",
        "SELECT dqlite_vip_reader()", "SELECT * FROM t)", "SELECT (1", "SELECT * FROM",
        "SELECT " + String(repeating: "(", count: 30),
        "SELECT $a(') FROM t; DELETE FROM t --')", "SELECT $a::b", "\u{FEFF}DELETE FROM t", "SELECT 1 \u{1}",
        "SELECT 1 \\",
        "'SELECT'", "\"SELECT\" 1", "(SELECT 1)", "EXPLAIN DELETE FROM t",
    ]

    @Test("one reading statement passes, in Prepare and in QuerySQL", arguments: readable)
    func readableSQL(_ sql: String) throws {
        var vetter = Self.vetter()
        for request in [WireRequest.prepare(database: 0, sql: sql), .querySQL(database: 0, sql: sql, parameters: [])] {
            let bytes = try request.encoded()
            #expect(Self.verdicts(&vetter, bytes) == [.forward(bytes)], "\(sql)")
        }
    }

    @Test("everything else is refused with a reason", arguments: unreadable)
    func unreadableSQL(_ sql: String) throws {
        var vetter = Self.vetter()
        for request in [WireRequest.prepare(database: 0, sql: sql), .querySQL(database: 0, sql: sql, parameters: [])] {
            #expect(code(Self.verdicts(&vetter, try request.encoded()).first) == 8, "\(sql)")
        }
    }

    @Test("the beginning and the end of a transaction are answered as done, and never reach the node")
    func transactions() throws {
        var vetter = Self.vetter()
        for sql in ["BEGIN", "commit", "END", "ROLLBACK"] {
            let request = WireRequest.execSQL(database: 0, sql: sql, parameters: [])
            #expect(Self.verdicts(&vetter, try request.encoded()) == [.answer(WireEncoder.emptyResult())], "\(sql)")
        }
        for sql in ["BEGIN IMMEDIATE", "BEGIN; DELETE FROM t", "SAVEPOINT a"] {
            let request = WireRequest.execSQL(database: 0, sql: sql, parameters: [])
            #expect(code(Self.verdicts(&vetter, try request.encoded()).first) == 8, "\(sql)")
        }
        #expect(!vetter.isBusy)
        let bytes = WireEncoder.emptyResult()
        let answer = try WireResponse(
            WireMessage(type: bytes[4], body: Array(bytes[8...])),
            answering: .execSQL(database: 0, sql: "", parameters: []))
        guard case .result(lastInsertID: 0, rowsAffected: 0) = answer else {
            Issue.record("\(answer)")
            return
        }
    }

    @Test("SQL beyond the limit is refused, and the connection goes on")
    func longSQL() throws {
        var vetter = Self.vetter()
        let long = "SELECT '" + String(repeating: "x", count: 16 << 10) + "'"
        #expect(
            code(
                Self.verdicts(&vetter, try WireRequest.querySQL(database: 0, sql: long, parameters: []).encoded()).first
            ) == 18
        )
        #expect(Self.verdicts(&vetter, try WireRequest.leader.encoded()).count == 1)
    }

    @Test(
        "random and mutated streams never trap, and never pass a message that does not decode",
        arguments: [UInt64(5), 17])
    func fuzz(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let samples = try (Self.reading + Self.writing).map { try $0.encoded() }
        var counts = (forwarded: 0, answered: 0, closed: 0)
        for _ in 0..<5_000 {
            var vetter = Self.vetter(Bool.random(using: &random) ? .full : .readOnly)
            var stream = (0..<3).flatMap { _ in samples.randomElement(using: &random) ?? [] }
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                let index = Int.random(in: 0..<stream.count, using: &random)
                if Bool.random(using: &random) {
                    stream[index] = random.byte()
                } else {
                    stream.remove(at: index)
                }
            }
            for verdict in Self.verdicts(&vetter, stream) {
                switch verdict {
                case .forward(let bytes):
                    counts.forwarded += 1
                    #expect(bytes.count >= 16 && bytes.count % 8 == 0 && bytes[4] < 20 && bytes[4] != 11)
                    let words = bytes[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
                    #expect(bytes.count == 8 + 8 * words)
                case .answer(let bytes):
                    counts.answered += 1
                    #expect(bytes[4] == 0)
                case .close: counts.closed += 1
                }
            }
        }
        #expect(counts.forwarded > 100 && counts.answered > 100 && counts.closed > 100, "seed \(seed): \(counts)")
    }
}
