import Dqlite
import Platform
import Testing

/// What `ConfigurationCheck` in `Cluster` is for, with the real libdqlite.
@Suite("A list of members that was never committed, over a restart", .serialized)
struct StaleConfigurationTests {
    private static let three = (1...3).map {
        RaftConfiguration.Member(id: DqliteNodeID($0), address: "n\($0)", role: .voter)
    }
    /// With one more, which only the log of node 3 has.
    private static let four = three + [.init(id: 4, address: "n4", role: .spare)]

    /// libraft's: most significant bit first, without inversion.
    private static func crc(_ bytes: [UInt8]) -> UInt32 {
        bytes.reduce(0) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte) << 24) { value, _ in
                value & 0x8000_0000 == 0 ? value << 1 : value << 1 ^ 0x04C1_1DB7
            }
        }
    }

    /// A closed segment with the one entry that lists these members.
    private static func segment(_ members: [RaftConfiguration.Member], term: UInt64) -> [UInt8] {
        var data: [UInt8] = [1]
        func word(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        data += word(UInt64(members.count))
        for member in members {
            data += word(member.id) + Array(member.address.utf8) + [0, member.isVoter ? 1 : 2]
        }
        data += [UInt8](repeating: 0, count: (8 - data.count % 8) % 8)
        let header = word(1) + word(term) + word(3 | UInt64(data.count) << 32)
        return word(1) + word(UInt64(crc(header)) | UInt64(crc(data)) << 32) + header + data
    }

    private static func name(_ index: UInt64) -> String {
        let digits = String(index)
        let padded = String(repeating: "0", count: 16 - digits.count) + digits
        return "\(padded)-\(padded)"
    }

    private static func last(_ directory: String) throws -> UInt64 {
        var tail = RaftLogTail()
        return try tail.lastIndex(inDirectory: directory)
    }

    @Test("libdqlite takes it for committed, and keeps it when another leader overwrites it; the log on disk tells")
    func overwritten() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let first = try await cluster.client(1, open: true)
            try await first.execute("CREATE TABLE t(a INTEGER)")
            try await eventually("the log at node 3") {
                try Self.last(cluster.path(3)) == Self.last(cluster.path(1))
            }
            try await cluster.stop(3)
            let before = try RaftLog(directory: cluster.path(3))
            #expect(Set(before.members) == Set(Self.three))
            // As if node 3 had led, and had died with the change on its own disk only.
            try DurableFile.write(
                Self.segment(Self.four, term: before.term),
                to: "\(cluster.path(3))/\(Self.name(before.lastIndex + 1))")
            let forged = try RaftLog(directory: cluster.path(3))
            #expect(forged.faults.isEmpty && forged.lastIndex == before.lastIndex + 1 && forged.members == Self.four)

            // Another leader, of a later term, has something else in its place.
            try await first.transfer(to: 2)
            try await cluster.waitForLeader(2, seenBy: 1)
            let second = try await cluster.client(2, open: true)
            try await second.execute("INSERT INTO t VALUES(1)")
            try await cluster.start(3)
            try await second.execute("INSERT INTO t VALUES(2)")
            try await eventually("node 2's log at node 3") {
                guard let log = try? RaftLog(directory: cluster.path(3)), !log.hasTornEnd, log.faults.isEmpty else {
                    return false
                }
                return try log.lastIndex == Self.last(cluster.path(2))
            }
            let log = try RaftLog(directory: cluster.path(3))
            #expect(Set(log.members) == Set(Self.three))
            let third = try await cluster.client(3)
            // Should this fail, libdqlite has been mended, and `ConfigurationCheck` has nothing to do any more.
            #expect(Set(try await third.cluster().map(\.id)) == [1, 2, 3, 4])

            await third.close()
            try await cluster.stop(3)
            try await cluster.start(3)
            try await cluster.waitForLeader(2, seenBy: 3)
            #expect(Set(try await cluster.client(3).cluster().map(\.id)) == [1, 2, 3])
        }
    }
}
