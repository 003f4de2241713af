import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("The interface goes and returns")
    struct InterfaceFlapTests {
        /// From the return of the interface on.
        private static let limit: Duration = .seconds(2)

        /// Breaks and mends, and expects the cluster to be whole within two seconds, with a holder that answers.
        private func flap(
            _ lab: LabCluster, _ what: String, for time: Duration = .milliseconds(2500), _ set: (Bool) throws -> Void
        ) async throws {
            let before = try await lab.formation()
            _ = try await lab.settled(for: .milliseconds(300))
            try set(false)
            try await Task.sleep(for: time)
            try set(true)
            let start = BootClock.now
            do {
                let after = try await lab.formation(within: .seconds(10), every: .milliseconds(10))
                let formed = start.duration(to: BootClock.now)
                try await eventually("holder that answers", within: .seconds(10), every: .milliseconds(5)) {
                    let holders = lab.witness.holders(of: lab.vip)
                    guard holders == [after.leader], let reply = try lab.startProbe().lastReply else { return false }
                    return reply.node == after.leader && reply.receivedAt > start
                }
                let served = start.duration(to: BootClock.now)
                print("\(what): formed after \(formed.inMilliseconds) ms, served after \(served.inMilliseconds) ms")
                #expect(served <= Self.limit, "\(what): \(served.inMilliseconds) ms")
                #expect(after.clusterID == before.clusterID)
                #expect(after.members == before.members)
            } catch {
                Issue.record("\(what): \(error); \(lab.whoHasIt)")
                throw error
            }
        }

        @Test(
            "the own address, of a follower, of the leader and of all: the daemons go on, and all is back in two seconds"
        )
        func address() async throws {
            try await withCluster { lab, _ in
                try lab.startProbe()
                func own(_ numbers: [Int], _ present: Bool) throws {
                    for number in numbers {
                        try lab.network.setAddress(lab[number].address, ofNode: number, present: present)
                    }
                }
                let pids = lab.nodes.map(\.daemonPID)
                let leader = try await lab.formation().leader
                try await flap(lab, "address of a follower") { try own([leader % 3 + 1], $0) }
                let second = try await lab.formation().leader
                try await flap(lab, "address of the leader") { try own([second], $0) }
                try await flap(lab, "addresses of all") { try own([1, 2, 3], $0) }
                #expect(lab.nodes.map(\.daemonPID) == pids, "no daemon was started again")
            }
        }

        @Test("the leader's interface taken down and up, and another card put in; all cards at once")
        func card() async throws {
            try await withCluster { lab, _ in
                try lab.startProbe()
                func card(_ numbers: [Int], _ present: Bool) throws {
                    for number in numbers {
                        if present {
                            try lab.network.addInterface(ofNode: number, address: lab[number].address)
                        } else {
                            try lab.network.removeInterface(ofNode: number)
                        }
                    }
                }
                let pids = lab.nodes.map(\.daemonPID)
                let leader = try await lab.formation().leader
                try await flap(lab, "link of the leader") { try lab.network.setInterface(ofNode: leader, up: $0) }
                let second = try await lab.formation().leader
                try await flap(lab, "card of the leader") { try card([second], $0) }
                try await flap(lab, "cards of all") { try card([1, 2, 3], $0) }
                let third = try await lab.formation().leader
                try await flap(lab, "hardware address of the leader", for: .milliseconds(200)) {
                    if !$0 { try lab.network.setHardwareAddress(ofNode: third, "02:00:00:00:42:99") }
                }
                #expect(lab.nodes.map(\.daemonPID) == pids, "no daemon was started again")
            }
        }
    }
}
