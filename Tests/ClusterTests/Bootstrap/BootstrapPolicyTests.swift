import Testing

@testable import Cluster

@Suite("bootstrap: roles, ids and founding sets")
struct BootstrapPolicyTests {
    @Test(
        "the target of voters is odd, between 1 and 7, and by default the larger of 3 and expect",
        arguments: [
            (nil, nil, 3), (nil, 1, 3), (nil, 3, 3), (nil, 4, 5), (nil, 5, 5), (nil, 9, 7), (1, nil, 1), (2, nil, 3),
            (5, 3, 5), (6, 3, 7), (0, nil, 1), (100, nil, 7),
        ] as [(Int?, Int?, Int)])
    func target(voters: Int?, expect: Int?, target: Int) {
        #expect(RolePolicy(voters: voters, expect: expect).voters == target)
    }

    @Test("founding members are voters up to seven, later nodes up to the target; then stand-bys, the rest spares")
    func roles() {
        // One letter for each number of voters before, 0...8, and then of stand-bys.
        func row(_ policy: RolePolicy, founding: Bool = false, nonVoter: Bool = false) -> String {
            func letter(_ voters: Int, _ standbys: Int) -> Character {
                switch policy.role(
                    currentVoters: voters, currentStandbys: standbys, isFoundingMember: founding, nonVoter: nonVoter)
                {
                case .voter: "V"
                case .standBy: "s"
                case .spare: "."
                }
            }
            return String((0...8).map { letter($0, 0) }) + " " + String((1...4).map { letter(8, $0) })
        }
        #expect(row(RolePolicy()) == "VVVssssss ss..")
        #expect(row(RolePolicy(expect: 5)) == "VVVVVssss ss..")
        #expect(row(RolePolicy(voters: 7, standbys: 0)) == "VVVVVVV.. ....")
        #expect(row(RolePolicy(), founding: true) == "VVVVVVVss ssss")
        #expect(row(RolePolicy(), nonVoter: true) == "......... ....")
    }

    @Test("a majority of the largest founding set can be voters")
    func largestFoundingSet() {
        #expect(Agreement.maximumMembers / 2 + 1 <= RolePolicy.maximumVoters)
    }

    @Test("a UUID survives its text, in either case, and sorts like it")
    func uuid() throws {
        var random = BootstrapRandom(seed: 3)
        var ids: [NodeID] = []
        for _ in 0..<200 { ids.append(NodeID(using: &random)) }
        for id in ids {
            let text = id.description
            #expect(text.count == 36)
            #expect(NodeID(text) == id)
            #expect(NodeID(text.uppercased()) == id)
            #expect(text.dropFirst(14).first == "4")
            #expect("89ab".contains(text.dropFirst(19).first ?? " "))
        }
        #expect(ids.sorted().map(\.description) == ids.map(\.description).sorted())
    }

    @Test(
        "what is no UUID is refused",
        arguments: [
            "", "1234", "00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000",
            "00000000x0000-0000-0000-000000000000", "g0000000-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-00000000000-", "000000000000-0000-0000-0000-00000000",
        ])
    func noUUID(text: String) {
        #expect(NodeID(text) == nil)
    }

    @Test("dqlite ids never found by themselves, and JSON numbers keep them")
    func dqliteIDs() {
        var random = BootstrapRandom(seed: 4)
        for _ in 0..<1000 {
            let id = DqliteID.random(using: &random)
            #expect(id >= 2 && id < 1 << 53)
            #expect(UInt64(Double(id)) == id)
        }
    }

    // MARK: founding sets

    /// Node i hears the nodes of `hearing[i]`.
    private func connected(_ hearing: [[Int]]) -> [Int] {
        FoundingSet.connected(
            hearing.indices.map { index in
                var view = CoreHarness.view(index)
                view.heard = hearing[index].map {
                    NodeView.Heard(nodeID: CoreHarness.id($0), address: CoreHarness.address($0))
                }
                return BootstrapKnowledge.Shown(view)
            })
    }

    @Test("in a full mesh all are chosen; who is heard one way only is left out")
    func foundingSets() {
        #expect(connected([[]]) == [0])
        #expect(connected([[1, 2], [0, 2], [0, 1]]) == [0, 1, 2])
        // 0 does not hear 2: one of the two goes, the larger.
        #expect(connected([[1], [0, 2], [0, 1]]) == [0, 1])
        // 3 hears all and is heard by none.
        #expect(connected([[1, 2], [0, 2], [0, 1], [0, 1, 2]]) == [0, 1, 2])
        // Two halves that do not hear each other.
        let halves = connected([[1], [0], [3], [2]])
        #expect(halves == [0, 1])
    }

    @Test("losses that make a cluster impossible leave less than a majority, for every size")
    func fatalLosses() {
        for size in 1...Agreement.maximumMembers {
            let members = (1...size).map { CoreHarness.member($0, founder: $0 == 1) }
            let agreement = Agreement(
                proposal: ProposalID(high: 1, low: 1), clusterName: "prod", expect: 1, founder: CoreHarness.id(1),
                members: members)
            #expect(2 * agreement.majority > size)
            #expect(size - agreement.fatalLosses < agreement.majority)
            #expect(size - (agreement.fatalLosses - 1) >= agreement.majority)
        }
    }
}
