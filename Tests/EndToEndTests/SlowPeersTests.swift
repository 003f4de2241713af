import FoundationEssentials
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Slow and cut peers")
    struct SlowPeersTests {
        /// DQLITE_VIP_CUT_SECONDS for another length; what a node does while it is cut off is the same from some seconds on.
        private static var length: Duration {
            let text = ProcessInfo.processInfo.environment["DQLITE_VIP_CUT_SECONDS"]
            return .seconds(text.flatMap { Int($0) } ?? 15)
        }

        @Test("packets dropped for 15 s, both ways and one way only: back and needed within 2 s of the healing")
        func cut() async throws {
            try await withCluster(of: 5) { lab, before in
                let others = (1...5).filter { $0 != before.leader }
                let (deaf, mute) = (others[0], others[1])
                var rules = TrafficRules.partition([[deaf], (1...5).filter { $0 != deaf }])
                // It hears everybody, and nobody hears it.
                for number in 1...5 where number != mute { rules.closed.insert(.init(from: mute, to: number)) }
                try lab.network.apply(rules)
                try await Task.sleep(for: Self.length)
                for number in [deaf, mute] { #expect(try await lab[number].status().leaderID == 0) }
                #expect(try await lab[before.leader].status().isLeader)

                try lab.network.apply(TrafficRules())
                let start = BootClock.now
                for number in [deaf, mute] {
                    try await eventually("leader heard by node \(number)", within: .seconds(10)) {
                        try await lab[number].status().leaderID == before.leaderID
                    }
                    let time = start.duration(to: BootClock.now)
                    print("node \(number) hears the leader \(time.inMilliseconds) ms after the healing")
                    #expect(time <= .seconds(2), "node \(number): \(time.inMilliseconds) ms")
                }
                // Without the two that were never cut off, what is committed is committed by those that were.
                for number in others[2...] { try lab.inject(.kill9, onNode: number) }
                try await eventually("commit with those that were cut off", within: .seconds(2)) {
                    try await lab[before.leader].setVIP(lab.vipText, within: .seconds(2)).status == 202
                }
                let time = start.duration(to: BootClock.now)
                print("committed with both \(time.inMilliseconds) ms after the healing")
                #expect(time <= .seconds(3))
                #expect(try await lab[before.leader].status().leaderID == before.leaderID)
            }
        }
    }
}
