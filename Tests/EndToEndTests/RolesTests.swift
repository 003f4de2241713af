import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Roles")
    struct RolesTests {
        private static func options(_ further: [String]) -> StartOptions {
            var options = StartOptions.identical(expect: 3)
            options.further = ["--demote-after", "2s"] + further
            return options
        }

        @Test("a voter that is gone is replaced by the stand-by, and then a second failure is survived")
        func replacement() async throws {
            try await withLab(nodes: 4) { lab in
                let options = Self.options([])
                for number in 1...3 { try lab[number].start(options) }
                let three = try await lab.formation(of: [1, 2, 3])
                try lab[4].start(options)
                _ = try await lab.formation()
                try await lab.setVIP()
                for node in lab.nodes { try await node.nodes("one failure survived") { $0.failuresSurvived == 1 } }

                let holder = try await lab.holder()
                #expect(holder == three.leader)
                let victim = holder % 3 + 1
                let start = try lab.inject(.kill9, onNode: victim)
                try await lab[victim].kill9()
                let none = try await lab[holder].nodes("mark of the dead voter", within: .seconds(3)) {
                    $0.node(lab[victim])?.reachable == false
                }
                #expect(none.failuresSurvived == 0, "\(none)")
                #expect(none.node(lab[victim])?.unreachableSince != nil)
                try await lab[holder].nodes("replacement", within: .seconds(6)) {
                    $0.node(lab[4])?.role == "voter" && $0.failuresSurvived == 1
                }
                // --demote-after and two seconds.
                #expect(start.duration(to: BootClock.now) < .seconds(4))
                try await lab[holder].nodes("demotion of the dead one") { $0.node(lab[victim])?.role == "spare" }
                let status = try await lab[4].command(["status"])
                #expect(status.text.contains("the failure of 1 voter"), "\(status.text)")

                // The leader is the second to go.
                try await lab[holder].kill9()
                let next = try await lab.holder(otherThan: holder)
                #expect(next != victim && next != holder)
                let rest = [1, 2, 3, 4].filter { $0 != victim && $0 != holder }
                _ = try await lab.formation(of: rest, memberCount: 4)
                #expect(try await lab[next].setVIP("10.42.0.111/24").status == 202)

                // Those that come back hold the data again, and vote where a vote is missing.
                try lab[victim].startAgain()
                try lab[holder].startAgain()
                let all = try await lab[next].nodes("three voters and a stand-by", within: .seconds(15)) {
                    $0.count("voter") == 3 && $0.count("stand-by") == 1 && $0.failuresSurvived == 1
                }
                #expect(all.nodes.allSatisfy { $0.reachable == true })
                _ = try await lab.formation()
            }
        }

        @Test("failure domains: the stand-by of another rack becomes a voter; spares and non-voters know the cluster")
        func domains() async throws {
            try await withLab(nodes: 7) { lab in
                func options(_ number: Int, _ domain: String) -> StartOptions {
                    Self.options(["--failure-domain", domain, "--standbys", "2"])
                }
                for (number, domain) in [(1, "a"), (2, "b"), (3, "c")] {
                    try lab[number].start(options(number, domain))
                }
                let three = try await lab.formation(of: [1, 2, 3])
                try await lab.setVIP()
                let victim = three.leader % 3 + 1
                let others = [1, 2, 3].filter { $0 != victim }
                let domains = [1: "a", 2: "b", 3: "c"]
                // The first stand-by stands where a voter stays, the second where the dead one was.
                try lab[4].start(options(4, domains[others[0]] ?? ""))
                _ = try await lab.formation(of: [1, 2, 3, 4])
                try lab[5].start(options(5, domains[victim] ?? ""))
                _ = try await lab.formation(of: [1, 2, 3, 4, 5])
                try lab[6].start(options(6, "d"))
                try lab[7].start(
                    options(7, "e").with {
                        $0.isNonVoter = true
                        $0.bootstrapExpect = nil
                    })
                let seven = try await lab.formation()
                #expect([4, 5].allSatisfy { seven.member(lab[$0])?.role == "stand-by" })
                #expect([6, 7].allSatisfy { seven.member(lab[$0])?.role == "spare" })
                // A spare holds no data, and knows what it is asked all the same.
                for number in 6...7 {
                    #expect(try await lab[number].vip() == lab.vipText)
                    #expect(try await lab[number].request("GET", "/readyz").status == 200)
                    #expect(try await lab[number].setVIP(lab.vipText).status == 202)
                }
                let known = try await lab[7].nodes("failure domains") { answer in
                    answer.nodes.allSatisfy { $0.failureDomain != nil } && answer.node(lab[7])?.nonVoter == true
                }
                #expect(known.node(lab[5])?.failureDomain == domains[victim])

                try await lab[victim].kill9()
                try await lab[three.leader].nodes("replacement from the other rack", within: .seconds(8)) {
                    $0.node(lab[5])?.role == "voter" && $0.node(lab[4])?.role == "stand-by"
                        && $0.node(lab[victim])?.role == "spare"
                }
                // Its place as a stand-by goes to the spare that may vote.
                try await lab[three.leader].nodes("new stand-by") {
                    $0.node(lab[6])?.role == "stand-by" && $0.node(lab[7])?.role == "spare"
                }
            }
        }

        @Test("two nodes are both voters, and the status says that no failure is survived")
        func two() async throws {
            try await withLab(nodes: 2) { lab in
                try lab.startAll(.identical(expect: 2))
                let formation = try await lab.formation()
                #expect(formation.voters == 2)
                let answer = try await lab[formation.leader % 2 + 1].nodes("survival") { $0.failuresSurvived != nil }
                #expect(answer.failuresSurvived == 0)
                #expect(answer.summary.contains("no failure is survived"), "\(answer.summary)")
                #expect(try await lab[1].command(["status"]).text.contains("no failure of a voter"))
                #expect(try await lab[1].command(["node", "list"]).text.contains("no failure is survived"))
            }
        }
    }
}
