import Lab
import Platform
import Testing

extension EndToEnd.StrangersTests {
    /// A request with half a megabyte in it that asks for nothing.
    private static let ballast: [UInt8] = {
        let blob = [UInt8](repeating: 0x78, count: 1 << 19)
        return DqliteWire.message(9, DqliteWire.queryBody("SELECT 1 WHERE ? IS 1", [.blob(blob)]))
    }()

    @Test(
        "400 MiB of requests behind a slow one, whose answers nobody reads, are not kept: by one client, and by sixteen"
    )
    func pipelining() async throws {
        try await withStranger { lab, stranger, vigil in
            let leader = lab[vigil.before.leader]
            let slow = [
                HostileSQL.like(subject: 100_000, pattern: 49_000), HostileSQL.selfNaming, "SELECT address FROM vip",
            ]
            for first in slow {
                let sent = try await stranger.pipeline(
                    first, then: Self.ballast, bytes: 400 << 20, to: leader, within: .seconds(6))
                print("one client got rid of \(sent >> 20) MiB behind \(first.prefix(40))")
                vigil.nothingGrew("one client")
            }
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<16 {
                    group.addTask {
                        try await stranger.pipeline(
                            HostileSQL.selfNaming, then: Self.ballast, bytes: 25 << 20, to: leader, within: .seconds(6))
                    }
                }
                for try await _ in group {}
            }
            try await vigil.nothingHappened("pipelining")
        }
    }

    @Test("no query makes hundreds of megabytes on the way to a short answer")
    func growth() async throws {
        try await withStranger { lab, stranger, vigil in
            let leader = lab[vigil.before.leader]
            for sql in [HostileSQL.large(10), HostileSQL.large(300)] + HostileSQL.growths {
                let answer = try await stranger.query(sql, of: leader, within: .seconds(6))
                #expect(answer == nil || answer?.isFailure == true, "was answered: \(sql.prefix(60))")
                vigil.nothingGrew("\(sql.prefix(30))")
            }
            let crowd = try stranger.clients(8, asking: HostileSQL.large(30), of: [leader])
            try await Task.sleep(for: .seconds(3))
            try await crowd.end()
            try await vigil.nothingHappened("long values")
        }
    }
}
