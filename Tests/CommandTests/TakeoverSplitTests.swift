import Platform
import Testing

@testable import dqlite_vip

private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

@Suite("The phases of a take-over")
struct TakeoverSplitTests {
    @Test("follow each other without gaps and add up to the whole")
    func whole() {
        let split = TakeoverSplit(
            start: at(100),
            ends: [.detection: at(220), .election: at(235), .lease: at(237), .address: at(238), .announcement: at(241)])
        #expect(split.durations.map(\.phase) == TakeoverSplit.Phase.allCases)
        #expect(split.durations.map { $0.duration.inMilliseconds } == [120, 15, 2, 1, 3])
        #expect(split.total == .milliseconds(141))
    }

    @Test("a phase whose end is not known is part of the next one")
    func unknown() {
        let split = TakeoverSplit(start: at(0), ends: [.detection: at(10), .election: at(20), .address: at(50)])
        #expect(split[.lease] == nil && split[.announcement] == nil)
        #expect(split[.address] == .milliseconds(30) && split.total == .milliseconds(50))
    }

    @Test("without a sign of an old leader it begins with the decision to stand")
    func noOldLeader() {
        let split = TakeoverSplit(start: nil, ends: [.detection: at(10), .election: at(30)])
        #expect(split.durations.map(\.phase) == [.election] && split.total == .milliseconds(20))
        #expect(TakeoverSplit(start: nil, ends: [:]).total == .zero)
    }

    @Test("marks out of order make no negative times and no longer whole")
    func outOfOrder() {
        let split = TakeoverSplit(start: at(0), ends: [.detection: at(20), .election: at(15), .lease: at(30)])
        #expect(split.durations.map { $0.duration.inMilliseconds } == [20, 0, 10])
        #expect(split.total == .milliseconds(30))
        #expect(Duration.microseconds(1250).inTenthsOfMilliseconds == 1.3)
    }
}
