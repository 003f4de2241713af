import Platform
import Testing
import VIP

@Suite("AnnounceSchedule")
struct AnnounceScheduleTests {
    private func at(_ seconds: Double) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000_000 + Int64((seconds * 1000).rounded()) * 1_000_000)
    }

    private func ask(_ schedule: inout AnnounceSchedule, at seconds: Double) -> Bool {
        schedule.due(now: at(seconds))
    }

    /// When the schedule announces, if asked exactly when it wishes, up to a limit in seconds.
    private func run(_ schedule: inout AnnounceSchedule, until limit: Double) -> [Double] {
        var times: [Double] = []
        while let next = schedule.next, next <= at(limit) {
            let isDue = schedule.due(now: next)
            #expect(isDue)
            times.append(Double(at(0).duration(to: next).inMilliseconds) / 1000)
        }
        return times
    }

    @Test("nothing is due before the address is held")
    func idle() {
        var schedule = AnnounceSchedule()
        #expect(schedule.next == nil)
        #expect(!ask(&schedule, at: 1e6))
        schedule.linkReturned(now: at(0))
        #expect(schedule.next == nil)
    }

    @Test("a take-over is announced at once, in a burst, and then every minute")
    func takeOver() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        #expect(run(&schedule, until: 200) == [0, 0.2, 1.3, 2.4, 5, 65, 125, 185])
    }

    @Test("it is due once, not before its time")
    func once() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        #expect(ask(&schedule, at: 0))
        #expect(!ask(&schedule, at: 0))
        #expect(!ask(&schedule, at: 0.199))
        #expect(ask(&schedule, at: 0.2))
        #expect(!ask(&schedule, at: 0.2))
    }

    @Test("after a pause the repeats keep their distance, so that none falls into a neighbour's locktime")
    func lateness() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        #expect(ask(&schedule, at: 0))
        // Asked only after 3 s, when three repeats would have been due.
        #expect(ask(&schedule, at: 3))
        #expect(!ask(&schedule, at: 4))
        #expect(run(&schedule, until: 20) == [4.1, 5.2, 7.8])
    }

    @Test("release ends it; the next claim begins with a whole burst")
    func release() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        _ = run(&schedule, until: 3)
        schedule.released()
        #expect(schedule.next == nil)
        #expect(!ask(&schedule, at: 100))
        schedule.claimed(now: at(100))
        #expect(run(&schedule, until: 110) == [100, 100.2, 101.3, 102.4, 105])
    }

    @Test("a link that returns brings the burst again, while the address is held")
    func linkReturn() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        _ = run(&schedule, until: 30)
        schedule.linkReturned(now: at(30))
        #expect(run(&schedule, until: 40) == [30, 30.2, 31.3, 32.4, 35])
    }

    @Test("a link that flaps is announced on ten times a second at most")
    func flapping() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        var times: [Double] = []
        for step in 0...99 {
            let now = 30 + Double(step) / 100
            schedule.linkReturned(now: at(now))
            if ask(&schedule, at: now) { times.append(now) }
        }
        #expect(times.count == 10)
        #expect(run(&schedule, until: 40).count == 5)
    }

    @Test("another host's announcement is answered at once, and twice more when the locktime is over")
    func answer() {
        var schedule = AnnounceSchedule()
        schedule.contested(now: at(0))
        #expect(schedule.next == nil)
        schedule.claimed(now: at(0))
        _ = run(&schedule, until: 30)
        schedule.contested(now: at(30))
        #expect(run(&schedule, until: 100) == [30, 31.1, 32.2, 92.2])
    }

    @Test("a host that announces a hundred times a second is answered once a second, without end")
    func insistent() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        _ = run(&schedule, until: 30)
        var times: [Double] = []
        for step in 0...1000 {
            let now = 30 + Double(step) / 100
            schedule.contested(now: at(now))
            if ask(&schedule, at: now) { times.append(now) }
        }
        #expect(times == [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40])
        // He gives up: the answer goes on to its end, then comes the refresh.
        #expect(run(&schedule, until: 150) == [41.1, 42.2, 102.2])
    }

    @Test("in the burst of a take-over another host's announcement puts nothing off")
    func contestedTakeOver() {
        var schedule = AnnounceSchedule()
        schedule.claimed(now: at(0))
        #expect(ask(&schedule, at: 0))
        schedule.contested(now: at(0.1))
        #expect(run(&schedule, until: 10) == [0.2, 1.3, 2.4])
    }

    @Test("the refresh can be another, or none; a burst can be empty")
    func configuration() {
        var quiet = AnnounceSchedule(burst: [.zero, .seconds(2)], refresh: nil)
        quiet.claimed(now: at(0))
        #expect(run(&quiet, until: 1000) == [0, 2])
        #expect(quiet.next == nil)
        #expect(!ask(&quiet, at: 2000))
        var steady = AnnounceSchedule(burst: [], refresh: .seconds(10))
        steady.claimed(now: at(0))
        #expect(run(&steady, until: 35) == [10, 20, 30])
    }
}
