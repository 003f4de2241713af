import Platform
import Testing

@testable import Lease

@Suite("Whether a follower is brought up to date")
struct FollowerProgressTests {
    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    @Test("who stores what is sent does not stand still, who is behind and comes nearer does not either")
    func moving() {
        var progress = FollowerProgress()
        progress.sends(upTo: 10, now: Self.at(0))
        #expect(progress.standsSince == Self.at(0))
        progress.answered(isSuccess: true, lastIndex: 10, now: Self.at(1))
        #expect(progress.standsSince == nil)
        progress.sends(upTo: 20, now: Self.at(50))
        progress.answered(isSuccess: true, lastIndex: 15, now: Self.at(60))
        #expect(progress.standsSince == Self.at(60))
        progress.answered(isSuccess: true, lastIndex: 20, now: Self.at(70))
        #expect(progress.standsSince == nil)
    }

    @Test("who refuses all, says nothing, or stores nothing more stands still since the first of it")
    func standing() {
        for answer in [(false, UInt64(3)), (true, 10), nil] {
            var progress = FollowerProgress()
            progress.sends(upTo: 10, now: Self.at(0))
            progress.answered(isSuccess: true, lastIndex: 10, now: Self.at(1))
            for time in stride(from: Int64(100), to: 1500, by: 45) {
                progress.sends(upTo: 11, now: Self.at(time))
                if let (isSuccess, last) = answer {
                    progress.answered(isSuccess: isSuccess, lastIndex: last, now: Self.at(time + 1))
                }
            }
            #expect(progress.standsSince == Self.at(100))
        }
    }
}
