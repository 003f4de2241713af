import RaftRig
import Testing

@testable import Lease

/// What libraft takes for committed, and what a leader of the product waits for (DOC/LIBRAFT.md, L3 and M1): an entry of its own
/// term, before it answers readers, compares and sets, or changes members.
@Suite("An entry of the own term")
struct OwnTermTests {
    /// Figure 8 of the Raft paper: 1 leads and has "10" on its own disk alone; 2 leads and has "20" there alone; 1 leads again, with 3.
    private static func figure8() throws -> RigCluster {
        let cluster = try RigCluster.voters(3, guarded: true)
        cluster.elect(1, by: 2, 3)
        cluster.split([1], [2, 3])
        cluster.ask(1, .write(10))
        cluster.settle()
        try cluster.crash(1)
        cluster.elect(2, by: 3)
        cluster.split([1, 3], [2])
        cluster.ask(2, .write(20))
        cluster.settle()
        try cluster.crash(2)
        try cluster.start(1)
        cluster.elect(1, by: 3)
        return cluster
    }

    @Test("libraft alone commits and applies an entry of an earlier term by counting copies, and it is overwritten")
    func counting() throws {
        let cluster = try Self.figure8()
        cluster.beat(1, times: 3)
        try #require(
            cluster.rig.applied(1).map(\.value) == [10] && cluster.rig.applied(3).map(\.value) == [10],
            "this libraft commits by an entry of the own term: L3 in DOC/LIBRAFT.md is mended")
        try cluster.crash(1)
        try cluster.start(2)
        cluster.join()
        cluster.elect(2, by: 3)
        #expect(cluster.rig.values(onDiskOf: 2) == [20], "it leads, and has never heard of what was applied")
        cluster.beat(2, times: 2)
        #expect(cluster.rig.role(3) == RIG_UNAVAILABLE, "who has applied the other one gives up")
    }

    @Test("once an entry of the leader's term is committed, what was applied stays: nobody without it is elected")
    func ownEntry() throws {
        let cluster = try Self.figure8()
        let own = cluster.ask(1, .write(11))
        #expect(!cluster.isDone(own), "no reader is answered yet")
        cluster.beat(1, times: 3)
        #expect(cluster.isDone(own) && cluster.rig.applied(1).map(\.value) == [10, 11])
        try cluster.crash(1)
        try cluster.start(2)
        cluster.join()
        for _ in 0..<5 {
            cluster.elapse(milliseconds: 1000)
            cluster.canVote(3)
            cluster.tick(2)
            cluster.settle()
            #expect(!cluster.rig.isLeader(2), "3 has an entry that it lacks")
        }
        cluster.elect(3, by: 2)
        let after = cluster.ask(3, .write(12))
        cluster.beat(3, times: 3)
        #expect(cluster.isDone(after) && cluster.rig.applied(3).map(\.value) == [10, 11, 12])
        #expect(cluster.ledger.violations.isEmpty)
        #expect((2...3).allSatisfy { cluster.rig.role($0) != RIG_UNAVAILABLE })
    }

    /// Voters 1 to 4 and a spare, 5. 1 has made 5 a voter, heard by 5 alone. 2 is elected by 3 and 4.
    private static func disjoint() throws -> RigCluster {
        let cluster = try RigCluster.running([.voter, .voter, .voter, .voter, .spare], guarded: true)
        cluster.elect(1, by: 2, 3, 4)
        cluster.split([1, 5], [2, 3, 4])
        cluster.ask(1, .assign(5, .voter))
        cluster.settle()
        cluster.beat(1, times: 2)
        #expect(cluster.rig.voters(5) == [1, 2, 3, 4, 5])
        cluster.elect(2, by: 3, 4)
        return cluster
    }

    @Test(
        "libraft alone changes members before that: two leaders with disjoint majorities both say that a write is done")
    func change() throws {
        let cluster = try Self.disjoint()
        cluster.split([1, 4, 5], [2, 3])
        cluster.ask(2, .assign(1, .spare))
        let first = cluster.ask(2, .write(20))
        cluster.settle()
        cluster.beat(2)
        try #require(
            cluster.isDone(first),
            "this libraft wants an entry of its term before a change: M1 in DOC/LIBRAFT.md is mended")
        cluster.elect(1, by: 4, 5)
        let second = cluster.ask(1, .write(10))
        cluster.beat(1, times: 3)
        #expect(cluster.isDone(second) && cluster.rig.isLeader(2) && cluster.rig.isLeader(1))
        #expect(cluster.ledger.has(.lostWrite))
    }

    @Test("with an entry of its term committed before the change, a leader has a majority that refuses the other")
    func changeBehindOwnEntry() throws {
        let cluster = try Self.disjoint()
        let own = cluster.ask(2, .write(20))
        cluster.settle()
        #expect(cluster.isDone(own))
        cluster.split([1, 4, 5], [2, 3])
        let change = cluster.ask(2, .assign(1, .spare))
        cluster.settle()
        cluster.beat(2)
        #expect(cluster.isDone(change) && cluster.holders == [2])
        for _ in 0..<5 {
            cluster.elapse(milliseconds: 1000)
            for id in [4, 5] { cluster.canVote(id) }
            cluster.tick(1)
            cluster.settle()
            #expect(!cluster.rig.isLeader(1) || cluster.term(1) < cluster.term(2), "4 has an entry that 1 lacks")
        }
        #expect(cluster.ledger.violations.isEmpty)
    }

    @Test("and where that entry cannot be committed, there is no change")
    func noChange() throws {
        let cluster = try Self.disjoint()
        cluster.split([1, 4, 5], [2, 3])
        let own = cluster.ask(2, .write(20))
        cluster.settle()
        cluster.beat(2, times: 3)
        #expect(!cluster.isDone(own), "two of four voters")
        cluster.elect(1, by: 4, 5)
        let other = cluster.ask(1, .write(10))
        cluster.beat(1, times: 3)
        #expect(cluster.isDone(other) && cluster.ledger.violations.isEmpty)
    }
}
