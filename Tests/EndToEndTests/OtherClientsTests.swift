import Lab
import Platform
import Testing

extension EndToEnd {
    /// With the `dqlite` shell of Debian's package go-dqlite.
    @Suite("Other dqlite clients")
    struct OtherClientsTests {
        @Test("the dqlite shell lists the members, finds the leader and reads the tables, and can change nothing")
        func shell() async throws {
            try await withCluster { lab, formation in
                // Named is a follower: the shell has to find the leader by itself.
                let follower = lab[formation.leader % 3 + 1]
                func ask(_ command: String) throws -> CommandResult {
                    try ToolCommand.run(
                        ["dqlite", "-s", "\(follower.clusterAddress)", "dqlite-vip", command], in: lab.network.client)
                }
                let members = try ask(".cluster")
                #expect(members.isSuccess, "\(members.text)")
                for node in lab.nodes { #expect(members.output.contains("\(node.clusterAddress)"), "\(members.text)") }
                let leader = try ask(".leader")
                #expect(leader.output.contains("\(lab[formation.leader].clusterAddress)"), "\(leader.text)")
                let addresses = try ask("SELECT address FROM vip")
                #expect(addresses.output.contains(lab.vipText), "\(addresses.text)")
                let cluster = try ask("SELECT value FROM meta WHERE key = 'cluster_id'")
                #expect(cluster.output.contains(formation.clusterID), "\(cluster.text)")

                let write = try ask("DELETE FROM vip")
                #expect(!write.isSuccess || write.text.contains("rror"), "\(write.text)")
                let remove = try ask(".remove \(follower.clusterAddress)")
                #expect(!remove.isSuccess || remove.text.contains("rror"), "\(remove.text)")
                #expect(try await follower.vip() == lab.vipText)
                #expect(try await lab.formation().members == formation.members)
            }
        }
    }
}
