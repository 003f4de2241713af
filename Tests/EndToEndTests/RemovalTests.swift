import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Removal, leaving, reaping")
    struct RemovalTests {
        private static let out = "it stays out until it is started with --rejoin"

        @Test("a running node that is removed gives up everything and stays out, until it is told to join again")
        func running() async throws {
            try await withCluster { lab, before in
                let target = before.leader % 3 + 1
                let other = target % 3 + 1 == before.leader ? before.leader % 3 + 2 : target % 3 + 1
                let id = try #require(before.member(lab[target])?.id)
                // By any node, by any name that means it.
                let removal = try await lab[target].command(["node", "remove", "\(lab[target].address)"])
                #expect(removal.isSuccess, "\(removal.text)")
                #expect(removal.text.contains("is no member any more"), "\(removal.text)")
                try await lab[target].status("notice of the removal", within: .seconds(3)) { $0.state == "removed" }
                let status = try await lab[target].command(["status"])
                #expect(status.status == .exited(3))
                #expect(status.text.contains(Self.out), "\(status.text)")
                #expect(lab[target].logText.contains("was removed from cluster"))
                let rest = [1, 2, 3].filter { $0 != target }
                let two = try await lab.formation(of: rest)
                #expect(two.clusterID == before.clusterID && two.voters == 2)
                try await lab.held(by: before.leader)
                // Asked again it is done already; what never was is not there.
                #expect(try await lab[other].request("DELETE", "/v1/nodes/\(id)").status == 200)
                #expect(try await lab[other].request("DELETE", "/v1/nodes/99").status == 404)

                // It stays out over a restart, and disturbs nobody.
                let term = try await lab[before.leader].status().term
                _ = try await lab[target].terminate()
                try lab[target].startAgain()
                try await lab[target].status("removed after the restart") { $0.state == "removed" }
                try await Task.sleep(for: .seconds(1))
                #expect(try await lab[before.leader].status().term == term)
                #expect(try await lab[before.leader].nodes().nodes.count == 2)

                _ = try await lab[target].terminate()
                var options = StartOptions.identical(expect: 3)
                options.further = ["--rejoin"]
                try lab[target].start(options)
                let again = try await lab.formation()
                #expect(again.clusterID == before.clusterID && again.voters == 3)
                #expect(again.member(lab[target])?.id != id)
                #expect(try await lab[target].vip() == lab.vipText)
            }
        }

        @Test("a node that was down when it was removed learns it when it comes back, and joins anew on an empty disk")
        func stopped() async throws {
            try await withCluster { lab, before in
                let target = before.leader % 3 + 1
                try await lab[target].kill9()
                let other = try #require([1, 2, 3].first { $0 != target && $0 != before.leader })
                // Without the dead one two are left; without the living one only a dead one beside the leader would be.
                let refused = try await lab[before.leader].command(["node", "remove", "\(lab[other].address)"])
                #expect(!refused.isSuccess)
                #expect(refused.text.contains("lose its quorum"), "\(refused.text)")
                #expect(try await lab[other].request("DELETE", "/v1/nodes/\(lab[target].address)").status == 200)
                let term = try await lab[before.leader].status().term

                try lab[target].startAgain()
                try await lab[target].status("notice of the removal", within: .seconds(8)) { $0.state == "removed" }
                #expect(try await lab[before.leader].status().term == term)
                let list = try await lab[other].nodes("list without it") { $0.nodes.count == 2 }
                #expect(list.removed.map(\.reason) == ["removed"])

                _ = try await lab[target].terminate()
                lab[target].wipe()
                try lab[target].startAgain()
                let again = try await lab.formation()
                #expect(again.clusterID == before.clusterID && again.voters == 3)
            }
        }

        @Test("--force removes a voter that is needed: nobody leads until the others are up, and then it is out")
        func force() async throws {
            try await withCluster { lab, before in
                let (leader, needed) = (lab[before.leader], lab[before.leader % 3 + 1])
                let dead = try #require(lab.nodes.first { $0.number != leader.number && $0.number != needed.number })
                try await dead.kill9()
                let words = ["node", "remove", "\(needed.address)"]
                let refused = try await leader.command(words)
                #expect(refused.status == .exited(1) && refused.text.contains("lose its quorum"), "\(refused.text)")
                #expect(try await leader.nodes().nodes.count == 3)
                #expect(try await lab.holder() == leader.number)

                let forced = try await leader.command(words + ["--force"])
                print("forced: \(forced.status) \(forced.text)")
                #expect(forced.text.contains("start the others"), "\(forced.text)")
                try await needed.status("notice of the removal", within: .seconds(8)) { $0.state == "removed" }
                try await leader.status("loss of the lead", within: .seconds(5)) { $0.leaderID == 0 }
                try await eventually("release of the VIP", within: .seconds(2)) {
                    lab.witness.holders(of: lab.vip).isEmpty
                }

                try dead.startAgain()
                let two = try await lab.formation(of: [leader.number, dead.number].sorted(), within: .seconds(20))
                #expect(two.clusterID == before.clusterID && two.voters == 2)
                #expect(two.member(needed) == nil)
                #expect(try await lab.holder() == two.leader)
                #expect(try await leader.nodes().removed.map(\.reason) == ["removed"])
                #expect(try await needed.status().state == "removed")
            }
        }

        @Test("the leader removes itself after it has handed the lead over; the only voter is not removed")
        func leader() async throws {
            try await withCluster(of: 2) { lab, before in
                let (leader, other) = (before.leader, before.leader % 2 + 1)
                let response = try await lab[leader].request(
                    "DELETE", "/v1/nodes/\(before.leaderID)", within: .seconds(9))
                #expect(response.status == 200, "\(response.text)")
                try await lab[leader].status("notice of the removal", within: .seconds(3)) { $0.state == "removed" }
                #expect(try await lab.holder(otherThan: leader) == other)
                #expect(try await lab[other].setVIP("10.42.0.111/24").status == 202)
                let only = try await lab[other].request("DELETE", "/v1/nodes/\(lab[other].address)")
                #expect(only.status == 409)
                #expect(only.message.contains("only voter"), "\(only.text)")
            }
        }

        @Test("RestartLeaveOnRemove: a node that stops leaves, and is a member again when it is back")
        func leaveOnShutdown() async throws {
            try await withCluster(further: ["--leave-on-shutdown"]) { lab, before in
                // The leader, so that the lead goes first.
                let leaving = before.leader
                let rest = [1, 2, 3].filter { $0 != leaving }
                #expect(try await lab[leaving].terminate().isSuccess)
                let two = try await lab.formation(of: rest)
                #expect(two.members.count == 2 && two.voters == 2)
                #expect(try await lab.holder(otherThan: leaving) == two.leader)
                try lab[leaving].startAgain()
                let three = try await lab.formation()
                #expect(three.clusterID == before.clusterID && three.voters == 3)

                // All of them, one after the other: the last one stays, or there would be no cluster to come back to.
                for node in lab.nodes { #expect(try await node.terminate().isSuccess) }
                #expect(lab[3].logText.contains("does not leave the cluster"), "\(lab[3].logTail())")
                for node in lab.nodes { try node.startAgain() }
                let again = try await lab.formation()
                #expect(again.clusterID == before.clusterID && again.voters == 3)
            }
        }

        @Test("a dead node is removed after --reap-after, not below three voters, and comes back as a new member")
        func reaping() async throws {
            try await withLab(nodes: 4) { lab in
                var options = StartOptions.identical(expect: 3)
                options.further = ["--demote-after", "1s", "--reap-after", "2s"]
                for number in 1...3 { try lab[number].start(options) }
                let three = try await lab.formation(of: [1, 2, 3])
                try lab[4].start(options)
                let four = try await lab.formation()
                let victim = three.leader % 3 + 1
                let id = try #require(four.member(lab[victim])?.id)
                try await lab[victim].kill9()
                let reaped = try await lab[three.leader].nodes("reaping", within: .seconds(8)) {
                    $0.nodes.count == 3 && !$0.removed.isEmpty
                }
                #expect(reaped.removed.map(\.reason) == ["reaped"])
                #expect(reaped.count("voter") == 3)

                // Of three voters none is taken, although one is dead.
                let second = try #require([1, 2, 3].first { $0 != victim && $0 != three.leader })
                try await lab[second].kill9()
                try await lab[three.leader].nodes("mark of the second") { $0.node(lab[second])?.reachable == false }
                try await Task.sleep(for: .seconds(3))
                #expect(try await lab[three.leader].nodes().count("voter") == 3)

                try lab[second].startAgain()
                try lab[victim].startAgain()
                let again = try await lab.formation()
                #expect(again.clusterID == three.clusterID)
                #expect(again.member(lab[victim])?.id != id)
            }
        }

        @Test("who is gone for long is reaped in time, although another node began to lead meanwhile")
        func reapingGoesOn() async throws {
            try await withLab(nodes: 4) { lab in
                var options = StartOptions.identical(expect: 3)
                options.further = ["--demote-after", "1s", "--reap-after", "8s"]
                for number in 1...3 { try lab[number].start(options) }
                let three = try await lab.formation(of: [1, 2, 3])
                try lab[4].start(options)
                _ = try await lab.formation()
                let start = BootClock.now
                try await lab[4].kill9()
                try await Task.sleep(for: .seconds(5))
                let response = try await lab[three.leader].request("POST", "/v1/failover", body: "{}")
                #expect(response.status == 200, "\(response.text)")
                let reaped = try await lab[three.leader].nodes("reaping", within: .seconds(6)) {
                    $0.nodes.count == 3 && !$0.removed.isEmpty
                }
                #expect(reaped.removed.map(\.reason) == ["reaped"])
                let time = start.duration(to: BootClock.now)
                #expect(time >= .seconds(7.5) && time < .seconds(12), "after \(time.inMilliseconds) ms")
            }
        }

        @Test("joining: through a follower, again and again, and a single node that is told to join")
        func joining() async throws {
            try await withLab(nodes: 4) { lab in
                try lab[1].start(StartOptions())
                _ = try await lab.formation(of: [1], memberCount: 1)
                var options = StartOptions()
                options.join = ["10.42.0.1"]
                try lab[2].start(options)
                let two = try await lab.formation(of: [1, 2])
                // Node 3 knows a follower only.
                let follower = two.leader % 2 + 1
                options.join = ["\(lab[follower].address)"]
                try lab[3].start(options)
                let three = try await lab.formation(of: [1, 2, 3])
                #expect(three.voters == 3)
                // Started again with the same words it is the same member, with what was set meanwhile.
                _ = try await lab[3].terminate()
                _ = try await lab[1].setVIP(lab.vipText)
                try lab[3].startAgain()
                let same = try await lab.formation(of: [1, 2, 3])
                #expect(same.members == three.members)
                #expect(try await lab[3].vip() == lab.vipText)
                // A cluster of its own does not become part of another by being told to join it.
                try lab[4].start(StartOptions())
                let own = try await lab.formation(of: [4], memberCount: 1)
                _ = try await lab[4].terminate()
                options.join = ["10.42.0.1"]
                try lab[4].start(options)
                let still = try await lab.formation(of: [4], memberCount: 1)
                #expect(still.clusterID == own.clusterID && still.clusterID != three.clusterID)
                #expect(try await lab[1].nodes().nodes.count == 3)
            }
        }
    }
}
