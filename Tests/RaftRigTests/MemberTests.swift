import RaftRig
import Testing

@testable import Lease

@Suite("Members")
struct MemberTests {
    /// The voters by the newest configuration of a disk.
    private static func votersByLog(_ cluster: RigCluster, _ id: Int) -> [UInt64] {
        let last = cluster.rig.disk(id).last_index
        let entries = (1...max(1, last)).compactMap { cluster.rig.diskLog(id, $0) }
        return entries.last { $0.kind == RIG_CHANGE }.map { Rig.members($0.voters) } ?? []
    }

    @Test(
        "libraft keeps a configuration whose entry was overwritten after a restart; node and log differ, and another start mends it"
    )
    func staleConfiguration() throws {
        let cluster = try RigCluster.voters(4, guarded: true)
        cluster.elect(1, by: 2, 3, 4)
        cluster.split([1], [2, 3, 4])
        cluster.ask(1, .assign(4, .spare))
        cluster.settle()
        try cluster.crash(1)
        try cluster.start(1)
        #expect(cluster.rig.voters(1) == [1, 2, 3] && Self.votersByLog(cluster, 1) == [1, 2, 3])
        cluster.elect(2, by: 3, 4)
        cluster.join()
        cluster.ask(2, .write(20))
        cluster.settle()
        cluster.beat(2, times: 3)
        #expect(cluster.rig.values(onDiskOf: 1) == [20], "its log is the leader's")
        #expect(Self.votersByLog(cluster, 1) == [1, 2, 3, 4])
        try #require(
            cluster.rig.voters(1) == [1, 2, 3], "this libraft rolls it back: M2 in DOC/LIBRAFT.md is mended")
        try cluster.crash(1)
        try cluster.start(1)
        #expect(cluster.rig.voters(1) == [1, 2, 3, 4])
    }

    /// 1 and 2 vote, 1 leads with a lease, and 2 is removed.
    private static func twoBecomeOne(isRead: Bool) throws -> RigCluster {
        let cluster = try RigCluster.voters(2, guarded: true)
        cluster.readsAfterChanges = isRead
        cluster.elect(1, by: 2)
        cluster.beat(1)
        #expect(cluster.holders == [1])
        cluster.park(1, 2)
        let change = cluster.ask(1, .remove(2))
        cluster.settle()
        #expect(cluster.isDone(change) && cluster.rig.voters(1) == [1])
        return cluster
    }

    @Test("when two voters become one nothing is sent, so a relay that is not told loses its lease")
    func notTold() throws {
        let cluster = try Self.twoBecomeOne(isRead: false)
        cluster.beat(1, times: 40)
        #expect(cluster.first(.wire, 1, 2) == nil, "this libraft tells who was removed: M4 in DOC/LIBRAFT.md")
        #expect(cluster.holders.isEmpty)
    }

    @Test("told by a reading, it keeps its lease all the time")
    func told() throws {
        let cluster = try Self.twoBecomeOne(isRead: true)
        for _ in 0..<40 {
            #expect(cluster.holders == [1])
            cluster.beat(1)
        }
    }
}
