import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    /// How clusters form with the help of a key-value store.
    @Suite("Stores: formation")
    struct StoreFormationTests {
        @Test("three nodes with --bootstrap-expect find each other by their records, and each says where it stands")
        func expecting() async throws {
            try await onEachStore { lab, store in
                for number in 1...2 { try lab[number].start(.discovering(store, expect: 3)) }
                for number in 1...2 {
                    try await lab[number].waits(for: "2 of 3 nodes found: ", "; waiting for one more")
                }
                #expect(try await store.leader() == nil)
                try lab[3].start(.discovering(store, expect: 3))
                let formation = try await lab.formation()
                #expect(formation.voters == 3)
                try await store.isComplete(formation)
                for node in lab.nodes {
                    let status = try await node.status("registration") { $0.discovery?.isRegistered == true }
                    #expect(status.discovery?.mode == store.mode)
                    #expect(status.discovery?.lastError == nil)
                    #expect(status.discovery?.announceError == nil)
                }
                // An orderly stop leaves no record behind that others would ask in vain.
                let follower = formation.leader % 3 + 1
                try await lab[follower].terminate()
                #expect(try await store.nodes()["\(lab[follower].clusterAddress)"] == nil)
            }
        }

        @Test("a removed node is not found in the store any more, also over restarts; with --rejoin it is again")
        func removed() async throws {
            try await onEachStore { lab, store in
                let before = try await lab.startCluster(in: store)
                let target = lab[before.leader % 3 + 1]
                let removal = try await lab[before.leader].request("DELETE", "/v1/nodes/\(target.address)")
                #expect(removal.status == 200, "\(removal.text)")
                try await eventually("withdrawal", within: .seconds(8), every: .milliseconds(50)) {
                    try await store.nodes()["\(target.clusterAddress)"] == nil
                }
                #expect(try await target.status().discovery?.isRegistered == false)
                try await target.terminate()
                try target.startAgain()
                try await target.status("removed after the restart") { $0.state == "removed" }
                #expect(try await store.nodes().count == 2)
                try await target.terminate()
                try target.start(.discovering(store, expect: 3).with { $0.further = ["--rejoin"] })
                let after = try await lab.formation()
                #expect(after.clusterID == before.clusterID)
                try await store.isComplete(after)
            }
        }

        @Test("nodes without --bootstrap-expect, started at once: the first to claim founds, the others join; 8 rounds")
        func claiming() async throws {
            try await onEachStore(nodes: 6) { lab, store in
                for round in 1...4 {
                    // Two clusters side by side in one store: the key keeps them apart.
                    let keys = ["round-\(round)-a", "round-\(round)-b"]
                    let seen = try await formedClusters(in: lab) {
                        for node in lab.nodes {
                            try node.start(
                                .discovering(store).with { $0.discoKey = keys[(node.number - 1) / 3] })
                        }
                        let a = try await lab.formation(of: [1, 2, 3], within: .seconds(20))
                        let b = try await lab.formation(of: [4, 5, 6], within: .seconds(20))
                        #expect(a.clusterID != b.clusterID)
                        #expect(a.voters == 3 && b.voters == 3)
                        try await store.isComplete(a, key: keys[0])
                        try await store.isComplete(b, key: keys[1])
                    }
                    #expect(seen.count == 2, "\(store.mode), round \(round): formed clusters \(seen)")
                    for node in lab.nodes {
                        try await node.kill9()
                        node.wipe()
                    }
                }
            }
        }

        @Test(
            "TestAutoClusteringKV: join the first, kill the leader, join through the updated key, join as a non-voter")
        func rqliteKeyValue() async throws {
            try await onEachStore(nodes: 5) { lab, store in
                let options = StartOptions.discovering(store)
                try lab[1].start(options)
                let one = try await lab.formation(of: [1])
                #expect(one.leader == 1)
                try await lab.setVIP()
                try await store.isComplete(one)
                for number in 2...3 {
                    try lab[number].start(options)
                    _ = try await lab.formation(of: Array(1...number))
                    #expect(try await lab[number].vip() == lab.vipText)
                }
                // With three voters the cluster survives the loss of its leader.
                try await lab[1].kill9()
                let two = try await lab.formation(of: [2, 3], memberCount: 3)
                #expect(two.clusterID == one.clusterID)
                _ = try await lab.holder(otherThan: 1)
                try await eventually("leader key of the new leader", within: .seconds(15), every: .milliseconds(50)) {
                    try await store.leader()?.addr == "\(lab[two.leader].clusterAddress)"
                }
                try lab[4].start(options)
                let three = try await lab.formation(of: [2, 3, 4], memberCount: 4)
                #expect(three.clusterID == one.clusterID)
                #expect(try await lab[4].vip() == lab.vipText)
                try lab[5].start(options.with { $0.isNonVoter = true })
                let four = try await lab.formation(of: [2, 3, 4, 5], memberCount: 5)
                #expect(four.clusterID == one.clusterID)
                #expect(four.member(lab[5])?.role != "voter")
                #expect(try await lab[5].vip() == lab.vipText)
            }
        }

        @Test("TestAutoClusteringKV read replica: a non-voter that comes first founds nothing; a voter does, and leads")
        func readReplica() async throws {
            try await onEachStore(nodes: 2) { lab, store in
                let options = StartOptions.discovering(store)
                try lab[1].start(options.with { $0.isNonVoter = true })
                try await eventually("record of the non-voter", within: .seconds(10), every: .milliseconds(50)) {
                    try await store.nodes().count == 1
                }
                // Twice a look-up was made and gave nothing, and it still waits.
                try await lab[1].waits(for: "no node of a formed cluster")
                #expect(try await store.leader() == nil)
                #expect(try await lab[1].status().state != "formed")
                try lab[2].start(options)
                let formation = try await lab.formation()
                #expect(formation.leader == 2)
                #expect(formation.voters == 1)
                try await lab.setVIP()
                #expect(try await lab[1].vip() == lab.vipText)
                // Alone it has no majority, and would be none with it.
                try await lab[2].kill9()
                try await lab[1].status("loss of the leader") { $0.leaderID == 0 }
                #expect(try await lab[1].status().isLeader == false)
            }
        }

        @Test("TestAutoClusteringKV config: the configuration is a file, with a variable of the environment in it")
        func configurationFile() async throws {
            try await onEachStore { lab, store in
                for node in lab.nodes {
                    let file = "\(node.directory)/disco.json"
                    let text = store.configuration.replacing("10.42.0.250", with: "${STORE_HOST}")
                    try DurableFile.write(Array(text.utf8), to: file)
                    try node.start(
                        .discovering(store.mode, config: "disco.json", expect: 3),
                        environment: ["STORE_HOST": "10.42.0.250"])
                }
                #expect(try await lab.formation().voters == 3)
            }
        }

        @Test("a leader key of a dead cluster, under a lease, holds up a new cluster until it lapses, and no longer")
        func lapsingKey() async throws {
            try await onEachStore { lab, store in
                let key = store.path(StartOptions.defaultKey, "leader")
                try await store.put(key, Self.strangeRecord, hold: try await store.openHold(seconds: 5))
                try lab.startAll(.discovering(store))
                for node in lab.nodes { try await node.waits(for: "10.42.0.99:8800") }
                let seen = try await formedClusters(in: lab) {
                    try await eventually("lapse of the key", within: .seconds(15)) {
                        try await store.get(key)?.value != Self.strangeRecord
                    }
                    try await store.isComplete(try await lab.formation())
                }
                #expect(seen.count == 1)
            }
        }

        @Test("a leader key that nobody keeps alive: without --bootstrap-expect no cluster, but the command that helps")
        func staleKeyClaiming() async throws {
            try await onEachStore { lab, store in
                let key = store.path(StartOptions.defaultKey, "leader")
                try await store.put(key, Self.strangeRecord)
                try lab.startAll(.discovering(store))
                let command = store is LabEtcd ? ["etcdctl", "del \(key)"] : ["consul kv delete", key]
                let words = command + ["10.42.0.99:8800"]
                for node in lab.nodes {
                    let status = try await node.status("advice") { status in
                        words.allSatisfy { status.discovery?.announceError?.contains($0) == true }
                    }
                    #expect(status.state != "formed")
                }
                #expect(try await store.get(key)?.value == Self.strangeRecord)
                try await store.delete(key)
                try await store.isComplete(try await lab.formation(within: .seconds(20)))
            }
        }

        @Test(
            "a leader key of another cluster: with --bootstrap-expect the cluster forms, leaves it alone, and says so")
        func staleKeyExpecting() async throws {
            try await onEachStore { lab, store in
                let key = store.path(StartOptions.defaultKey, "leader")
                try await store.put(key, Self.strangeRecord)
                try lab.startAll(.discovering(store, expect: 3))
                let formation = try await lab.formation()
                let status = try await lab[formation.leader].status("refusal") { $0.discovery?.announceError != nil }
                let message = try #require(status.discovery?.announceError)
                for word in [key, Self.strangeID, formation.clusterID, "--disco-key"] {
                    #expect(message.contains(word), "\(message)")
                }
                #expect(try await store.get(key)?.value == Self.strangeRecord)
                #expect(lab[formation.leader].logText.contains(Self.strangeID))
                try await store.delete(key)
                try await store.isComplete(formation)
                try await lab[formation.leader].status("end of the refusal") { $0.discovery?.announceError == nil }
            }
        }

        private static let strangeID = "0b9c2f4e-5f0d-4c11-8a2e-7a5f0e1d2c3b"
        /// A cluster of which nobody answers.
        private static let strangeRecord = """
            {"addr":"10.42.0.99:8800","api_addr":"10.42.0.99:9900","cluster_id":"\(strangeID)","cluster_name":"dqlite-vip",\
            "id":"5d8f1f0a-3f9a-4f43-9d53-1d2ad7b1b1a1","term":7}
            """
    }
}
