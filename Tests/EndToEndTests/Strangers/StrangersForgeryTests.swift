import Lab
import Platform
import Testing

/// Numbers at the edges of what a term can be.
private let terms: [UInt64] = [
    0, 1, UInt64(Int64.max) - 1, UInt64(Int64.max), 1 << 62, 1 << 63, .max - 2, .max - 1, .max,
]

extension EndToEnd.StrangersTests {
    private static let own = "\(Network.strangerAddress):8800"

    /// "You get the lead": in the shape of this version, and in that of the one before, which named no leader.
    private static func offers(
        _ cluster: String, terms: [UInt64], leader: UInt64, address: String = own
    ) -> [String] {
        terms.flatMap { term in
            [true, false].flatMap { isHolder in
                let common = #""clusterID":"\#(cluster)","term":\#(term),"address":"\#(address)","isMade":true"#
                return [
                    #"{"handOver":{"_0":{\#(common),"leader":\#(leader),"isHolder":\#(isHolder)}}}"#,
                    #"{"handOver":{"_0":{\#(common)}}}"#,
                ]
            }
        }
    }

    @Test("offers of a lead with terms at the end of all numbers kill nobody and give nobody the lead")
    func offers() async throws {
        try await withStranger { lab, stranger, vigil in
            let term = vigil.before.statuses[vigil.before.leader]?.term ?? 0
            for leader in [vigil.before.leaderID, 77, 0, UInt64.max] {
                for json in Self.offers(vigil.before.clusterID, terms: terms + [term, term + 1], leader: leader) {
                    for node in lab.nodes { _ = try? await stranger.ask(json, of: node) }
                }
            }
            for term in terms {
                let json = #"{"tookOver":{"term":\#(term),"clusterID":"\#(vigil.before.clusterID)"}}"#
                for node in lab.nodes { _ = try? await stranger.ask(json, of: node) }
            }
            try await vigil.nothingHappened("offers")
        }
    }

    @Test(
        "offers that are repeated while the leader stands still make no second holder, and none that has not asked the LAN"
    )
    func repeatedOffers() async throws {
        try await withStranger { lab, stranger, vigil in
            let leader = lab[vigil.before.leader]
            let term = vigil.before.statuses[leader.number]?.term ?? 0
            let offers = ["\(leader.clusterAddress)", Self.own].flatMap { address in
                Self.offers(
                    vigil.before.clusterID, terms: [1 << 62, .max, term, term + 1], leader: vigil.before.leaderID,
                    address: address)
            }
            // Each node is asked several times within the time for which an offer stands.
            let crowd = try stranger.peers(4, sending: offers, to: lab.nodes, pause: .milliseconds(10))
            try await Task.sleep(for: .seconds(1))
            let report = try await lab.measure(.stopAll, observe: .milliseconds(1500))
            print(
                "the leader stood still: gone after", report.oldLost?.inWords ?? "–", "two holders",
                report.overlap.inWords)
            // What the same fault gives without any frames; see FailoverTests.takeover.
            #expect(report.overlap <= .milliseconds(1))
            let gained = try #require(report.newGained, "nobody took the address over")
            let lost = try #require(report.oldLost, "the leader that stands still kept the address")
            #expect(gained >= lost, "taken before the leader's kernel had let go")
            print("offers: \(try await crowd.end())")
            try await lab.recover(from: .stopAll, onNode: report.oldHolder)
            _ = try await lab.formation(within: .seconds(20))
            vigil.nobodyDied("repeated offers")
        }
    }

    @Test("a roster of the last term blinds nobody: each node goes on to see who is gone, and who is back")
    func rosters() async throws {
        try await withStranger { lab, stranger, vigil in
            let cluster = vigil.before.clusterID
            let strange = #"{"id":77,"address":"\#(Self.own)","role":0}"#
            for term in terms {
                for leader in [77, vigil.before.leaderID] {
                    let json =
                        #"{"roster":{"_0":{"clusterID":"\#(cluster)","term":\#(term),"leader":\#(leader),"members":[\#(strange)]}}}"#
                    for node in lab.nodes { _ = try? await stranger.ask(json, of: node) }
                    let gone =
                        #"{"roster":{"_0":{"clusterID":"\#(cluster)","term":\#(term),"leader":\#(leader),"members":[]}}}"#
                    for node in lab.nodes { _ = try? await stranger.ask(gone, of: node) }
                }
            }
            // Longer than a roster counts as news: what one of them has put in place would show.
            let end = BootClock.now.advanced(by: .seconds(7))
            while BootClock.now < end {
                for node in lab.nodes {
                    let now = try await node.nodes()
                    let isRight = now.failuresSurvived == 1 && now.nodes.allSatisfy { $0.reachable == true }
                    #expect(isRight, "node \(node.number): \(now)")
                    if !isRight { return }
                }
                try await Task.sleep(for: .milliseconds(200))
            }
            try await vigil.nothingHappened("rosters")
            let (leader, victim) = (vigil.before.leader, vigil.before.leader % 3 + 1)
            let other = 6 - leader - victim
            try lab.inject(.kill9, onNode: victim)
            try await lab[victim].kill9()
            for number in [leader, other] {
                try await lab[number].nodes("mark of the dead node", within: .seconds(6)) {
                    $0.node(lab[victim])?.reachable == false && $0.failuresSurvived == 0
                }
            }
            try lab[victim].startAgain()
            for node in lab.nodes {
                try await node.nodes("its return", within: .seconds(15)) {
                    $0.nodes.allSatisfy { $0.reachable == true } && $0.failuresSurvived == 1
                }
            }
        }
    }
}
