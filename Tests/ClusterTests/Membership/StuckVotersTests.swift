import Platform
import Testing

@testable import Cluster

private func at(_ seconds: Double) -> BootInstant { BootInstant(nanoseconds: Int64(seconds * 1e9)) }

@Suite("Voters that take nothing from the leader")
struct StuckVotersTests {
    @Test("a moment is no news; after more than a second it is told once, and told again when it is over")
    func told() {
        var stuck = StuckVoters()
        #expect(stuck.look([3: at(10)], now: at(11)) == .init())
        #expect(stuck.look([3: at(10)], now: at(11.1)) == .init(new: [3], handsOver: true))
        #expect(stuck.reported == [3])
        #expect(stuck.look([3: at(10), 2: at(11)], now: at(12.1)) == .init(new: [2]))
        #expect(stuck.look([2: at(11)], now: at(13)) == .init(freed: [3]))
        #expect(stuck.look([:], now: at(14)) == .init(freed: [2]))
        #expect(stuck.reported == [])
    }

    @Test("the lead is handed over for it once in ten minutes at most, whoever is stuck and whoever led between")
    func handsOver() {
        var stuck = StuckVoters()
        #expect(stuck.look([3: at(10)], now: at(12)).handsOver)
        #expect(!stuck.look([:], now: at(13)).handsOver)
        #expect(!stuck.look([2: at(600)], now: at(611)).handsOver)
        #expect(stuck.look([2: at(600)], now: at(612)).handsOver)
        #expect(!stuck.look([2: at(600)], now: at(613)).handsOver)
    }
}
