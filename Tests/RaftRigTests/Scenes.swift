import RaftRig
import Testing

@testable import Lease

extension RigCluster {
    /// 1 leads, hears nobody, and hands over to 2 just before it steps down. 3 is elected by 1 meanwhile. Then 2 is told to stand,
    /// in the same term, and asks 1 for its vote.
    static func transferThatCrossesAnElection(
        guarded: Bool, _ change: (inout RelayCore.Rules) -> Void = { _ in }
    ) throws -> (RigCluster, rig_message) {
        let cluster = try RigCluster.voters(3, guarded: guarded, change)
        cluster.elect(1, by: 2, 3)
        // From now on nothing passes between 1 and the others, and when it looks the second time it steps down.
        for other in [2, 3] {
            cluster.park(1, other)
            cluster.park(other, 1)
        }
        cluster.elapse(milliseconds: 450)
        cluster.tick(1)
        cluster.settle()
        cluster.elapse(milliseconds: 440)
        cluster.ask(1, .transfer(to: 2))
        cluster.settle()
        cluster.elapse(milliseconds: 20)
        cluster.tick(1)
        #expect(cluster.rig.role(1) == RIG_FOLLOWER, "it has stepped down")
        #expect(cluster.rig.state(1).transfer_to == 2, "and has not forgotten the transfer")
        // 3 has heard nothing for an election timeout; 1, which it can reach again, is of its opinion.
        cluster.lose(1, 3)
        cluster.unpark(1, 3)
        cluster.unpark(3, 1)
        cluster.park(3, 2)
        cluster.tick(3)
        cluster.settle { cluster.rig.isLeader(3) }
        #expect(cluster.rig.isLeader(3))
        // What 3 says as leader is on its way still when 2 is told to stand.
        cluster.park(3, 1)
        cluster.unpark(1, 2)
        cluster.park(2, 3)
        cluster.settle()
        cluster.unpark(2, 1)
        cluster.settle { cluster.first(.into, 2, 1)?.candidate == 2 }
        let request = try #require(cluster.first(.into, 2, 1), "2 does not ask for a vote")
        let copy = cluster.rig.repeated(request)
        cluster.settle()
        return (cluster, copy)
    }
}
