import Platform
import Testing

@testable import Cluster

@Suite("When the threads that carry raft are real-time")
struct RealTimeDemandTests {
    private let start = BootInstant(nanoseconds: 2_000_000_000_000)
    private let long: Duration = .milliseconds(5)

    private func afterTheStart() -> RealTimeDemand {
        var demand = RealTimeDemand(startingAt: start.advanced(by: .seconds(-1000)))
        _ = demand.look(waited: .zero, now: start.advanced(by: .seconds(-900)))
        return demand
    }

    @Test("for the first minute they are, and not after that when they do not wait")
    func atTheStart() {
        var demand = RealTimeDemand(startingAt: start)
        let looks = [0, 59, 60, 61].map { demand.look(waited: .zero, now: start.advanced(by: .seconds($0))) }
        #expect(looks == [true, true, false, false])
    }

    @Test("they are not while they hardly wait")
    func calm() {
        var demand = afterTheStart()
        for second in 0..<1000 {
            let isWanted = demand.look(waited: .milliseconds(1), now: start.advanced(by: .seconds(second)))
            #expect(!isWanted)
        }
    }

    @Test("one long wait makes them so for a minute, whatever is waited meanwhile")
    func busy() {
        var demand = afterTheStart()
        let first = demand.look(waited: long, now: start)
        let during = demand.look(waited: .zero, now: start.advanced(by: .seconds(59)))
        // What was waited meanwhile says nothing of what it would be without.
        let end = demand.look(waited: long, now: start.advanced(by: .seconds(60)))
        #expect([first, during, end] == [true, true, false])
    }

    @Test("who has to wait again soon is so for twice as long each time, an hour at most, and a minute after a calm")
    func relapse() {
        var demand = afterTheStart()
        var now = start
        var holds: [Duration] = []
        for _ in 0..<9 {
            let isWanted = demand.look(waited: long, now: now)
            holds.append(demand.hold)
            now = now.advanced(by: demand.hold)
            let isStill = demand.look(waited: .zero, now: now)
            #expect(isWanted && !isStill)
            now = now.advanced(by: .milliseconds(250))
        }
        #expect(holds.map { $0.components.seconds } == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600])
        _ = demand.look(waited: long, now: now.advanced(by: .seconds(31)))
        #expect(demand.hold == .seconds(60))
    }
}
