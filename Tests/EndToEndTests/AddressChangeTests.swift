import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Another address")
    struct AddressChangeTests {
        /// A node's address and command line after a move.
        private struct Home {
            var host: Int
            var port: UInt16 = 8800

            var address: IPAddress { Network.spareAddress(host) }
            var text: String { "\(address):\(port)" }
        }

        /// Starts a node that is down at another address, with the addresses of others to look for.
        private func start(_ lab: LabCluster, _ number: Int, at home: Home, join: [String]) throws {
            for old in try lab.network.addresses(ofNode: number) {
                let bare = try #require(IPAddress(old.prefix { $0 != "/" }))
                try lab.network.setAddress(bare, ofNode: number, present: false)
            }
            try lab.network.setAddress(home.address, ofNode: number, present: true)
            var options = StartOptions.identical(expect: 3)
            options.bindCluster = home.text
            options.join = join
            try lab[number].start(options)
        }

        private func expectMoved(
            _ lab: LabCluster, _ before: LabCluster.Formation, to homes: [Int: String], of numbers: [Int]? = nil
        ) async throws -> LabCluster.Formation {
            try await eventually("configuration with the new addresses", within: .seconds(15)) {
                let now = try await lab.formation(of: numbers, memberCount: 3, within: .seconds(10))
                for (number, home) in homes {
                    let id = before.member(lab[number])?.id
                    guard now.members.contains(where: { $0.id == id && $0.address == home && $0.role == "voter" })
                    else { return false }
                }
                return true
            }
            let after = try await lab.formation(of: numbers, memberCount: 3)
            #expect(after.clusterID == before.clusterID)
            #expect(Set(after.members.map(\.id)) == Set(before.members.map(\.id)))
            for number in homes.keys {
                #expect(after.statuses[number]?.nodeID == before.statuses[number]?.nodeID)
            }
            return after
        }

        private func join(_ lab: LabCluster) -> [String] { [lab.clusterAddresses.joined(separator: ",")] }

        @Test("a follower that comes back elsewhere, and the leader at another port: the same members, which count")
        func one() async throws {
            try await withCluster { lab, before in
                let follower = before.leader % 3 + 1
                let home = Home(host: 110 + follower)
                try await lab[follower].terminate()
                try start(lab, follower, at: home, join: join(lab))
                let moved = try await expectMoved(lab, before, to: [follower: home.text])
                #expect(moved.leaderID == before.leaderID, "a follower's move is no reason for another leader")

                let leader = before.leader
                try lab.inject(.kill9, onNode: leader)
                try await lab[leader].kill9()
                var options = StartOptions.identical(expect: 3)
                options.bindCluster = "\(lab[leader].address):8801"
                try lab[leader].start(options)
                _ = try await expectMoved(
                    lab, before, to: [follower: home.text, leader: "\(lab[leader].address):8801"])
                // The two that have moved are a majority, and the third is not needed.
                let third = 6 - follower - leader
                try await lab[third].kill9()
                let rest = try await lab.formation(of: [follower, leader].sorted(), memberCount: 3)
                #expect(try await lab[rest.leader].setVIP(lab.vipText).status == 202)
                try await lab.held(by: rest.leader)
            }
        }

        @Test("all members at once, two of them at each other's old address")
        func all() async throws {
            try await withCluster { lab, before in
                for node in lab.nodes { try await node.kill9() }
                for number in 1...3 { try lab.network.dropForeignAddresses(ofNode: number) }
                func host(_ number: Int) -> Int { Int(lab[number].address.bytes[3]) }
                // 1 and 2 change places, 3 goes to a new one.
                let homes = [1: Home(host: host(2)), 2: Home(host: host(1)), 3: Home(host: 113)]
                let join = [homes.values.map(\.text).sorted().joined(separator: ",")]
                for (number, home) in homes { try start(lab, number, at: home, join: join) }
                let after = try await expectMoved(lab, before, to: homes.mapValues(\.text))
                try await lab.held(by: after.leader)
                for node in lab.nodes { #expect(try await node.vip() == lab.vipText) }
            }
        }

        @Test(
            "while another voter is down the move is not put into the configuration, which nobody could commit; afterwards it is"
        )
        func oneDown() async throws {
            try await withCluster { lab, before in
                let (down, mover) = (before.leader % 3 + 1, (before.leader + 1) % 3 + 1)
                try await lab[down].kill9()
                try await lab[mover].terminate()
                let home = Home(host: 110 + mover)
                try start(lab, mover, at: home, join: join(lab))
                let two = [before.leader, mover].sorted()
                let led = try await lab.formation(of: two, memberCount: 3)
                #expect(led.members == before.members, "all stand where they stood")
                #expect(try await lab[led.leader].setVIP(lab.vipText).status == 202)
                try await eventually("word of why", within: .seconds(10)) {
                    lab[mover].logText.contains("list this node at another address")
                }
                #expect(try await lab.formation(of: two, memberCount: 3).members == before.members)
                try lab[down].startAgain()
                _ = try await expectMoved(lab, before, to: [mover: home.text])
            }
        }

        @Test("the only voter at another port: shown there at once, joined there, and listed there when there are two")
        func onlyVoter() async throws {
            try await withLab(nodes: 2) { lab in
                try lab[1].start(StartOptions())
                let before = try await lab.formation(of: [1])
                try await lab[1].terminate()
                var options = StartOptions()
                options.bindCluster = "10.42.0.1:8801"
                try lab[1].start(options)
                let led = try await lab.formation(of: [1])
                #expect(led.members == before.members, "nobody could change the list")
                let shown = try await lab[1].command(["node", "list"])
                #expect(shown.output.contains("10.42.0.1:8801"), "\(shown.text)")
                #expect(shown.output.contains("listed at 10.42.0.1:8800"), "\(shown.text)")
                #expect(try await lab[1].nodes().nodes.map(\.address) == ["10.42.0.1:8801"])
                let refused = try await lab[1].command(["node", "remove", "10.42.0.1:8801"])
                #expect(refused.text.contains("only voter"), "\(refused.text)")
                let clash = try await lab[1].setVIP("10.42.0.1/24")
                #expect(clash.message.contains("own address of the node 10.42.0.1:88"), "\(clash.text)")

                options = StartOptions()
                options.join = ["10.42.0.1:8801"]
                try lab[2].start(options)
                try await lab[2].nodes("leader where it is", within: .seconds(15)) {
                    $0.nodes.contains { $0.id == before.leaderID && $0.address == "10.42.0.1:8801" }
                }
                try await eventually("list with the new address", within: .seconds(20)) {
                    try await lab.formation(within: .seconds(15)).addresses == ["10.42.0.1:8801", "10.42.0.2:8800"]
                }
                #expect(try await lab[1].nodes().nodes.allSatisfy { $0.configuredAddress == nil })
            }
        }

        @Test("a new node at the address that a member has left is another member, and takes nobody's place")
        func addressTaken() async throws {
            try await withLab(nodes: 4) { lab in
                let options = StartOptions.identical(expect: 3)
                for number in 1...3 { try lab[number].start(options) }
                let before = try await lab.formation(of: [1, 2, 3])
                try await lab.setVIP()
                let mover = before.leader % 3 + 1
                try await lab[mover].kill9()
                let home = Home(host: 110 + mover)
                try start(lab, mover, at: home, join: join(lab))
                // Were it not there yet, its place would count as free.
                try await eventually("leader heard by the node that has moved", within: .seconds(10)) {
                    try await lab[mover].status().leaderID != 0
                }
                try lab.network.setAddress(lab[4].address, ofNode: 4, present: false)
                try lab.network.setAddress(lab[mover].address, ofNode: 4, present: true)
                try lab[4].start(options)
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.clusterID == before.clusterID)
                #expect(Set(after.members.map(\.id)).isSuperset(of: before.members.map(\.id)))
                #expect(after.member(lab[mover])?.id == after.statuses[4]?.id, "who has the address now")
            }
        }
    }
}
