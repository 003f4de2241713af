import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Restarts and disks")
    struct RestartTests {
        @Test("all nodes killed at once and started again are the same cluster, and the VIP is back")
        func allKilled() async throws {
            try await withCluster { lab, before in
                for node in lab.nodes { try lab.inject(.kill9, onNode: node.number) }
                for node in lab.nodes { try await node.kill9() }
                for node in lab.nodes { try node.startAgain() }
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                #expect(after.members == before.members)
                #expect(try await lab.holder() == after.leader)
                for node in lab.nodes { #expect(try await node.vip() == lab.vipText) }
            }
        }

        @Test("a member that lost its data comes back as a new one, and its dead entry is replaced")
        func wiped() async throws {
            try await withCluster { lab, before in
                let victim = before.leader % 3 + 1
                let old = try #require(before.member(lab[victim]))
                try lab.inject(.kill9, onNode: victim)
                try await lab[victim].kill9()
                lab[victim].wipe()
                try lab[victim].startAgain()
                let after = try await lab.formation(within: .seconds(30))
                #expect(after.clusterID == before.clusterID)
                #expect(after.addresses == before.addresses)
                let new = try #require(after.member(lab[victim]))
                #expect(new.id != old.id)
                #expect(new.role == "voter")
                #expect(after.statuses[victim]?.nodeID != before.statuses[victim]?.nodeID)
                #expect(try await lab[victim].vip() == lab.vipText)
            }
        }

        @Test("the leader that lost its data founds nothing new: it joins what the others went on with")
        func wipedLeader() async throws {
            try await withCluster { lab, before in
                let victim = before.leader
                try lab.inject(.kill9, onNode: victim)
                try await lab[victim].kill9()
                lab[victim].wipe()
                try lab[victim].startAgain()
                let after = try await lab.formation(within: .seconds(30))
                #expect(after.clusterID == before.clusterID)
                #expect(after.member(lab[victim])?.id != before.member(lab[victim])?.id)
                #expect(lab.witness.holders(of: lab.vip).count == 1)
            }
        }

        @Test("two processes on one data directory: the second is refused, the first is not disturbed")
        func lockedDirectory() async throws {
            try await withLab(nodes: 1) { lab in
                try lab.startAll(StartOptions())
                let before = try await lab.formation()
                let second = try await lab[1].command([
                    "start", "--data-dir", "data", "--iface", "eth0", "--bind-cluster", "10.42.0.1:8801", "--bind-http",
                    "127.0.0.1:9901",
                ])
                #expect(!second.isSuccess)
                #expect(second.text.contains("data"), "\(second.text)")
                let after = try await lab[1].status()
                #expect(after.term == before.statuses[1]?.term)
            }
        }
    }
}
