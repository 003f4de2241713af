import Glibc
import RaftRig
import Testing

@testable import Lease

/// A second leader of one term cannot be with a raft that works (DOC/LIBRAFT.md, C3).
@Suite("A second leader of one term")
struct SecondLeaderTests {
    @Test("libraft alone dies of hearing another leader of its term")
    func unguarded() throws {
        let (cluster, _) = try RigCluster.transferThatCrossesAnElection(guarded: false)
        try #require(
            cluster.rig.isLeader(2) && cluster.rig.isLeader(3),
            "this libraft votes once in a term: E1 in DOC/LIBRAFT.md is mended, and this test has no second leader any more"
        )
        cluster.unpark(3, 2)
        cluster.settle { cluster.first(.into, 3, 2)?.kind == UInt32(RIG_APPEND) }
        let frame = try #require(cluster.takeFirst(.into, 3, 2))
        // In a child of this process, and after the time that dqlite gives a new voter to catch up.
        let signal = cluster.rig.signal(of: frame, at: cluster.now / RigCluster.ms + 60_000)
        #expect(signal == SIGSEGV, "this libraft survives a second leader: C3 in DOC/LIBRAFT.md is mended")
    }

    @Test("guarded, it is not heard, by the first nor by who follows it, and each says so")
    func guarded() throws {
        // With one vote in a term there would be none.
        let (cluster, _) = try RigCluster.transferThatCrossesAnElection(guarded: true) { $0.gate.oneVote = false }
        let term = cluster.term(3)
        #expect(cluster.rig.isLeader(2) && cluster.rig.isLeader(3))
        cluster.unpark(2, 3)
        cluster.unpark(3, 2)
        cluster.unpark(3, 1)
        for _ in 0..<10 {
            cluster.elapse(milliseconds: 45)
            for id in [2, 3] { cluster.tick(id) }
            cluster.settle()
        }
        #expect(cluster.server(2).alarms.contains(.twoLeaders(term: term, first: 2, second: 3)))
        #expect(cluster.server(3).alarms.contains(.twoLeaders(term: term, first: 3, second: 2)))
        #expect(cluster.server(1).alarms.contains(.twoLeaders(term: term, first: 2, second: 3)))
        #expect(cluster.rig.state(1).leader == 2 && cluster.holders == [2])
        #expect(!cluster.ledger.has(.twoLeases))
    }
}
