import Dqlite
import Platform
import Synchronization
import Testing

@Suite("three nodes, real libdqlite")
struct ClusterOfThreeTests {
    @Test("members are added as spares, get roles, lead on request, and can be removed")
    func membership() async throws {
        try await TestCluster.run(voters: 1) { cluster in
            let leader = try await cluster.client(1)
            for id: DqliteNodeID in [2, 3] {
                try await cluster.start(id)
                let newcomer = try await cluster.client(id)
                #expect(try await newcomer.leader() == nil)
                #expect(try await newcomer.cluster() == [])
                try await leader.add(id: id, address: "n\(id)")
            }
            #expect(try await leader.cluster().map(\.role) == [.voter, .spare, .spare])
            try await leader.assign(id: 2, role: .voter)
            try await leader.assign(id: 3, role: .standby)
            #expect(try await leader.cluster().map(\.role) == [.voter, .voter, .standby])
            let repeated = await dqliteError { try await leader.assign(id: 3, role: .standby) }
            #expect(repeated?.code == .membership)
            let onFollower = try await cluster.client(2)
            let refused = await dqliteError { try await onFollower.add(id: 9, address: "n9") }
            #expect(refused?.code == .notLeader)
            try await leader.assign(id: 3, role: .voter)
            try await leader.remove(id: 2)
            #expect(try await leader.cluster().map(\.id) == [1, 3])
        }
    }

    @Test("a transfer moves leadership, and the old leader's statements are surely not executed")
    func transfer() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let old = try await cluster.client(1, open: true)
            try await old.execute("CREATE TABLE t(a INTEGER)")
            let before = try #require(RaftMetadata.term(inDirectory: cluster.path(2)))
            try await old.transfer(to: 2)
            try await cluster.waitForLeader(2, seenBy: 3)
            let after = try #require(RaftMetadata.term(inDirectory: cluster.path(2)))
            #expect(after == before + 1)

            let late = await dqliteError { try await old.execute("INSERT INTO t VALUES(1)") }
            #expect(late?.code == .notLeader || late?.code == .noDatabase)
            #expect(late?.mayHaveBeenExecuted == false)
            let follower = try await cluster.client(3, open: true)
            let refused = await dqliteError { _ = try await follower.query("SELECT 1") }
            #expect(refused?.code == .notLeader)

            let new = try await cluster.client(2, open: true)
            #expect(try await new.query("SELECT count(*) FROM t").rows == [[.integer(0)]])
            let back = await dqliteError { try await new.transfer(to: 77) }
            #expect(back?.code == .membership)
        }
    }

    @Test("a write without a majority ends as leadership lost, and is reported as perhaps executed")
    func leadershipLost() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let leader = try await cluster.client(1, open: true)
            try await leader.execute("CREATE TABLE t(a INTEGER)")
            try await cluster.stop(2)
            try await cluster.stop(3)
            let error = await dqliteError { try await leader.execute("INSERT INTO t VALUES(1)") }
            #expect(error?.code == .leadershipLost)
            #expect(error?.mayHaveBeenExecuted == true)
            try await eventually("the leader without a majority steps down") { try await leader.leader() == nil }
        }
    }

    @Test("a leader connection follows the leader over a transfer and a crash")
    func leaderConnection() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let connection = cluster.leaderConnection()
            try await connection.withLeader { try await $0.execute("CREATE TABLE t(a INTEGER)") }
            let runs = Mutex(0)
            for (round, target) in [DqliteNodeID(3), 2, 1].enumerated() {
                try await connection.withLeader { try await $0.transfer(to: target) }
                // The connection is now to a node that no longer leads: the body is repeated at the new leader.
                try await connection.withLeader { client in
                    runs.withLock { $0 += 1 }
                    try await client.execute("INSERT INTO t VALUES(?)", [.integer(Int64(round))])
                }
            }
            #expect(runs.withLock { $0 } > 3)
            try await cluster.stop(1)
            let rows = try await connection.withLeader { try await $0.query("SELECT a FROM t ORDER BY a") }
            #expect(rows.rows == [[0], [1], [2]])
            await connection.close()
        }
    }

    @Test("an address that does not answer delays nobody")
    func deadAddress() async throws {
        try await TestCluster.run(voters: 1) { cluster in
            let connection = LeaderConnection(
                addresses: ["dead", "n1"], database: TestCluster.database,
                connector: { address, timeout in
                    if address == "dead" { try await Task.sleep(for: .seconds(60)) }
                    return try await cluster.client(named: address, timeout: timeout)
                })
            let start = BootClock.now
            try await connection.withLeader { try await $0.execute("CREATE TABLE t(a INTEGER)") }
            #expect(start.duration(to: BootClock.now) < .seconds(2))
            await connection.close()
            let closed = await dqliteError { try await connection.withLeader { _ in } }
            #expect(closed?.code == .misuse)
        }
    }

    @Test("without a leader the leader connection fails in time, with what each address said")
    func noLeader() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let connection = cluster.leaderConnection()
            try await cluster.stop(1)
            try await cluster.stop(2)
            let start = BootClock.now
            let error = await dqliteError { try await connection.withLeader(timeout: .seconds(1)) { _ in } }
            #expect(error?.code == .notLeader)
            #expect(error?.message.contains("n1") == true && error?.message.contains("n3") == true)
            #expect(start.duration(to: BootClock.now) < .seconds(3))
            await connection.close()
        }
    }

    @Test("a body that had an effect is not repeated when a later statement finds no leader")
    func noRepetitionAfterAnEffect() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let connection = cluster.leaderConnection()
            try await connection.withLeader { try await $0.execute("CREATE TABLE t(a INTEGER)") }
            let runs = Mutex(0)
            let error = await dqliteError {
                try await connection.withLeader { client in
                    runs.withLock { $0 += 1 }
                    try await client.execute("INSERT INTO t VALUES(1)")
                    try await client.transfer(to: 2)
                    try await client.execute("INSERT INTO t VALUES(2)")
                }
            }
            #expect(error?.mayHaveBeenExecuted == true)
            #expect(runs.withLock { $0 } == 1)
            let rows = try await connection.withLeader { try await $0.query("SELECT a FROM t") }
            #expect(rows.rows == [[1]])
            await connection.close()
        }
    }

    @Test("the probe names the leader, and 0 where none is known")
    func probe() async throws {
        try await TestCluster.run(voters: 3) { cluster in
            let address = try cluster.member(2).node.bindAddress
            var probe = try LeaderProbe(address: address, timeout: .seconds(2))
            for _ in 0..<100 { #expect(try probe.poll() == 1) }
            try await cluster.stop(1)
            try await cluster.stop(3)
            try await eventually("the last node knows no leader") { try probe.poll() == 0 }
            try await cluster.stop(2)
            #expect(throws: DqliteError.self) { try probe.poll() }
            #expect(throws: DqliteError.self) { try probe.poll() }
        }
    }

    @Test("the scanner understands every frame that three real nodes exchange")
    func scanner() async throws {
        struct Stream: Sendable {
            var preface = RaftPreface()
            var scanner = RaftFrameScanner()
            var failure: String?
        }
        struct Seen: Sendable {
            var streams: [Int: Stream] = [:]
            var kinds: [RaftFrame.Kind: Int] = [:]
            var granted = 0
            var lastPosition: UInt64 = 0
            var highestTerm: UInt64 = 0
        }
        let seen = Mutex(Seen())
        let relay = Relay { connection, chunk in
            seen.withLock { seen in
                var stream = seen.streams[connection] ?? Stream()
                var used = 0
                if stream.preface.peer == nil {
                    do {
                        used = try stream.preface.consume(chunk)
                    } catch {
                        stream.failure = "\(error)"
                    }
                }
                var frames: [RaftFrame] = []
                stream.scanner.consume(UnsafeRawBufferPointer(rebasing: chunk[used...])) { frames.append($0) }
                for frame in frames {
                    seen.kinds[frame.kind, default: 0] += 1
                    seen.highestTerm = max(seen.highestTerm, frame.term - (frame.isPreVote ? 1 : 0))
                    if case .requestVoteResult(true, _) = frame.content { seen.granted += 1 }
                    if let position = frame.lastPosition { seen.lastPosition = max(seen.lastPosition, position.index) }
                }
                seen.streams[connection] = stream
            }
        }
        // Raft's timers are longer than usual: a disk that takes its time must not cost the leader its lead.
        try await TestCluster.run(voters: 3, latency: .milliseconds(60), relay: relay, snapshots: 16) { cluster in
            let leader = try await cluster.client(1, open: true)
            try await leader.execute("CREATE TABLE t(a INTEGER, b BLOB)")
            for size in [1, 5000, 100_000] {
                try await leader.execute("INSERT INTO t VALUES(1, ?)", [.blob([UInt8](repeating: 7, count: size))])
            }
            for _ in 0..<40 { try await leader.execute("INSERT INTO t VALUES(2, NULL)") }
            // The beginning of the log is gone by now: a newcomer gets a snapshot.
            try await cluster.start(4)
            try await leader.add(id: 4, address: "n4")
            try await leader.assign(id: 4, role: .voter)
            try await leader.transfer(to: 2)
            try await cluster.waitForLeader(2, seenBy: 3)
            // An election with pre-votes.
            try await cluster.stop(2)
            try await eventually("a new leader") {
                let id = try await leader.leader()?.id
                return id != nil && id != 2
            }
        }
        try await relay.stop()
        let result = seen.withLock { $0 }
        for (_, stream) in result.streams {
            #expect(stream.failure == nil)
            #expect(!stream.scanner.isLost)
            #expect(stream.preface.peer.map { $0.address == "n\($0.id)" } ?? true)
        }
        let expected: [RaftFrame.Kind] = [
            .appendEntries, .appendEntriesResult, .requestVote, .requestVoteResult, .installSnapshot, .timeoutNow,
        ]
        for kind in expected { #expect((result.kinds[kind] ?? 0) > 0, "\(kind)") }
        #expect(result.granted > 0)
        #expect(result.lastPosition > 5)
        #expect(result.highestTerm >= 3)
    }
}
