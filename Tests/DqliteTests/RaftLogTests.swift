import Dqlite
import Glibc
import Platform
import Testing

/// On directories that the real libdqlite has written.
@Suite("The raft directory of a node that does not run", .serialized)
struct RaftLogTests {
    /// Lets a node of its own write so many rows, stops it, and hands its directory over.
    private static func withLog(
        rows: Int, snapshots: UInt32? = nil, restarts: Int = 0, _ body: (String) async throws -> Void
    ) async throws {
        try await TestCluster.run(voters: 1, snapshots: snapshots) { cluster in
            for round in 0...restarts {
                if round > 0 {
                    try await cluster.start(1)
                    try await cluster.waitForLeader(1, seenBy: 1)
                }
                let client = try await cluster.client(1, open: true)
                try await client.execute("CREATE TABLE IF NOT EXISTS t(a INTEGER)")
                for _ in 0..<rows { try await client.execute("INSERT INTO t VALUES(1)") }
                await client.close()
                try await cluster.stop(1)
            }
            try await body(cluster.path(1))
        }
    }

    private static func tail(_ directory: String) throws -> UInt64 {
        var tail = RaftLogTail()
        return try tail.lastIndex(inDirectory: directory)
    }

    private static func flip(_ file: String, at offset: Int) throws {
        var bytes = try #require(try DurableFile.read(file, limit: 64 << 20))
        let place = offset < 0 ? bytes.count + offset : offset
        bytes[place] ^= 0x55
        try DurableFile.write(bytes, to: file)
    }

    private static func closed(_ directory: String) -> [String] {
        entries(of: directory).filter { $0.first?.isNumber == true }
    }

    @Test("a sound log is read with its members, its last index and its term")
    func sound() async throws {
        try await Self.withLog(rows: 20) { directory in
            let log = try RaftLog(directory: directory)
            #expect(log.faults.isEmpty && log.unknown.isEmpty && !log.isEmpty)
            #expect(log.members == [.init(id: 1, address: "n1", role: .voter)])
            #expect(log.lastIndex > 20)
            #expect(log.term == RaftMetadata.term(inDirectory: directory))
            #expect(log.lastTerm == log.term)
            #expect(try Self.tail(directory) == log.lastIndex)
        }
    }

    @Test("a log with snapshots, and with many segments, is sound")
    func snapshots() async throws {
        try await Self.withLog(rows: 90, snapshots: 32, restarts: 1) { directory in
            #expect(entries(of: directory).contains { $0.hasPrefix("snapshot-") })
            let log = try RaftLog(directory: directory)
            #expect(log.faults.isEmpty, "\(log.faults)")
            #expect(log.lastIndex > 180)
            #expect(log.members.map(\.id) == [1])
        }
    }

    @Test("the end of a running node's log is followed, look by look, and is where a look at everything finds it")
    func followed() async throws {
        try await TestCluster.run(voters: 1) { cluster in
            let client = try await cluster.client(1, open: true)
            try await client.execute("CREATE TABLE t(a INTEGER)")
            var tail = RaftLogTail()
            var seen: UInt64 = 0
            for rows in [1, 7, 60] {
                for _ in 0..<rows { try await client.execute("INSERT INTO t VALUES(1)") }
                let last = try tail.lastIndex(inDirectory: cluster.path(1))
                let whole = try RaftLog(directory: cluster.path(1))
                #expect(last == whole.lastIndex)
                #expect(last >= seen + UInt64(rows))
                seen = last
            }
            try await cluster.stop(1)
            // The open segment has become a closed one.
            let closed = try tail.lastIndex(inDirectory: cluster.path(1))
            #expect(closed == seen)
        }
    }

    @Test("a directory without anything is empty and has no faults")
    func empty() async throws {
        try await withTemporaryDirectory { directory in
            let log = try RaftLog(directory: directory)
            #expect(log.isEmpty && log.faults.isEmpty && log.lastIndex == 0)
        }
    }

    @Test("one changed byte anywhere in a closed segment is found, and named with its file")
    func flippedByte() async throws {
        try await Self.withLog(rows: 5) { directory in
            let before = try RaftLog(directory: directory)
            let file = "\(directory)/\(try #require(Self.closed(directory).last))"
            let size = try #require(try DurableFile.read(file, limit: 64 << 20)).count
            for offset in [0, 9, 17, 30, size / 2, size - 1] {
                try Self.flip(file, at: offset)
                let log = try RaftLog(directory: directory)
                #expect(log.faults.map(\.file) == [file], "byte \(offset): \(log.faults)")
                try Self.flip(file, at: offset)
            }
            #expect(try RaftLog(directory: directory).faults.isEmpty)
            #expect(try RaftLog(directory: directory).lastIndex == before.lastIndex)
        }
    }

    @Test("a missing segment is found where another follows it, and shortens the log where none does")
    func missingSegment() async throws {
        try await Self.withLog(rows: 5, restarts: 2) { directory in
            let whole = try RaftLog(directory: directory)
            let names = Self.closed(directory)
            try #require(names.count >= 3)
            for name in names {
                let file = "\(directory)/\(name)"
                try Directory.move(file, to: directory + "/aside")
                let log = try RaftLog(directory: directory)
                if name == names.last {
                    #expect(log.lastIndex < whole.lastIndex)
                } else {
                    #expect(!log.faults.isEmpty, "\(name) is missing")
                }
                try Directory.move(directory + "/aside", to: file)
            }
        }
    }

    @Test("a segment that is cut off is found")
    func truncated() async throws {
        try await Self.withLog(rows: 5) { directory in
            let file = "\(directory)/\(try #require(Self.closed(directory).last))"
            let bytes = try #require(try DurableFile.read(file, limit: 64 << 20))
            try DurableFile.write(Array(bytes.dropLast(64)), to: file)
            #expect(try RaftLog(directory: directory).faults.map(\.file) == [file])
        }
    }

    @Test("the last entry of an open segment may be torn; one with whole entries after it is damaged")
    func openSegment() async throws {
        try await Self.withLog(rows: 5) { directory in
            // As a crash leaves it: the last closed segment under the name of an open one, with zeros after it.
            let name = try #require(Self.closed(directory).last)
            let bytes = try #require(try DurableFile.read("\(directory)/\(name)", limit: 64 << 20))
            unlink("\(directory)/\(name)")
            let open = directory + "/open-1"
            try DurableFile.write(bytes + [UInt8](repeating: 0, count: 8192), to: open)
            let whole = try RaftLog(directory: directory)
            #expect(whole.faults.isEmpty && !whole.hasTornEnd)

            var tail = RaftLogTail()
            let first = try tail.lastIndex(inDirectory: directory)
            #expect(first == whole.lastIndex)
            try Self.flip(open, at: bytes.count - 1)
            let torn = try RaftLog(directory: directory)
            #expect(torn.faults.isEmpty && torn.hasTornEnd)
            #expect(torn.lastIndex == whole.lastIndex - 1)
            let seen = try tail.lastIndex(inDirectory: directory)
            #expect(seen == torn.lastIndex, "the last batch is looked at again")
            try Self.flip(open, at: bytes.count - 1)
            let mended = try tail.lastIndex(inDirectory: directory)
            #expect(mended == whole.lastIndex)

            try Self.flip(open, at: bytes.count / 2)
            #expect(try RaftLog(directory: directory).faults.map(\.file) == [open])
        }
    }

    @Test("damaged metadata, a damaged snapshot, and what libdqlite has put aside are found")
    func otherFiles() async throws {
        try await Self.withLog(rows: 90, snapshots: 32) { directory in
            let snapshot = try #require(
                entries(of: directory).filter { $0.hasPrefix("snapshot-") && !$0.hasSuffix(".meta") }.last)
            let metadata = try #require(entries(of: directory).first { $0.hasPrefix("metadata") })
            for (name, offset) in [(metadata, 0), (snapshot, 1), (snapshot + ".meta", -1)] {
                try Self.flip("\(directory)/\(name)", at: offset)
                #expect(try RaftLog(directory: directory).faults.map(\.file) == ["\(directory)/\(name)"])
                try Self.flip("\(directory)/\(name)", at: offset)
            }
            let bytes = try #require(try DurableFile.read("\(directory)/\(snapshot)", limit: 64 << 20))
            try DurableFile.write(Array(bytes.dropLast(1)), to: "\(directory)/\(snapshot)")
            #expect(try RaftLog(directory: directory).faults.map(\.file) == ["\(directory)/\(snapshot)"])
            try DurableFile.write(bytes, to: "\(directory)/\(snapshot)")

            try DurableFile.write([1], to: directory + "/corrupt-17-open-3")
            #expect(try RaftLog(directory: directory).faults.map(\.file) == [directory + "/corrupt-17-open-3"])
            unlink(directory + "/corrupt-17-open-3")
            for name in ["metadata1", "metadata2"] { unlink("\(directory)/\(name)") }
            #expect(!(try RaftLog(directory: directory).faults.isEmpty))
        }
    }

    @Test("no random change of any file crashes the reader")
    func randomDamage() async throws {
        try await Self.withLog(rows: 40, snapshots: 16) { directory in
            let names = entries(of: directory)
            var generator = SystemRandomNumberGenerator()
            for name in names where !name.hasPrefix("open-") {
                let file = "\(directory)/\(name)"
                let bytes = try #require(try DurableFile.read(file, limit: 64 << 20))
                guard !bytes.isEmpty else { continue }
                for _ in 0..<20 {
                    var changed = bytes
                    for _ in 0..<Int.random(in: 1...6, using: &generator) {
                        changed[Int.random(in: 0..<min(changed.count, 4096), using: &generator)] = .random(
                            in: 0...255, using: &generator)
                    }
                    if Bool.random(using: &generator) { changed.removeLast(.random(in: 0..<changed.count)) }
                    try DurableFile.write(changed, to: file)
                    _ = try RaftLog(directory: directory)
                }
                try DurableFile.write(bytes, to: file)
            }
        }
    }
}

@Suite("A list of members is replaced", .serialized)
struct RecoveryOfMembersTests {
    @Test("one of three that are lost goes on alone with the data, under another address")
    func alone() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let client = try await cluster.client(1, open: true)
            try await client.execute("CREATE TABLE t(a INTEGER)")
            try await client.execute("INSERT INTO t VALUES(42)")
            await client.close()
            for id in [3, 2, 1] as [DqliteNodeID] { try await cluster.stop(id) }
            let before = try RaftLog(directory: cluster.path(2))
            #expect(before.members.map(\.id) == [1, 2, 3])

            try DqliteRecovery.replaceMembers(
                [DqliteMember(id: 2, address: "n2", role: .voter)], ofNode: 2, address: "n2", directory: cluster.path(2)
            )
            let after = try RaftLog(directory: cluster.path(2))
            #expect(after.members == [.init(id: 2, address: "n2", role: .voter)])
            #expect(after.lastIndex == before.lastIndex + 1)
            #expect(after.faults.isEmpty)

            try await cluster.start(2)
            try await cluster.waitForLeader(2, seenBy: 2)
            let alone = try await cluster.client(2, open: true)
            #expect(try await alone.query("SELECT a FROM t").rows == [[.integer(42)]])
            #expect(try await alone.cluster() == [DqliteMember(id: 2, address: "n2", role: .voter)])
        }
    }
}
