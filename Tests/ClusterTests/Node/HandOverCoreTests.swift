import Dqlite
import Platform
import Testing

@testable import Cluster

private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

/// A leader, 1, and what the others answer, in one line: `2 3 4>120 5!`. A bare id is ready now, `>120` votes from 120 ms on, `!` votes
/// and cannot lead, `-` gives no answer that helps, `?` has not answered yet; `*5` has stored that much more of the log.
private struct Answers {
    var voters: [DqliteNodeID] = [1]
    var answers: [(DqliteNodeID, HandOverCore.Answer)] = []
    var stored: [DqliteNodeID: UInt64] = [:]

    init(_ line: String) throws {
        for word in line.split(separator: " ") {
            let digits = word.prefix { $0.isNumber }
            let id = try #require(DqliteNodeID(digits))
            voters.append(id)
            stored[id] = 100
            var answer: HandOverCore.Answer? = .votes(from: at(0), objection: nil)
            var rest = word.dropFirst(digits.count)
            while let mark = rest.popFirst() {
                let number = rest.prefix { $0.isNumber }
                rest = rest.dropFirst(number.count)
                switch (mark, answer) {
                case (">", .votes(_, let objection)?):
                    answer = .votes(from: at(try #require(Int64(number))), objection: objection)
                case ("!", .votes(let from, _)?): answer = .votes(from: from, objection: "its disk is full")
                case ("-", _): answer = .silent("connection refused")
                case ("?", _): answer = nil
                case ("*", _): stored[id] = 100 + (try #require(UInt64(number)))
                default: Issue.record("\(word)")
                }
            }
            if let answer { answers.append((id, answer)) }
        }
    }
}

@Suite("To whom a leader hands over, and when")
struct HandOverCoreTests {
    /// The next step at 10 ms, by answers that came in the order of the line; the leader's own votes leave from `own` on.
    private static func step(
        _ line: String, to wanted: DqliteNodeID? = nil, own: Int64 = 0, excluded: [DqliteNodeID: String] = [:],
        now: Int64 = 10, deadline: Int64 = 450
    ) throws -> HandOverCore.Step {
        let answers = try Answers(line)
        var core = HandOverCore(
            voters: answers.voters.map { .init(id: $0, address: "n\($0)") }, own: 1,
            candidates: wanted.map { [$0] } ?? Set(answers.voters.dropFirst()), excluded: excluded, now: at(0),
            deadline: at(deadline))
        core.begins(ownVotesFrom: at(own), now: at(0))
        for (id, answer) in answers.answers { core.answers(id, answer) }
        return core.next(stored: answers.stored, now: at(now))
    }

    @Test("the one with the newest log, and among equals the quickest; or the one that is wanted")
    func chosen() throws {
        #expect(try Self.step("2 3") == .offer(to: 2))
        #expect(try Self.step("3 2") == .offer(to: 3))
        #expect(try Self.step("2 3*1") == .offer(to: 3))
        #expect(try Self.step("2! 3") == .offer(to: 3))
        #expect(try Self.step("2 3*1", to: 2) == .offer(to: 2))
        #expect(try Self.step("2") == .offer(to: 2))
    }

    @Test("who has just started is not chosen while another can vote; his vote is not needed then")
    func closedCandidate() throws {
        #expect(try Self.step("2>120*9 3") == .offer(to: 3))
        #expect(try Self.step("3 2>120") == .offer(to: 3))
    }

    @Test("where only time helps it is waited, until the first moment at which somebody can be elected")
    func waits() throws {
        // Each closed for a while.
        #expect(try Self.step("2>150 3>120") == .wait(until: at(120)))
        // The wanted one, whatever the others can.
        #expect(try Self.step("2>150 3", to: 2) == .wait(until: at(150)))
        // Open itself, but nobody could vote for it: neither the leader nor the third.
        #expect(try Self.step("2 3>150", own: 90) == .wait(until: at(90)))
        #expect(try Self.step("2 3-", own: 90) == .wait(until: at(90)))
        // Of five, three are needed.
        #expect(try Self.step("2 3>200 4>150 5-", own: 120) == .wait(until: at(150)))
        #expect(try Self.step("2 3>200 4 5-", own: 120) == .wait(until: at(120)))
        // Of two both.
        #expect(try Self.step("2>60") == .wait(until: at(60)))
        #expect(try Self.step("2", own: 60) == .wait(until: at(60)))
    }

    @Test("who cannot lead can vote all the same")
    func unfit() throws {
        #expect(try Self.step("2 3! 4! 5-") == .offer(to: 2))
        #expect(try Self.step("2 3- 4- 5-") != .offer(to: 2))
    }

    @Test("answers are waited for: a little when somebody is ready, longer when nobody is, and not for ever")
    func listens() throws {
        #expect(try Self.step("2 3?") == .listen(until: at(20)))
        #expect(try Self.step("2 3?", now: 20) == .offer(to: 2))
        #expect(try Self.step("2! 3?", now: 20) == .listen(until: at(300)))
        #expect(try Self.step("2>60 3?", now: 20) == .listen(until: at(300)))
        // A majority is not known yet.
        #expect(try Self.step("2 3? 4? 5-", now: 20) == .listen(until: at(300)))
        guard case .refuse(let reason) = try Self.step("2! 3?", now: 300) else { return _ = Issue.record() }
        #expect(reason == "no voter can take the lead now: n2: its disk is full; n3: no answer within 300 ms")
    }

    @Test("a refusal names each node, and for how long; nothing is waited for that comes too late")
    func refused() throws {
        let late = try Self.step("2>600 3-", deadline: 450)
        #expect(
            late
                == .refuse(
                    "no voter can take the lead now: n2: its votes are kept back for another 590 ms, because it has just "
                        + "started: ask again after that; n3: connection refused"))
        let few = try Self.step("2 3>600 4- 5-")
        #expect(
            few
                == .refuse(
                    "no voter can take the lead now: only 2 of the 5 voters can vote, and 3 are needed: n3: its votes are kept "
                        + "back for another 590 ms, because it has just started: ask again after that; n4: connection refused; "
                        + "n5: connection refused"))
        #expect(
            try Self.step("2- 3", to: 2) == .refuse("no voter can take the lead now: n2: connection refused"))
    }

    @Test("who did not take the lead, or takes nothing from this leader, is not chosen, and its vote counts")
    func excluded() throws {
        #expect(try Self.step("2 3", excluded: [2: "it takes nothing"]) == .offer(to: 3))
        #expect(
            try Self.step("2 3", to: 2, excluded: [2: "it takes nothing"])
                == .refuse("no voter can take the lead now: n2: it takes nothing"))
        let answers = try Answers("2 3")
        var core = HandOverCore(
            voters: answers.voters.map { .init(id: $0, address: "n\($0)") }, own: 1, candidates: [2, 3], now: at(0),
            deadline: at(450))
        core.begins(ownVotesFrom: at(0), now: at(0))
        for (id, answer) in answers.answers { core.answers(id, answer) }
        core.failed(2, "it did not stand")
        #expect(core.next(stored: [:], now: at(5)) == .offer(to: 3))
        core.failed(3, "neither")
        #expect(
            core.next(stored: [:], now: at(5))
                == .refuse("no voter can take the lead now: n2: it did not stand; n3: neither"))
    }

    @Test("a new round forgets what was answered, and what was excluded stays so")
    func rounds() throws {
        let answers = try Answers("2>120 3>120")
        var core = HandOverCore(
            voters: answers.voters.map { .init(id: $0, address: "n\($0)") }, own: 1, candidates: [2, 3], now: at(0),
            deadline: at(450))
        core.begins(ownVotesFrom: at(0), now: at(0))
        for (id, answer) in answers.answers { core.answers(id, answer) }
        #expect(core.next(stored: [:], now: at(5)) == .wait(until: at(120)))
        core.failed(2, "declined")
        core.begins(ownVotesFrom: at(0), now: at(120))
        #expect(core.next(stored: [:], now: at(121)) == .listen(until: at(420)))
        core.answers(2, .votes(from: at(120), objection: nil))
        core.answers(3, .votes(from: at(120), objection: nil))
        #expect(core.next(stored: [:], now: at(122)) == .offer(to: 3))
    }

    @Test("for how long votes are kept back is told in whole milliseconds, rounded up, and never as less than nothing")
    func readiness() {
        func rest(_ nanoseconds: Int64) -> Int64 {
            HandOverReadiness(
                closedUntil: BootInstant(nanoseconds: 5_000_000 + nanoseconds), now: at(5), objection: nil
            ).votesKeptBackFor
        }
        #expect(rest(0) == 0 && rest(-7_000_000) == 0 && rest(1) == 1 && rest(1_000_000) == 1 && rest(1_000_001) == 2)
    }
}
