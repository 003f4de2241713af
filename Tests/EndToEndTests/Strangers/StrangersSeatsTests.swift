import Glibc
import Lab
import Platform
import Testing

extension EndToEnd.StrangersTests {
    @Test("300 silent connections at a follower: for all others it stays reachable, and one failure stays survived")
    func seats() async throws {
        try await withStranger { lab, stranger, vigil in
            let follower = lab[vigil.before.leader % 3 + 1]
            let leader = lab[vigil.before.leader]
            let crowd = try stranger.silentPeers(300, at: follower)
            // Without seats for members it was said to be gone after some seconds.
            try await allAreThere(leader, for: .seconds(18))
            try await crowd.end()
            try await vigil.nothingHappened("300 silent connections")
        }
    }

    /// The node says for so long, each time it is asked, that all are reachable and that one may fail.
    private func allAreThere(_ node: LabNode, for time: Duration) async throws {
        let end = BootClock.now.advanced(by: time)
        while BootClock.now < end {
            let now = try await node.nodes()
            guard now.nodes.allSatisfy({ $0.reachable == true }), now.failuresSurvived == 1 else {
                Issue.record("a node was locked out: \(now.summary); \(now.nodes.filter { $0.reachable != true })")
                return
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    @Test("300 silent connections at every node while the leader dies: its daemon is back in seconds, and needed")
    func seatsInAFailover() async throws {
        try await withStranger { lab, stranger, vigil in
            let old = vigil.before.leader
            let crowds = try lab.nodes.map { try stranger.silentPeers(300, at: $0) }
            // All seats are taken by then, and the first ones for the second time.
            try await Task.sleep(for: .seconds(8))
            let time = try lab.inject(.kill9Daemon, onNode: old)
            let new = try await lab.holder(otherThan: old)
            let gained = try #require(lab.witness.timeline.gain(of: lab.vip, by: new, after: time))
            print(
                "the address was taken", time.duration(to: gained).inWords, "ms after the death of the leader's daemon")
            #expect(time.duration(to: gained) < .seconds(1))
            #expect(lab.witness.timeline.overlap(of: lab.vip, from: time, to: BootClock.now) <= .milliseconds(1))
            // What the leader says counts from the moment at which the new process follows it.
            try await eventually("the restarted node, which follows", within: .seconds(8)) {
                let status = try await lab[old].status(within: .seconds(1))
                return status.isFormed && !status.isLeader
            }
            let back = time.duration(to: BootClock.now)
            print("the restarted node follows after", back.inWords, "ms")
            #expect(back < .seconds(5))
            try await lab[new].nodes("the restarted node, reachable", within: .seconds(5)) {
                $0.nodes.allSatisfy { $0.reachable == true } && $0.failuresSurvived == 1
            }
            try await allAreThere(lab[new], for: .seconds(5))
            // Needed: without the third, nothing is committed but with the one that came back.
            let third = 6 - old - new
            try lab.inject(.stopAll, onNode: third)
            try await eventually("a commit with the restarted node", within: .seconds(5)) {
                try await lab[new].setVIP(lab.vipText, within: .seconds(2)).status == 202
            }
            try await lab.recover(from: .stopAll, onNode: third)
            for crowd in crowds { try await crowd.end() }
            vigil.nothingGrew("900 silent connections")
        }
    }

    @Test("60 peers with frames of 258 KB of numbers cost nobody the lead, at the leader and everywhere")
    func largeFrames() async throws {
        try await withStranger { lab, stranger, vigil in
            let numbers = #"{"a":["# + String(repeating: "0,", count: 129_000) + "0]}"
            let keys = #"{"a":{"# + (0..<20_000).map { "\"\($0)\":0" }.joined(separator: ",") + "}}"
            let escapes =
                #"{"failOver":{"to":""# + String(repeating: #"\u0041"#, count: 42_000) + #"","clusterID":"x"}}"#
            let nested =
                #"{"peer":{"_0":{"hello":"# + String(repeating: "[", count: 120_000)
                + String(repeating: "]", count: 120_000) + "}}}"
            for targets in [[lab[vigil.before.leader]], lab.nodes] {
                let crowd = try stranger.peers(60, sending: [numbers, keys, escapes, nested], to: targets)
                try await Task.sleep(for: .seconds(10))
                print("60 peers at \(targets.count) nodes: \(try await crowd.end())")
            }
            try await vigil.nothingHappened("large frames")
        }
    }
}
