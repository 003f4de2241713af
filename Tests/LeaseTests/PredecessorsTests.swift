import Platform
import Testing

@testable import Lease

@Suite("Predecessors: leaders whose process ended")
struct PredecessorsTests {
    private static let first = VoteGate.LeaderProcess(voter: 1, incarnation: 10)
    private static let second = VoteGate.LeaderProcess(voter: 2, incarnation: 20)

    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    @Test("the leader's end is noted, and nobody else's")
    func noted() {
        var predecessors = Predecessors()
        let firstChange = predecessors.ended(Self.first, now: Self.at(0))
        #expect(!firstChange, "it never led")
        predecessors.heard(of: Self.first)
        let secondChange = predecessors.ended(Self.second, now: Self.at(1))
        #expect(!secondChange)
        let thirdChange = predecessors.ended(.init(voter: 1, incarnation: 9), now: Self.at(1))
        #expect(!thirdChange, "an earlier process of it")
        #expect(predecessors.account == nil)
        let fourthChange = predecessors.ended(Self.first, now: Self.at(2))
        #expect(fourthChange)
        #expect(predecessors.account == .init(endedAt: Self.at(2), answeredSince: nil))
        #expect(predecessors.processes == [Self.first])
    }

    @Test("the newest answer counts, whatever the order in which answers come, and only of this very process")
    func answers() {
        var predecessors = Predecessors()
        predecessors.heard(of: Self.first)
        _ = predecessors.ended(Self.first, now: Self.at(2))
        let firstChange = predecessors.answered(Self.second, askedAt: Self.at(9))
        #expect(!firstChange)
        let secondChange = predecessors.answered(Self.first, askedAt: Self.at(5))
        #expect(secondChange)
        let thirdChange = predecessors.answered(Self.first, askedAt: Self.at(4))
        #expect(!thirdChange)
        #expect(predecessors.account?.answeredSince == Self.at(5))
    }

    @Test("two leaders that ended one after the other: both hosts have to be heard, and the later end counts")
    func two() {
        var predecessors = Predecessors()
        predecessors.heard(of: Self.first)
        _ = predecessors.ended(Self.first, now: Self.at(2))
        predecessors.heard(of: Self.second)
        _ = predecessors.ended(Self.second, now: Self.at(30))
        let firstChange = predecessors.answered(Self.second, askedAt: Self.at(40))
        #expect(firstChange)
        #expect(predecessors.account == .init(endedAt: Self.at(30), answeredSince: nil))
        let secondChange = predecessors.answered(Self.first, askedAt: Self.at(35))
        #expect(secondChange)
        #expect(predecessors.account?.answeredSince == Self.at(35))
    }

    @Test(
        "a node that leads again, as the same process or another, has nothing left to others; it is not remembered for ever"
    )
    func returns() {
        for incarnation in [UInt64(10), 11] {
            var predecessors = Predecessors()
            predecessors.heard(of: Self.first)
            _ = predecessors.ended(Self.first, now: Self.at(2))
            let isChanged = predecessors.heard(of: .init(voter: 1, incarnation: incarnation))
            #expect(isChanged)
            #expect(predecessors.account == nil)
        }
        var predecessors = Predecessors()
        predecessors.heard(of: Self.first)
        _ = predecessors.ended(Self.first, now: Self.at(2))
        let isChanged = predecessors.heard(of: Self.second)
        #expect(!isChanged, "another leader says nothing of it")
        _ = predecessors.ended(Self.second, now: Self.at(20_000))
        #expect(predecessors.processes == [Self.second])
    }
}
