import Platform
import Testing

@testable import Lease

@Suite("The leader's side of the lease")
struct LeaseCoreTests {
    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    /// Node 1 leads term 5 of some voters; a promise is worth 100 ms.
    private static func leader(of voters: [VoterID]) -> LeaseCore {
        var core = LeaseCore(own: 1, duration: .milliseconds(100))
        core.leads(in: 5)
        core.configure(voters: voters, now: at(0))
        return core
    }

    @Test("what a promise is worth: 0.2 % and 4 ms less than it binds")
    func margin() {
        #expect(LeaseCore.duration(hold: .milliseconds(150)) == .microseconds(145_700))
    }

    @Test("who has acknowledged something recent is there; who did so in another term is not")
    func responsive() {
        var core = Self.leader(of: [1, 2, 3])
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(10))
        core.acknowledge(by: 3, in: 5, sentAt: Self.at(40))
        #expect(core.acknowledged(since: Self.at(40)) == [3])
        #expect(core.acknowledged(since: Self.at(10)) == [2, 3])
        core.leads(in: 6)
        #expect(core.acknowledged(since: Self.at(0)).isEmpty)
    }

    @Test("the lease lasts from the sending of what a majority has acknowledged, itself counted")
    func majority() {
        var core = Self.leader(of: [1, 2, 3, 4, 5])
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(10))
        #expect(core.end(now: Self.at(11)) == nil, "two of five")
        core.acknowledge(by: 9, in: 5, sentAt: Self.at(10))
        core.acknowledge(by: 1, in: 5, sentAt: Self.at(10))
        core.acknowledge(by: 3, in: 4, sentAt: Self.at(10))
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(12))
        #expect(core.end(now: Self.at(12)) == nil, "a stranger, itself, another term, one that was counted already")
        core.acknowledge(by: 3, in: 5, sentAt: Self.at(20))
        #expect(core.end(now: Self.at(21)) == Self.at(112), "the second newest counts")
        core.acknowledge(by: 4, in: 5, sentAt: Self.at(30))
        core.acknowledge(by: 4, in: 5, sentAt: Self.at(15))
        #expect(core.end(now: Self.at(31)) == Self.at(120), "and what comes late takes nothing back")
    }

    @Test("before the voters are told there is no lease, and each term's have to be told anew")
    func unknownVoters() {
        var core = LeaseCore(own: 1, duration: .milliseconds(100))
        core.leads(in: 5)
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(10))
        #expect(core.end(now: Self.at(11)) == nil)
        core.configure(voters: [1, 2, 3], now: Self.at(12))
        #expect(core.end(now: Self.at(12)) == Self.at(110))
        core.leads(in: 6)
        core.acknowledge(by: 2, in: 6, sentAt: Self.at(13))
        #expect(core.end(now: Self.at(14)) == nil)
        core.leads(in: 5)
        #expect(core.term == 6, "terms do not go back")
    }

    @Test(
        "a leader that sends for as long as a lease lasts and is not answered gives up, once; not one that stood still")
    func unanswered() {
        func gaveUp(_ core: inout LeaseCore, _ times: [Int64]) -> [Int64] {
            times.filter { core.sends(now: Self.at($0)) }
        }
        var core = Self.leader(of: [1, 2, 3])
        #expect(gaveUp(&core, [0, 30, 60, 90, 120, 150]) == [], "it never had a lease: raft sees to that")
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(150))
        #expect(gaveUp(&core, [180, 210, 240, 270]) == [], "the lease is over, and it has asked for 90 ms")
        var answered = core
        #expect(gaveUp(&core, [300]) == [300])
        answered.acknowledge(by: 3, in: 5, sentAt: Self.at(270))
        #expect(gaveUp(&answered, [300, 330, 360]) == [], "late is not never")
        core.transfers(now: Self.at(300), patience: .milliseconds(300))
        #expect(gaveUp(&core, [330, 360, 390, 420, 450, 480]) == [])

        var stopped = Self.leader(of: [1, 2, 3])
        stopped.acknowledge(by: 2, in: 5, sentAt: Self.at(0))
        #expect(gaveUp(&stopped, [30, 60, 400, 430, 460]) == [], "its own pause is nobody's silence")
        var minority = Self.leader(of: [1, 2, 3, 4, 5])
        for voter in [VoterID(2), 3] { minority.acknowledge(by: voter, in: 5, sentAt: Self.at(0)) }
        #expect(gaveUp(&minority, [30, 60, 90, 120]) == [])
        minority.acknowledge(by: 2, in: 5, sentAt: Self.at(120))
        #expect(gaveUp(&minority, [150]) == [150], "one of four answers: no majority")
    }

    @Test("who voted for another has no lease in that term any more, whatever is acknowledged")
    func surrender() {
        var core = Self.leader(of: [1, 2, 3])
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(10))
        core.surrender(upTo: 5)
        core.acknowledge(by: 3, in: 5, sentAt: Self.at(20))
        #expect(core.end(now: Self.at(21)) == nil)
        core.leads(in: 7)
        core.configure(voters: [1, 2, 3], now: Self.at(30))
        core.acknowledge(by: 3, in: 7, sentAt: Self.at(31))
        #expect(core.end(now: Self.at(32)) == Self.at(131), "a later term is a new one")
    }

    @Test("who hands over has no lease from that moment, and what is sent within the patience asks for no promise")
    func transfer() {
        var core = Self.leader(of: [1, 2, 3])
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(10))
        core.transfers(now: Self.at(20), patience: .milliseconds(300))
        #expect(core.end(now: Self.at(20)) == nil && !core.wantsPromise(now: Self.at(319)))
        core.acknowledge(by: 3, in: 5, sentAt: Self.at(319))
        #expect(core.end(now: Self.at(320)) == nil)
        #expect(core.wantsPromise(now: Self.at(320)))
        core.acknowledge(by: 3, in: 5, sentAt: Self.at(320))
        #expect(core.end(now: Self.at(321)) == Self.at(420), "nobody took it")
    }

    @Test("who gets the lead back begins anew at once, and so does who hears that the other does not take it")
    func comesBack() {
        var core = Self.leader(of: [1, 2, 3])
        core.transfers(now: Self.at(20), patience: .milliseconds(300))
        var declined = core
        core.leads(in: 7)
        core.configure(voters: [1, 2, 3], now: Self.at(50))
        #expect(core.wantsPromise(now: Self.at(50)))
        core.acknowledge(by: 3, in: 7, sentAt: Self.at(50))
        #expect(core.end(now: Self.at(51)) == Self.at(150))
        declined.resumes(now: Self.at(25))
        declined.acknowledge(by: 3, in: 5, sentAt: Self.at(24))
        #expect(declined.end(now: Self.at(26)) == nil, "sent before: its promise was released")
        declined.acknowledge(by: 3, in: 5, sentAt: Self.at(25))
        #expect(declined.end(now: Self.at(26)) == Self.at(125))
    }

    @Test("what was proven stays proven through one change of voters, and not through two")
    func changes() {
        var core = Self.leader(of: [1, 2, 3])
        core.acknowledge(by: 2, in: 5, sentAt: Self.at(10))
        core.configure(voters: [1, 3, 2], now: Self.at(20))
        #expect(core.end(now: Self.at(20)) == Self.at(110), "the same voters in another order are no change")
        core.configure(voters: [1, 3, 2, 4], now: Self.at(20))
        #expect(core.end(now: Self.at(20)) == Self.at(110))
        core.configure(voters: [1, 3, 4], now: Self.at(30))
        #expect(core.end(now: Self.at(30)) == nil, "two of the four did not prove it, and the carried end is gone")
    }

    @Test("a sole voter's lease has no end, but a second voter gives it one")
    func soleVoter() {
        var core = Self.leader(of: [1])
        #expect(core.end(now: Self.at(0)) == BootInstant(nanoseconds: .max))
        core.configure(voters: [1, 2], now: Self.at(50))
        #expect(core.end(now: Self.at(50)) == Self.at(150))
        core.configure(voters: [2], now: Self.at(60))
        core.configure(voters: [2, 3], now: Self.at(70))
        #expect(core.end(now: Self.at(70)) == nil, "who has no vote proves nothing")
    }
}
