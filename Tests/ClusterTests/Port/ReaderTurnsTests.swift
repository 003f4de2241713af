import Platform
import Testing

@testable import Cluster

@Suite("the turns of clients from outside")
struct ReaderTurnsTests {
    private static func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

    @Test("one request at a time of all clients, in the order in which they came")
    func order() {
        var turns = ReaderTurns<Int>()
        for id in 1...3 { turns.asks(id, now: Self.at(0)) }
        turns.asks(2, now: Self.at(0))
        #expect(turns.next(now: Self.at(0)) == .go(1))
        guard case .wait = turns.next(now: Self.at(1)) else { return #expect(Bool(false), "one is at work") }
        turns.ends(1, now: Self.at(0))
        #expect(turns.next(now: Self.at(0)) == .go(2))
        turns.ends(2, now: Self.at(0))
        #expect(turns.next(now: Self.at(0)) == .go(3))
        turns.ends(3, now: Self.at(0))
        #expect(turns.next(now: Self.at(0)) == .nothing)
    }

    @Test("however many ask however long, they get a twentieth of the time")
    func share() {
        var turns = ReaderTurns<Int>()
        var now: Int64 = 0
        var worked: Int64 = 0
        var next = 0
        for _ in 0..<64 {
            turns.asks(next, now: Self.at(now))
            next += 1
        }
        while now < 60_000 {
            switch turns.next(now: Self.at(now)) {
            case .go(let id):
                now += 5
                worked += 5
                turns.ends(id, now: Self.at(now))
                turns.asks(next, now: Self.at(now))
                next += 1
            case .turnAway:
                turns.asks(next, now: Self.at(now))
                next += 1
            case .wait(let until):
                #expect(until > Self.at(now), "it never asks to be asked again at once")
                now = max(now + 1, until.nanoseconds / 1_000_000)
            case .nothing: Issue.record("somebody always waits")
            }
        }
        #expect(worked <= now / 20 + 5, "\(worked) of \(now) ms")
        #expect(worked >= now / 25, "and they do get it")
    }

    @Test("who has waited 2 s is turned away, whoever is at work")
    func patience() {
        var turns = ReaderTurns<Int>()
        turns.asks(1, now: Self.at(0))
        #expect(turns.next(now: Self.at(0)) == .go(1))
        turns.asks(2, now: Self.at(10))
        #expect(turns.next(now: Self.at(10)) == .wait(until: Self.at(2010)))
        #expect(turns.next(now: Self.at(2010)) == .turnAway(2))
        #expect(turns.next(now: Self.at(2010)) == .nothing)
    }

    @Test("one that leaves in the middle of its turn has used the time, and rest is given for at most a second")
    func leaves() {
        var turns = ReaderTurns<Int>()
        turns.asks(1, now: Self.at(0))
        _ = turns.next(now: Self.at(0))
        turns.leaves(1, now: Self.at(500))
        turns.asks(2, now: Self.at(500))
        #expect(turns.next(now: Self.at(500)) == .wait(until: Self.at(1500)))
        #expect(turns.next(now: Self.at(1500)) == .go(2))
    }
}
