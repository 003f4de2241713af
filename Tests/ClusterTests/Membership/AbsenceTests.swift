import Dqlite
import Platform
import Testing

@testable import Cluster

@Suite("Since when members are gone")
struct AbsenceTests {
    private let start = BootInstant(nanoseconds: 1_000_000_000_000)

    private func later(_ seconds: Int) -> BootInstant { start.advanced(by: .seconds(seconds)) }

    @Test("what the leader before has seen is kept beside what this one sees, until the member answers")
    func absence() {
        var watch = MemberWatch(now: start, absences: [7: later(-500), 8: later(-300)])
        watch.keep([7, 8, 9], now: later(1))
        #expect(watch.presence(of: 7) == .gone(since: later(1)))
        #expect(watch.absentSince(7) == later(-500))
        #expect(watch.absentSince(9) == later(1))
        watch.answered(7, now: later(2))
        #expect(watch.absentSince(7) == nil)
        watch.silent(7)
        #expect(watch.absentSince(7) == later(2))
        // Removed, and added again: another life.
        watch.keep([7, 9], now: later(3))
        watch.keep([7, 8, 9], now: later(4))
        #expect(watch.absentSince(8) == later(4))
    }

    @Test("an absence that has not begun yet is none")
    func future() {
        let watch = MemberWatch(now: start, absences: [7: later(1)])
        #expect(watch.absentSince(7) == start)
    }

    @Test(
        "a roster tells absences as durations, whatever its sender's clock shows; an old or nonsensical one tells none")
    func roster() {
        let members = [
            Roster.Member(id: 1, address: "a", role: .voter),
            Roster.Member(
                id: 2, address: "b", role: .voter, goneSince: WallTime(milliseconds: 5), silentFor: 90_000),
            Roster.Member(id: 3, address: "c", role: .spare, goneSince: WallTime(milliseconds: 5)),
            Roster.Member(id: 4, address: "d", role: .spare, silentFor: -1),
            Roster.Member(id: 5, address: "e", role: .spare, silentFor: .max),
        ]
        let heard = HeardRoster(
            roster: Roster(clusterID: "x", term: 3, leader: 1, members: members), at: later(100))
        #expect(heard.absences(now: later(130)) == [2: later(10)])
        #expect(heard.absences(now: later(160)) == [:])
    }
}
