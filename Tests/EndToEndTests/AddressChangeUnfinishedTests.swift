import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("A change of address whose leader is lost halfway")
    struct AddressChangeUnfinishedTests {
        private struct Move {
            var id: UInt64
            var address: String
        }

        /// Brings about what a leader leaves behind that is lost between removal and addition of a voter. It is done behind the
        /// back of the daemon, which therefore does not go on with it.
        ///
        /// - Returns: the connection to the leader's database.
        private func begin(_ move: Move, _ leader: LabNode) throws -> DqliteWire {
            let wire = try DqliteWire(toDatabaseOf: leader)
            #expect(try !wire.call(.open, DqliteWire.openBody("dqlite-vip")).isFailure)
            let sql =
                "INSERT INTO moving_node (dqlite_id, address, role) "
                + "VALUES (\(Int64(bitPattern: move.id)), '\(move.address)', 0)"
            #expect(try !wire.call(.execSQL, DqliteWire.word(0) + DqliteWire.text(sql)).isFailure)
            #expect(try !wire.call(.remove, DqliteWire.word(move.id)).isFailure)
            return wire
        }

        private func id(_ lab: LabCluster, _ before: LabCluster.Formation, _ number: Int) throws -> UInt64 {
            try #require(before.member(lab[number])).id
        }

        /// Waits until the row is gone, by the word of the database as anybody can read it.
        private func expectForgotten(_ lab: LabCluster, of numbers: [Int] = [1, 2, 3]) async throws {
            try await eventually("end of the move", within: .seconds(10), every: .milliseconds(100)) {
                let now = try await lab.formation(of: numbers)
                guard let leader = now.members.first(where: { $0.id == now.leaderID }) else { return false }
                let wire = try DqliteWire(to: HostPort(parsing: leader.address), in: lab[now.leader].namespace)
                guard try !wire.call(.open, DqliteWire.openBody("dqlite-vip")).isFailure else { return false }
                let answer = try wire.call(
                    .querySQL, DqliteWire.word(0) + DqliteWire.text("SELECT count(*) FROM moving_node"))
                // Columns, one name, the row's types, the number.
                return !answer.isFailure && answer.body.dropLast(8).suffix(8).allSatisfy { $0 == 0 }
            }
        }

        @Test("it is killed, and the member is elsewhere when there is a leader again: it keeps id and vote")
        func killed() async throws {
            try await withCluster { lab, before in
                let mover = before.leader % 3 + 1
                let id = try id(lab, before, mover)
                let home = "\(Network.spareAddress(110 + mover)):8800"
                try await lab[mover].terminate()
                _ = try begin(Move(id: id, address: home), lab[before.leader])
                try await lab[before.leader].kill9()
                try lab.network.setAddress(lab[mover].address, ofNode: mover, present: false)
                try lab.network.setAddress(Network.spareAddress(110 + mover), ofNode: mover, present: true)
                var options = StartOptions.identical(expect: 3)
                options.bindCluster = home
                try lab[mover].start(options)
                // One of two voters: nobody can lead, and nobody knows better than that the node may be a member.
                try await eventually("a running node", within: .seconds(10)) {
                    try await lab[mover].status().isFormed
                }
                try lab[before.leader].startAgain()
                let after = try await eventually("member at its new address", within: .seconds(20)) {
                    let now = try await lab.formation(memberCount: 3)
                    return now.members.contains { $0.id == id && $0.address == home && $0.role == "voter" } ? now : nil
                }
                #expect(after.clusterID == before.clusterID)
                #expect(Set(after.members.map(\.id)) == Set(before.members.map(\.id)))
                #expect(after.statuses[mover]?.nodeID == before.statuses[mover]?.nodeID)
                #expect(!lab[mover].logText.contains("joins again as a new member"))
                try await expectForgotten(lab)
            }
        }

        @Test(
            "another leads at once, and the member hears nothing of it: it is listed again, wherever it was to be listed",
            arguments: [true, false])
        func anotherLeads(isKnown: Bool) async throws {
            try await withCluster { lab, before in
                let (mover, next) = (before.leader % 3 + 1, (before.leader + 1) % 3 + 1)
                let id = try id(lab, before, mover)
                // The second is a name at which nobody is: what a member gets whose address another needs.
                let address = isKnown ? "\(lab[mover].clusterAddress)" : "moving-\(id):0"
                let wire = try begin(Move(id: id, address: address), lab[before.leader])
                #expect(try !wire.call(.transfer, DqliteWire.word(self.id(lab, before, next))).isFailure)
                let after = try await lab.formation(within: .seconds(20))
                #expect(after.leader != mover)
                try await eventually("vote of the member", within: .seconds(10)) {
                    try await lab.formation().members == before.members
                }
                #expect(!lab[mover].logText.contains("joins again as a new member"))
                try await expectForgotten(lab)
                try await lab.held(by: lab.formation().leader)
            }
        }

        @Test("the member never comes back: the cluster goes on, and an operator can take it off; then it stays out")
        func neverBack() async throws {
            try await withCluster(of: 4) { lab, before in
                let mover = before.leader % 4 + 1
                let id = try id(lab, before, mover)
                try await lab[mover].terminate()
                _ = try begin(Move(id: id, address: "\(lab[mover].clusterAddress)"), lab[before.leader])
                // With the next change the leader reads all that is committed.
                #expect(try await lab[before.leader].setVIP(lab.vipText).status == 202)
                try await eventually("word of why", within: .seconds(10)) {
                    lab[before.leader].logText.contains("is not finished, and waits")
                }
                let rest = (1...4).filter { $0 != mover }
                let led = try await eventually("three voters", within: .seconds(10)) {
                    let now = try await lab.formation(of: rest)
                    return now.voters == 3 ? now : nil
                }
                let removed = try await lab[before.leader].command(["node", "remove", "\(id)"])
                #expect(removed.isSuccess, "\(removed.text)")
                try await expectForgotten(lab, of: rest)
                try lab[mover].startAgain()
                try await lab[mover].status("removal", within: .seconds(20)) { $0.state == "removed" }
                #expect(try await lab.formation(of: rest).members == led.members)
            }
        }
    }
}
