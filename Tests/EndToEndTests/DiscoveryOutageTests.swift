import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    /// What happens to the store while a cluster runs, and to the records while members come and go.
    @Suite("Stores: a running cluster")
    struct StoreOutageTests {
        /// Runs the body and asserts that neither the lead nor the VIP moved meanwhile.
        private func undisturbed(
            _ lab: LabCluster, _ formation: LabCluster.Formation, _ what: String, _ body: () async throws -> Void
        ) async throws {
            let before = try await lab[1].status()
            let began = BootClock.now
            try await body()
            let after = try await lab.formation(of: [1, 2, 3])
            #expect(after.leaderID == before.leaderID, "\(what)")
            #expect(after.statuses[1]?.term == before.term, "\(what)")
            #expect(after.clusterID == formation.clusterID, "\(what)")
            #expect(lab.witness.timeline.intervals(of: lab.vip).allSatisfy { $0.start < began }, "\(what)")
            #expect(lab.witness.holders(of: lab.vip) == [after.leader], "\(what)")
        }

        @Test("the store killed, frozen and wiped: the cluster stays as it is, says so once, and all records come back")
        func outages() async throws {
            try await onEachStore { lab, store in
                let formation = try await lab.startCluster(in: store)
                func troubled() async throws {
                    for node in lab.nodes {
                        try await node.status("message of the outage", within: .seconds(40)) {
                            $0.discovery?.announceError?.contains("10.42.0.250") == true
                        }
                    }
                }
                func mended() async throws {
                    try await store.isComplete(formation, within: .seconds(40))
                    for node in lab.nodes {
                        try await node.status("end of the outage", within: .seconds(40)) {
                            $0.discovery?.announceError == nil && $0.discovery?.isRegistered == true
                        }
                    }
                }
                try await undisturbed(lab, formation, "\(store.mode) killed") {
                    try await store.kill()
                    try await troubled()
                    try await store.start()
                    try await mended()
                }
                try await undisturbed(lab, formation, "\(store.mode) frozen") {
                    store.freeze()
                    try await troubled()
                    store.thaw()
                    try await mended()
                }
                try await undisturbed(lab, formation, "\(store.mode) wiped") {
                    try await store.kill()
                    store.wipe()
                    try await store.start()
                    try await mended()
                }
                for node in lab.nodes {
                    // One line for each of the three outages and one for each end, with some room for two kinds of error.
                    let lines = node.logText.split(separator: "\n").count { $0.contains("10.42.0.250") }
                    #expect((3...20).contains(lines), "\(store.mode), node \(node.number): \(lines) lines")
                }
            }
        }

        @Test("a killed node's record is gone within its lease, and the leader key follows the lead")
        func killed() async throws {
            try await onEachStore { lab, store in
                let before = try await lab.startCluster(in: store)
                let dead = "\(lab[before.leader].clusterAddress)"
                let leaderHold = try #require(try await store.get(store.path(StartOptions.defaultKey, "leader"))?.hold)
                try await lab[before.leader].kill9()
                let left = (1...3).filter { $0 != before.leader }
                let after = try await lab.formation(of: left, memberCount: 3)
                try await eventually("leader key of the new leader", within: .seconds(15), every: .milliseconds(50)) {
                    try await store.leader()?.addr == "\(lab[after.leader].clusterAddress)"
                }
                let entry = try #require(try await store.get(store.path(StartOptions.defaultKey, "leader")))
                #expect(entry.hold != nil && entry.hold != leaderHold)
                try await eventually("lapse of the record", within: .seconds(45), every: .milliseconds(100)) {
                    try await store.nodes()[dead] == nil
                }
                #expect(try await store.nodes().count == 2)
                // Back again, it is found again.
                try lab[before.leader].startAgain()
                try await store.isComplete(try await lab.formation())
            }
        }

        @Test("a node that starts while the store is away comes back into its cluster all the same")
        func restartWithoutStore() async throws {
            try await onEachStore { lab, store in
                let formation = try await lab.startCluster(in: store)
                try await store.kill()
                let follower = formation.leader % 3 + 1
                try await lab[follower].kill9()
                try lab[follower].startAgain()
                #expect(try await lab.formation().clusterID == formation.clusterID)
                // And all at once, as after a loss of power.
                for node in lab.nodes { try await node.kill9() }
                for node in lab.nodes { try node.startAgain() }
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == formation.clusterID)
                try await store.start()
                try await store.isComplete(after, within: .seconds(40))
            }
        }
    }
}
