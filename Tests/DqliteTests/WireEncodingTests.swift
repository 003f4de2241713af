import Dqlite
import Testing

/// Bytes from hex with blanks and line-end comments behind "//".
func hex(_ text: String) -> [UInt8] {
    let digits = text.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
        (line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line[...]).filter(\.isHexDigit)
    }
    return stride(from: 0, to: digits.count - 1, by: 2).compactMap { UInt8(String(digits[$0...($0 + 1)]), radix: 16) }
}

@Suite("requests on the wire")
struct WireEncodingTests {
    static let cases: [(WireRequest, String)] = [
        (
            .leader,
            """
            01000000 00 00 0000  // one word, type 0, schema 0, reserved
            0000000000000000     // unused: an empty body would abort the node
            """
        ),
        (
            .client(id: 42),
            """
            01000000 01 00 0000
            2a00000000000000
            """
        ),
        (
            .open(name: "d.db"),
            """
            03000000 03 00 0000
            642e6462 00 000000   // "d.db", NUL, padding
            0000000000000000     // flags
            0000000000000000     // VFS name: empty
            """
        ),
        (
            .prepare(database: 0, sql: "SELECT 1"),
            """
            03000000 04 00 0000
            0000000000000000     // database
            53454c4543542031     // eight characters fill the word,
            0000000000000000     // so that the NUL takes another
            """
        ),
        (
            .exec(database: 1, statement: 2, parameters: []),
            """
            01000000 05 00 0000
            01000000 02000000    // database, statement; no tuple without parameters
            """
        ),
        (
            .exec(
                database: 0, statement: 7,
                parameters: [.integer(-2), .float(1.5), .text("é"), .blob([1, 2, 3]), .null, .boolean(true)]),
            """
            09000000 05 00 0000
            00000000 07000000
            06 01 02 03 04 05 0b 00   // six values: types, padding
            feffffffffffffff          // -2
            000000000000f83f          // 1.5
            c3a9 00 0000000000        // text
            0300000000000000          // blob: length
            010203 0000000000         // blob: bytes, padding
            0000000000000000          // null
            0100000000000000          // true
            """
        ),
        (
            .query(
                database: 0, statement: 1,
                parameters: [.integer(1), .integer(2), .integer(3), .integer(4), .integer(5), .integer(6), .integer(7)]
            ),
            """
            09000000 06 00 0000
            00000000 01000000
            07 01010101010101         // count and seven types fill a word exactly
            0100000000000000 0200000000000000 0300000000000000 0400000000000000
            0500000000000000 0600000000000000 0700000000000000
            """
        ),
        (
            .finalize(database: 0, statement: 3),
            """
            01000000 07 00 0000
            00000000 03000000
            """
        ),
        (
            .execSQL(database: 0, sql: "BEGIN", parameters: []),
            """
            02000000 08 00 0000
            0000000000000000
            424547494e 00 0000
            """
        ),
        (
            .querySQL(database: 0, sql: "VALUES(?)", parameters: [.text("")]),
            """
            05000000 09 00 0000
            0000000000000000
            56414c554553283f 29 00000000000000
            01 03 000000000000        // one text
            0000000000000000          // empty
            """
        ),
        (
            .interrupt(database: 0),
            """
            01000000 0a 00 0000
            0000000000000000
            """
        ),
        (
            .connect(id: 2, address: "10.0.0.2:8800"),
            """
            03000000 0b 00 0000
            0200000000000000
            31302e302e302e32 3a38383030 000000
            """
        ),
        (
            .add(id: 0x0102_0304_0506_0708, address: "1234567"),
            """
            02000000 0c 00 0000
            0807060504030201
            31323334353637 00         // seven characters and the NUL: one word
            """
        ),
        (
            .assign(id: 3, role: .standby),
            """
            02000000 0d 00 0000
            0300000000000000 0100000000000000
            """
        ),
        (
            .remove(id: 3),
            """
            01000000 0e 00 0000
            0300000000000000
            """
        ),
        (
            .dump(name: "d.db"),
            """
            01000000 0f 00 0000
            642e6462 00 000000
            """
        ),
        (
            .cluster(format: .withRoles),
            """
            01000000 10 00 0000
            0100000000000000
            """
        ),
        (
            .transfer(id: 0),
            """
            01000000 11 00 0000
            0000000000000000
            """
        ),
        (
            .describe,
            """
            01000000 12 00 0000
            0000000000000000          // format 0, the only one that a node survives
            """
        ),
        (
            .weight(9),
            """
            01000000 13 00 0000
            0900000000000000
            """
        ),
    ]

    @Test("a request is encoded byte for byte as the protocol says", arguments: cases.indices)
    func encoding(_ index: Int) throws {
        let (request, expected) = Self.cases[index]
        #expect(try request.encoded() == hex(expected))
    }

    @Test("every request type but the heartbeat has an example above")
    func completeness() {
        #expect(Set(Self.cases.map { $0.0.type.rawValue }) == Set((0...19).filter { $0 != 2 }))
    }

    @Test("what the wire cannot carry is refused, not cut short")
    func refusals() async {
        let unsendable: [WireRequest] = [
            .open(name: "a\0b"), .prepare(database: 0, sql: "SELECT 1\0; DROP TABLE t"), .add(id: 1, address: "\0"),
            .execSQL(database: 0, sql: "x", parameters: [.text("a\0")]),
            .execSQL(database: 0, sql: "x", parameters: Array(repeating: .null, count: 256)),
            .execSQL(database: 0, sql: "x", parameters: [.unixTime(1)]),
            .execSQL(database: 0, sql: "x", parameters: [.iso8601("2024-01-01")]),
        ]
        for request in unsendable {
            let error = await dqliteError { _ = try request.encoded() }
            #expect(error?.code == .misuse, "\(request)")
        }
        #expect(throws: Never.self) {
            try WireRequest.execSQL(database: 0, sql: "x", parameters: Array(repeating: .null, count: 255)).encoded()
        }
    }

    @Test("a failure that we answer ourselves is a whole message, also with a NUL in its text")
    func failure() throws {
        let expected = hex(
            """
            03000000 00 00 0000
            0800000000000000
            6e6f 2072 6561 6479 2100 000000000000  // "no ready!"
            """)
        #expect(WireEncoder.failure(code: 8, message: "no\0 ready!") == expected)
    }

    @Test("failure codes become kinds, and tell whether the statement may have been executed")
    func failureCodes() {
        let expected: [(UInt64, DqliteError.Code, Bool)] = [
            (7, .notLeader, false), (10250, .notLeader, false), (10506, .leadershipLost, true), (5, .busy, false),
            (517, .busy, false), (778, .noSpace, true), (12, .noDatabase, false), (1, .sql, false),
            (19, .constraint, false), (1555, .constraint, false), (2067, .constraint, false), (1005, .parse, false),
            (1001, .parse, false), (UInt64.max, .sql, false),
        ]
        for (raw, code, mayHaveBeenExecuted) in expected {
            let error = DqliteError.failure(code: raw, message: "text")
            #expect(error.code == code, "\(raw)")
            #expect(error.mayHaveBeenExecuted == mayHaveBeenExecuted, "\(raw)")
            #expect(error.rawCode == raw)
        }
    }
}
