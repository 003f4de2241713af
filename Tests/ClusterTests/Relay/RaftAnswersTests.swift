import Platform
import Testing

@testable import Cluster

@Suite("A local node that says nothing any more")
struct RaftAnswersTests {
    private func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 0).advanced(by: .milliseconds(milliseconds))
    }

    @Test("who answers each message is never silent, and who was told nothing neither")
    func answers() {
        var answers = RaftAnswers()
        #expect(answers.silence(now: at(60_000)) == .zero)
        for time in stride(from: Int64(0), to: 30_000, by: 30) {
            answers.hears(now: at(time))
            answers.says()
        }
        #expect(answers.silence(now: at(30_000)) == .zero)
    }

    @Test("silence is counted from the first message without an answer, and ends with the next word")
    func silent() {
        var answers = RaftAnswers()
        answers.hears(now: at(0))
        answers.says()
        for time in stride(from: Int64(30), to: 15_000, by: 30) { answers.hears(now: at(time)) }
        #expect(answers.silence(now: at(15_030)) == .seconds(15))
        answers.says()
        #expect(answers.silence(now: at(15_030)) == .zero)
        answers.hears(now: at(15_060))
        #expect(answers.silence(now: at(15_090)) == .milliseconds(30))
    }

    @Test("while no leader is heard there is nobody to answer")
    func alone() {
        var answers = RaftAnswers()
        answers.hears(now: at(0))
        #expect(answers.silence(now: at(900)) == .milliseconds(900))
        #expect(answers.silence(now: at(20_000)) == .zero)
    }
}
