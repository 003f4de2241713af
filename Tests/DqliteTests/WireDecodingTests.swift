import Dqlite
import Testing

@Suite("answers from the wire")
struct WireDecodingTests {
    static let samples: [(WireRequest, WireMessage, WireResponse)] = [
        (
            .leader, WireMessage(type: 1, body: hex("0200000000000000 6e32 000000000000")),
            .server(id: 2, address: "n2")
        ),
        (
            .leader, WireMessage(type: 1, body: hex("0000000000000000 0000000000000000")),
            .server(id: 0, address: "")
        ),
        (.client(id: 1), WireMessage(type: 2, body: hex("983a000000000000")), .welcome(heartbeatTimeout: 15000)),
        (
            .cluster(format: .withoutRoles),
            WireMessage(
                type: 3,
                body: hex("0200000000000000 0100000000000000 6131 000000000000 0500000000000000 6135 000000000000")),
            .servers([
                DqliteMember(id: 1, address: "a1", role: .voter), DqliteMember(id: 5, address: "a5", role: .voter),
            ])
        ),
        (
            .cluster(format: .withRoles),
            WireMessage(type: 3, body: hex("0100000000000000 0100000000000000 6131 000000000000 0200000000000000")),
            .servers([DqliteMember(id: 1, address: "a1", role: .spare)])
        ),
        (.open(name: "d"), WireMessage(type: 4, body: hex("01000000 00000000")), .database(1)),
        (
            .prepare(database: 0, sql: ""), WireMessage(type: 5, body: hex("00000000 07000000 0200000000000000")),
            .statement(id: 7, parameterCount: 2)
        ),
        (
            .exec(database: 0, statement: 0, parameters: []),
            WireMessage(type: 6, body: hex("ffffffffffffffff 0300000000000000")),
            .result(lastInsertID: -1, rowsAffected: 3)
        ),
        (
            .querySQL(database: 0, sql: "", parameters: []),
            WireMessage(
                type: 7,
                body: hex(
                    """
                    0300000000000000                  // three columns: a, b, c
                    6100000000000000 6200000000000000 6300000000000000
                    31 05 000000000000                // integer and text in one byte, then null
                    0900000000000000 6869 000000000000 0000000000000000
                    42 0b 000000000000                // float and blob, then boolean
                    000000000000f03f 0100000000000000 7f 00000000000000 0100000000000000
                    a9 04 000000000000                // time as number and as text, then blob
                    0100000000000000 3230 000000000000 0000000000000000
                    ffffffffffffffff                  // the end
                    """)),
            .rows(
                DqliteRows(
                    columns: ["a", "b", "c"],
                    rows: [
                        [.integer(9), .text("hi"), .null], [.float(1), .blob([0x7F]), .boolean(true)],
                        [.unixTime(1), .iso8601("20"), .blob([])],
                    ]), isLast: true)
        ),
        (
            .querySQL(database: 0, sql: "", parameters: []),
            WireMessage(type: 7, body: hex("0100000000000000 6100000000000000 eeeeeeeeeeeeeeee")),
            .rows(DqliteRows(columns: ["a"], rows: []), isLast: false)
        ),
        (.remove(id: 1), WireMessage(type: 8, body: hex("0000000000000000")), .empty),
        (
            .dump(name: "d"),
            WireMessage(
                type: 9, body: hex("0100000000000000 6400000000000000 0800000000000000 0102030405060708")),
            .files([.init(name: "d", content: [1, 2, 3, 4, 5, 6, 7, 8])])
        ),
        (
            .describe, WireMessage(type: 10, body: hex("0300000000000000 0400000000000000")),
            .metadata(failureDomain: 3, weight: 4)
        ),
        (
            .add(id: 1, address: "x"), WireMessage(type: 0, body: hex("0100000000000000 6e6f 000000000000")),
            .failure(code: 1, message: "no")
        ),
    ]

    @Test("an answer is decoded by the layout of its type", arguments: samples.indices)
    func decoding(_ index: Int) throws {
        let (request, message, expected) = Self.samples[index]
        #expect(try WireResponse(message, answering: request) == expected)
    }

    @Test("an answer that does not fit the request is refused")
    func wrongAnswer() async {
        for (request, message, _) in Self.samples where message.type != 0 {
            let other: WireRequest = request == .leader ? .describe : .leader
            let error = await dqliteError { _ = try WireResponse(message, answering: other) }
            #expect(error?.code == .protocolViolation)
        }
    }

    @Test("an unknown role is refused")
    func unknownRole() async {
        let body = hex("0100000000000000 0100000000000000 6131 000000000000 0300000000000000")
        let error = await dqliteError {
            _ = try WireResponse(WireMessage(type: 3, body: body), answering: .cluster(format: .withRoles))
        }
        #expect(error?.message.contains("role 3") == true)
    }

    @Test("an answer cut anywhere inside is refused")
    func truncation() {
        for (request, message, _) in Self.samples {
            for length in stride(from: 0, to: message.body.count, by: 1) {
                let cut = WireMessage(type: message.type, body: Array(message.body[..<length]))
                let decoded = try? WireResponse(cut, answering: request)
                // Only what no decoder reads may be missing: the unused word, and a text's padding is not among it.
                let isUnused = message.type == 8 || (message.type == 4 && length >= 4)
                #expect((decoded == nil) != isUnused, "type \(message.type) at \(length)")
            }
        }
    }

    @Test("declared lengths and counts far beyond the body are refused without an allocation for them")
    func hugeLengths() async {
        let huge: [(WireRequest, UInt8, String)] = [
            (.querySQL(database: 0, sql: "", parameters: []), 7, "ffffffffffffffff"),
            (.querySQL(database: 0, sql: "", parameters: []), 7, "ffffffffffffff7f 6100000000000000"),
            (
                .querySQL(database: 0, sql: "", parameters: []), 7,
                "0100000000000000 6100000000000000 04 00000000000000 ffffffffffffffff 00"
            ),
            (
                .querySQL(database: 0, sql: "", parameters: []), 7,
                "0100000000000000 6100000000000000 04 00000000000000 f9ffffffffffff7f 0000000000000000"
            ),
            (.cluster(format: .withRoles), 3, "ffffffffffffffff"),
            (.dump(name: "d"), 9, "ffffffffffffffff"),
            (.dump(name: "d"), 9, "0100000000000000 6400000000000000 ffffffffffffffff 00"),
        ]
        for (request, type, body) in huge {
            let error = await dqliteError {
                _ = try WireResponse(WireMessage(type: type, body: hex(body)), answering: request)
            }
            #expect(error?.code == .protocolViolation, "\(body)")
        }
    }

    @Test("rows without columns and without end are refused, not read for ever")
    func rowsWithoutColumns() async {
        let error = await dqliteError {
            _ = try WireResponse(
                WireMessage(type: 7, body: hex("0000000000000000 0100000000000000")),
                answering: .querySQL(database: 0, sql: "", parameters: []))
        }
        #expect(error?.code == .protocolViolation)
    }

    @Test("ten thousand random and mutated bodies give a value or an error", arguments: [UInt64(1), 20_261_121])
    func fuzz(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        var decoded = 0
        for round in 0..<10_000 {
            guard let (request, original, _) = Self.samples.randomElement(using: &random) else { return }
            var message = original
            if round % 2 == 0 {
                message.body = (0..<Int.random(in: 0...96, using: &random)).map { _ in random.byte() }
            } else {
                for _ in 0...Int.random(in: 0...3, using: &random) where !message.body.isEmpty {
                    let index = Int.random(in: 0..<message.body.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: message.body[index] = random.byte()
                    case 1: message.body.remove(at: index)
                    case 2: message.body.insert(random.byte(), at: index)
                    default: message.body[index] = [0x00, 0x7F, 0x80, 0xEE, 0xFF].randomElement(using: &random) ?? 0
                    }
                }
            }
            if (try? WireResponse(message, answering: request)) != nil { decoded += 1 }
        }
        // Both outcomes must occur, or the cases test nothing.
        #expect(decoded > 100 && decoded < 9_900, "seed \(seed)")
    }
}

/// A small seeded generator, so that a failing case can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }
}
