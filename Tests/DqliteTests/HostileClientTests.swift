@testable import Dqlite
import Glibc
import Testing

/// Against the real library, in a process of its own: what gets through the vetter wrongly ends that process.
@Suite("hostile clients and a real node")
struct HostileClientTests {
    @Test("the node survives everything that the vetter lets through")
    func survival() async {
        await #expect(processExitsWith: .success) {
            try await TestCluster.run(voters: 1, readableTables: ["t", "sqlite_master", "nowhere"]) { cluster in
                let owner = try await cluster.client(1, open: true)
                try await owner.execute("CREATE TABLE t(a INTEGER, b TEXT)")
                try await owner.execute("INSERT INTO t VALUES(1,'x'),(2,'y')")
                guard case .abstractSocket(let name) = try cluster.member(1).node.bindAddress else { exit(2) }
                var random = SplitMix(state: 20_261_121)
                let samples = try Self.samples.map { try $0.encoded() }
                let statements = try Self.statements.map { try $0.encoded() }
                let opening = try WireRequest.open(name: "test").encoded()
                var forwarded = 0
                for round in 0..<300 {
                    let connection = try Connection(name)
                    // Half of the clients work with statements only, in any order and with any id.
                    let chosen = round % 2 == 0 ? samples : statements
                    var vetter = ClientRequestVetter(
                        databases: ["test", "unknown"], tables: ["t", "sqlite_master", "nowhere"])
                    for number in 0..<30 {
                        var message = number == 0 ? opening : chosen.randomElement(using: &random) ?? []
                        if number > 0, Int.random(in: 0..<4, using: &random) == 0 {
                            let index = Int.random(in: 0..<message.count, using: &random)
                            message[index] = [0, 1, 2, 0xFF, random.byte()].randomElement(using: &random) ?? 0
                        }
                        vetter.consume(message)
                        while let verdict = vetter.next() {
                            guard case .forward(let bytes) = verdict else { continue }
                            forwarded += 1
                            guard connection.exchange(bytes, &vetter) else { break }
                        }
                    }
                }
                // The node still works, and the cases were not all refused.
                let rows = try await owner.query("SELECT count(*) FROM t").rows
                if rows != [[.integer(2)]] || forwarded < 1000 { exit(3) }
            }
        }
    }

    private static let statements: [WireRequest] = [
        .prepare(database: 0, sql: "SELECT a FROM t WHERE b=?"), .prepare(database: 0, sql: "SELECT b FROM t"),
        .prepare(database: 0, sql: "SELECT nothing FROM nowhere"), .prepare(database: 1, sql: "SELECT 1"),
        .query(database: 0, statement: 0, parameters: []), .query(database: 0, statement: 1, parameters: [.text("x")]),
        .query(database: 0, statement: 2, parameters: [.integer(1), .null]),
        .finalize(database: 0, statement: 0), .finalize(database: 0, statement: 1),
        .finalize(database: 0, statement: 2), .finalize(database: 7, statement: 0),
    ]

    private static let samples: [WireRequest] =
        statements + [
            .leader, .client(id: 1), .open(name: "test"), .open(name: "test"), .open(name: "unknown"),
            .interrupt(database: 0),
            .exec(database: 0, statement: 0, parameters: []),
            .execSQL(database: 0, sql: "DELETE FROM t", parameters: []),
            .querySQL(database: 0, sql: "SELECT * FROM t", parameters: []),
            .querySQL(database: 0, sql: "SELECT ?, ?, ?", parameters: [.blob([1]), .float(2), .boolean(true)]),
            .querySQL(database: 0, sql: "SELECT a FROM t", parameters: [.text("too many")]),
            .querySQL(database: 0, sql: "SELECT * FROM sqlite_master", parameters: []),
            .querySQL(database: 0, sql: "EXPLAIN SELECT * FROM t ORDER BY b", parameters: []),
            .querySQL(database: 0, sql: "SELECT * FROM t WHERE a = 'unfinished' AND", parameters: []),
            .querySQL(database: 0, sql: "SELECT abs(-9223372036854775808)", parameters: []),
            .dump(name: "test"), .dump(name: "unknown"), .cluster(format: .withRoles), .cluster(format: .withoutRoles),
            .describe, .add(id: 1, address: "n1"), .remove(id: 1), .transfer(id: 0), .weight(1),
        ]

    /// A blocking connection that waits for each answer.
    private final class Connection {
        private let descriptor: Int32

        init(_ name: String) throws {
            descriptor = try DqliteSocket.connect(abstractName: name)
            _ = fcntl(descriptor, F_SETFL, 0)
            var limit = timeval(tv_sec: 5, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            _ = write(hex("0100000000000000"))
        }

        deinit { close(descriptor) }

        /// Whether the answer came; the node may also close the connection.
        func exchange(_ bytes: [UInt8], _ vetter: inout ClientRequestVetter) -> Bool {
            guard write(bytes) else { return false }
            var chunk = [UInt8](repeating: 0, count: 65536)
            while vetter.isBusy {
                let count = read(descriptor, &chunk, chunk.count)
                guard count > 0 else { return false }
                _ = vetter.consumeAnswer(chunk[..<count])
            }
            return true
        }

        private func write(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) } == bytes.count
        }
    }
}
