import Platform
import Testing

@testable import Lease

@Suite("Succession: from a lost leader to the next")
struct SuccessionCoreTests {
    private static let leader = VoteGate.LeaderProcess(voter: 1, incarnation: 10)
    private static let settings = SuccessionCore.Settings(silence: .milliseconds(120))

    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    /// A follower in term 5 that heard the leader at 0.
    private static func follower(_ own: VoterID = 2, voters: [VoterID] = [1, 2, 3]) -> SuccessionCore {
        var core = SuccessionCore(own: own, settings: settings)
        core.configure(voters: voters)
        core.heard(of: leader, in: 5, now: at(0))
        return core
    }

    /// The times at which the node is told to stand, until `end`.
    private static func stands(_ core: inout SuccessionCore, until end: Int64) -> [Int64] {
        var times: [Int64] = []
        while let wake = core.nextWake, wake <= at(end) {
            for directive in core.due(now: wake) where directive == .stand {
                times.append((wake.nanoseconds - at(0).nanoseconds) / 1_000_000)
            }
        }
        return times
    }

    @Test(
        "an ended connection and a refused one are a death: promises end, and the survivors stand in turn, again and again"
    )
    func death() {
        for (own, first) in [(VoterID(2), Int64(10)), (3, 25)] {
            var core = Self.follower(own)
            #expect(core.ended(Self.leader, now: Self.at(8)) == [.probe])
            #expect(core.ended(Self.leader, now: Self.at(9)).isEmpty, "one look at a time")
            #expect(
                core.probed(Self.leader, isRefused: false, promisedUntil: Self.at(0), now: Self.at(9)) == [.probe],
                "its port may accept a moment longer")
            #expect(core.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10)) == [.dead(Self.leader)])
            #expect(core.reason == .dead)
            #expect(Self.stands(&core, until: first + 9) == [first, first + 4, first + 8])
        }
    }

    @Test("who stood still himself listens once more before he calls the leader silent, and confirms nothing meanwhile")
    func stoodStill() {
        func look(_ core: inout SuccessionCore, at now: Int64, planned: Int64? = nil) -> [SuccessionCore.Directive] {
            core.due(now: Self.at(now), planned: planned.map(Self.at))
        }
        var core = Self.follower()
        #expect(look(&core, at: 135, planned: 120) == [.ask(term: 5)], "a moment late is nothing")

        core = Self.follower()
        #expect(core.isSilent(in: 5, now: Self.at(135)))
        #expect(!core.isSilent(in: 5, now: Self.at(300)), "another asks before it has looked itself")
        #expect(look(&core, at: 300, planned: 120).isEmpty)
        #expect(core.nextWake == Self.at(330) && !core.isSilent(in: 5, now: Self.at(320)))
        var heard = core
        let begins = heard.heard(of: Self.leader, in: 5, now: Self.at(310))
        #expect(begins && heard.nextWake == Self.at(430))
        // Nothing comes: it is silent, however late the look is.
        #expect(look(&core, at: 329).isEmpty)
        #expect(look(&core, at: 500, planned: 330) == [.ask(term: 5)])
        #expect(core.isSilent(in: 5, now: Self.at(500)))

        core = Self.follower()
        _ = look(&core, at: 300, planned: 120)
        let directives = core.ended(Self.leader, now: Self.at(301))
        #expect(directives == [.probe], "a death is a death")
    }

    @Test("a leader whose port goes on accepting is not dead, and silence is waited for")
    func alive() {
        var core = Self.follower()
        #expect(core.ended(Self.leader, now: Self.at(8)) == [.probe])
        #expect(core.probed(Self.leader, isRefused: false, promisedUntil: Self.at(0), now: Self.at(87)) == [.probe])
        #expect(core.probed(Self.leader, isRefused: false, promisedUntil: Self.at(0), now: Self.at(89)).isEmpty)
        #expect(core.nextWake == Self.at(120))
    }

    @Test(
        "a leader that hears no majority says so: the survivors stand in turn, and what it sends does not hold them up")
    func unanswered() {
        var core = Self.follower()
        core.gaveUp(Self.leader, in: 4, promisedUntil: Self.at(0), now: Self.at(50))
        core.gaveUp(.init(voter: 3, incarnation: 30), in: 5, promisedUntil: Self.at(0), now: Self.at(50))
        #expect(core.reason == nil, "another term, and another node")
        core.gaveUp(Self.leader, in: 5, promisedUntil: Self.at(60), now: Self.at(50))
        #expect(core.reason == .unanswered)
        core.heard(of: Self.leader, in: 5, now: Self.at(55))
        #expect(Self.stands(&core, until: 64) == [60, 64])
        // Nobody was elected, and it is still there: followed again, and watched as before.
        core.heard(of: Self.leader, in: 5, now: Self.at(530))
        #expect(core.reason == nil && core.nextWake == Self.at(650))
        // A new leader is followed at once.
        core.gaveUp(Self.leader, in: 5, promisedUntil: Self.at(0), now: Self.at(540))
        core.heard(of: .init(voter: 3, incarnation: 30), in: 6, now: Self.at(541))
        #expect(core.reason == nil)
    }

    @Test("the end of a connection of somebody else, or of an earlier process of the leader, means nothing")
    func strangers() {
        var core = Self.follower()
        #expect(core.ended(.init(voter: 3, incarnation: 30), now: Self.at(8)).isEmpty)
        #expect(core.ended(.init(voter: 1, incarnation: 9), now: Self.at(8)).isEmpty)
    }

    @Test("a refusal that comes late, from the port of another leader, is no proof against this one")
    func lateRefusal() {
        var core = Self.follower()
        let next = VoteGate.LeaderProcess(voter: 3, incarnation: 30)
        _ = core.ended(Self.leader, now: Self.at(8))
        core.heard(of: next, in: 6, now: Self.at(9))
        #expect(core.probed(next, isRefused: true, promisedUntil: Self.at(0), now: Self.at(9)).isEmpty, "it is heard")
        #expect(core.ended(next, now: Self.at(10)) == [.probe])
        #expect(core.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(11)).isEmpty)
        #expect(core.reason == nil)
        #expect(core.probed(next, isRefused: true, promisedUntil: Self.at(0), now: Self.at(12)) == [.dead(next)])
    }

    @Test("silence is asked about, and only with a majority the node stands, once its own promise is over")
    func silence() {
        var core = Self.follower(2, voters: [1, 2, 3, 4, 5])
        #expect(core.due(now: Self.at(119)).isEmpty)
        #expect(core.due(now: Self.at(120)) == [.ask(term: 5)])
        #expect(core.due(now: Self.at(140)).isEmpty && core.due(now: Self.at(150)) == [.ask(term: 5)])
        let promised = Self.at(170)
        core.confirmed(by: 3, in: 5, promisedUntil: promised, now: Self.at(151))
        core.confirmed(by: 3, in: 5, promisedUntil: promised, now: Self.at(152))
        core.confirmed(by: 1, in: 5, promisedUntil: promised, now: Self.at(152))
        core.confirmed(by: 9, in: 5, promisedUntil: promised, now: Self.at(152))
        core.confirmed(by: 4, in: 4, promisedUntil: promised, now: Self.at(152))
        #expect(core.reason == nil, "two of five, the leader, a stranger, another term: no majority")
        core.confirmed(by: 4, in: 5, promisedUntil: promised, now: Self.at(153))
        #expect(core.reason == .silent)
        #expect(Self.stands(&core, until: 175) == [170, 174])
    }

    @Test("a heartbeat that comes after all ends it, at every stage")
    func lateHeartbeat() {
        for stage in 0..<4 {
            var core = Self.follower()
            if stage >= 1 { #expect(core.due(now: Self.at(120)) == [.ask(term: 5)]) }
            if stage >= 2 { core.confirmed(by: 3, in: 5, promisedUntil: Self.at(150), now: Self.at(121)) }
            if stage == 3 { #expect(core.due(now: Self.at(150)) == [.tell(term: 5), .stand]) }
            core.heard(of: Self.leader, in: 5, now: Self.at(155))
            #expect(core.reason == nil && core.nextWake == Self.at(275), "stage \(stage)")
        }
    }

    @Test("who stands says so first, once; who hears it before its own turn leaves the election to the other for long")
    func courtesy() {
        var first = Self.follower(2)
        _ = first.ended(Self.leader, now: Self.at(8))
        _ = first.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10))
        #expect(first.due(now: Self.at(10)) == [.tell(term: 5), .stand])
        first.stands(3, in: 5, now: Self.at(11))
        #expect(first.due(now: Self.at(14)) == [.stand], "it is under way")

        var second = Self.follower(3)
        _ = second.ended(Self.leader, now: Self.at(8))
        _ = second.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10))
        second.stands(2, in: 4, now: Self.at(11))
        second.stands(1, in: 5, now: Self.at(11))
        second.stands(9, in: 5, now: Self.at(11))
        #expect(second.nextWake == Self.at(25), "another term, the leader, a stranger")
        second.stands(2, in: 5, now: Self.at(11))
        #expect(Self.stands(&second, until: 270) == [266, 270], "240 ms for the first, and the turn")

        // It may be heard before the leader's death is certain; a leader that lives ends it.
        var third = Self.follower(3)
        third.stands(2, in: 5, now: Self.at(7))
        _ = third.ended(Self.leader, now: Self.at(8))
        _ = third.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10))
        #expect(third.nextWake == Self.at(262))
        third.heard(of: Self.leader, in: 5, now: Self.at(20))
        _ = third.ended(Self.leader, now: Self.at(30))
        _ = third.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(31))
        #expect(third.nextWake == Self.at(46))
    }

    @Test("the turn of a survivor whose votes are kept back begins when they could leave")
    func keptBack() {
        var core = Self.follower(3)
        _ = core.ended(Self.leader, now: Self.at(8))
        _ = core.probed(Self.leader, isRefused: true, promisedUntil: Self.at(100), now: Self.at(10))
        #expect(core.nextWake == Self.at(115))
    }

    @Test("a survivor whose node does not answer the leader goes last, and tells the others nothing: they do not wait")
    func unresponsive() {
        var core = Self.follower(2)
        core.isUnresponsive = true
        _ = core.ended(Self.leader, now: Self.at(8))
        _ = core.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10))
        #expect(core.nextWake == Self.at(40))
        #expect(core.due(now: Self.at(40)) == [.stand])
    }

    @Test("a node that stood or voted is told nothing more, and old heartbeats do not bring the old leader back")
    func moved() {
        var core = Self.follower()
        _ = core.ended(Self.leader, now: Self.at(8))
        _ = core.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10))
        core.moved(to: 6)
        #expect(core.nextWake == nil && core.due(now: Self.at(20)).isEmpty)
        core.heard(of: Self.leader, in: 5, now: Self.at(21))
        #expect(core.leader == nil && core.nextWake == nil)
        let next = VoteGate.LeaderProcess(voter: 3, incarnation: 30)
        let begins = core.heard(of: next, in: 6, now: Self.at(30))
        #expect(begins && core.nextWake == Self.at(150))
    }

    @Test("another's question is confirmed only by who does not hear the leader either")
    func confirmation() {
        let core = Self.follower()
        #expect(!core.isSilent(in: 5, now: Self.at(79)) && core.isSilent(in: 5, now: Self.at(80)))
        #expect(!core.isSilent(in: 4, now: Self.at(500)), "of a term that is over nothing is said")
    }

    @Test("a node without a vote never stands, and one that nobody answers stops asking")
    func bounds() {
        var spare = Self.follower(9)
        #expect(spare.nextWake == nil && spare.due(now: Self.at(500)).isEmpty)
        #expect(spare.ended(Self.leader, now: Self.at(8)).isEmpty)
        var alone = Self.follower()
        var asked = 0
        while let wake = alone.nextWake { asked += alone.due(now: wake).count }
        #expect(asked == Self.settings.mostQuestions)
        var deaf = Self.follower()
        _ = deaf.ended(Self.leader, now: Self.at(8))
        _ = deaf.probed(Self.leader, isRefused: true, promisedUntil: Self.at(0), now: Self.at(10))
        #expect(Self.stands(&deaf, until: 100_000).count == Self.settings.mostRepetitions)
    }
}
