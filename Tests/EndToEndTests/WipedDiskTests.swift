import Lab
import Platform
import Testing

extension EndToEnd {
    /// One wiped node alone: see the restarts.
    @Suite("Wiped disks")
    struct WipedDiskTests {
        @Test("while another voter is down nobody leads, and the wiped node founds nothing; with it all is well again")
        func oneDown() async throws {
            try await withCluster { lab, before in
                let (down, wiped) = (before.leader, before.leader % 3 + 1)
                try await lab[down].kill9()
                try await lab[wiped].kill9()
                lab[wiped].wipe()
                try lab[wiped].startAgain()
                try await eventually("word of what it waits for", within: .seconds(5)) {
                    try await lab[wiped].status().waitingFor?.contains("joining cluster") == true
                }
                try await Task.sleep(for: .seconds(2))
                let status = try await lab[wiped].status()
                #expect(status.clusterID == before.clusterID && status.state == "joining")
                #expect(lab.witness.holders(of: lab.vip).isEmpty)

                try lab[down].startAgain()
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                #expect(after.addresses == before.addresses)
                #expect(after.voters == 3)
                #expect(after.member(lab[wiped])?.id != before.member(lab[wiped])?.id)
                #expect(after.member(lab[down])?.id == before.member(lab[down])?.id)
                #expect(try await lab.holder() == after.leader)
            }
        }

        @Test("two of three wiped: the majority is lost, which no new cluster hides")
        func twoWiped() async throws {
            try await withCluster { lab, before in
                let wiped = (1...3).filter { $0 != before.leader }
                for number in wiped {
                    try await lab[number].kill9()
                    lab[number].wipe()
                }
                for number in wiped { try lab[number].startAgain() }
                try await eventually("both to wait", within: .seconds(5)) {
                    for number in wiped {
                        guard try await lab[number].status().state == "joining" else { return false }
                    }
                    return true
                }
                try await Task.sleep(for: .seconds(2))
                for node in lab.nodes {
                    let status = try await node.status()
                    #expect(status.clusterID == before.clusterID)
                    #expect(status.leaderID == 0)
                }
                #expect(lab.witness.holders(of: lab.vip).isEmpty)
            }
        }

        @Test("a node that was away while the later leader was wiped learns that it is another one now, and follows it")
        func awayMeanwhile() async throws {
            try await withCluster(of: 5) { lab, before in
                let (away, wiped) = (before.leader % 5 + 1, (before.leader + 1) % 5 + 1)
                try await lab[away].kill9()
                try await lab[wiped].kill9()
                lab[wiped].wipe()
                try lab[wiped].startAgain()
                let running = (1...5).filter { $0 != away }
                let replaced = try await lab.formation(of: running, memberCount: 5, within: .seconds(20))
                let new = try #require(replaced.member(lab[wiped]))
                let given = try await lab[before.leader].command(["failover", "--to", "\(new.id)"])
                #expect(given.isSuccess, "\(given.text)")
                try lab[away].startAgain()
                let after = try await lab.formation(within: .seconds(5))
                #expect(after.leaderID == new.id)
                #expect(after.members == replaced.members)
            }
        }

        @Test("of five voters one wiped and one down: the dead entry is replaced at once")
        func fiveVoters() async throws {
            try await withCluster(of: 5) { lab, before in
                let (down, wiped) = (before.leader % 5 + 1, (before.leader + 1) % 5 + 1)
                try await lab[down].kill9()
                try await lab[wiped].kill9()
                lab[wiped].wipe()
                try lab[wiped].startAgain()
                let running = (1...5).filter { $0 != down }
                let after = try await lab.formation(of: running, memberCount: 5, within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                #expect(after.addresses == before.addresses)
                #expect(after.member(lab[wiped])?.id != before.member(lab[wiped])?.id)
                #expect(after.leaderID == before.leaderID)
            }
        }
    }
}
