import Platform
import Testing

@testable import Lease

@Suite("What a relay decides")
struct RelayCoreTests {
    private typealias Process = VoteGate.LeaderProcess
    private static let one = Process(voter: 1, incarnation: 10)
    private static let two = Process(voter: 2, incarnation: 20)
    private static let three = Process(voter: 3, incarnation: 30)

    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    /// A node of the voters 1 to 3, whose disk has that term.
    private static func core(
        _ own: VoterID, term: UInt64 = 5, hasVoted: Bool = false, closedUntil: BootInstant? = nil
    ) -> RelayCore {
        var core = RelayCore(
            own: own, term: term, hasVoted: hasVoted, closedUntil: closedUntil,
            settings: .init(
                hold: .milliseconds(150), patience: .milliseconds(120), retreat: .milliseconds(300),
                succession: .init(silence: .milliseconds(120))),
            now: at(0))
        core.knows(voters: [1, 2, 3])
        return core
    }

    private static func heartbeat(_ term: UInt64) -> RelayFrame {
        RelayFrame(term: term, content: .append(previous: 12, last: LogPosition(index: 12, term: 4)))
    }

    /// Node 2 hears a leader, and promises.
    private static func hears(
        _ core: inout RelayCore, _ leader: Process, _ term: UInt64, at now: Int64, wantsPromise: Bool = true
    ) -> Reception {
        core.receives(
            heartbeat(term), from: leader, wantsPromise: wantsPromise, sentAt: at(now), canOwe: false, now: at(now))
    }

    /// Node 1 leads term 5 with a lease.
    private static func leader() -> RelayCore {
        var core = core(1)
        _ = core.sends(heartbeat(5), to: 2, now: at(0))
        core.learnt(voters: [1, 2, 3], by: .init(term: 5, changes: core.changes, number: 1), now: at(1))
        core.told(.acknowledged(term: 5, sentAt: at(0)), by: two, now: at(1))
        _ = core.take()
        return core
    }

    private static let vote = RelayFrame(term: 6, content: .vote(isGranted: true, isPreVote: false))
    private static let request = RelayFrame(term: 6, content: .requestVote(isPreVote: false))
    private static let passed = Passage.pass(wantsPromise: false, acknowledging: nil)

    // MARK: votes

    @Test(
        "a vote that is kept back leaves when the promise is over, the earliest first, and lookups are asked for in time"
    )
    func held() throws {
        var core = Self.core(2)
        _ = Self.hears(&core, Self.one, 5, at: 0)
        let passage = core.sends(Self.vote, to: 3, now: Self.at(10))
        guard case .hold(let ticket) = passage else {
            Issue.record("\(passage)")
            return
        }
        #expect(core.nextWake == Self.at(120), "the silence is looked for first")
        _ = core.take()
        core.due(now: Self.at(149))
        let early = core.take()
        #expect(!early.contains(.release(ticket)))
        core.due(now: Self.at(150))
        let directives = core.take()
        #expect(directives.contains(.release(ticket)))
        #expect(core.lease.end(now: Self.at(150)) == nil)
    }

    @Test("the second vote of a term is dropped, whichever way it would leave, and said so")
    func secondVote() {
        var core = Self.core(2)
        let first = core.sends(Self.vote, to: 3, now: Self.at(0))
        _ = core.take()
        let second = core.sends(Self.vote, to: 1, now: Self.at(1))
        #expect(first == Self.passed && second == .drop)
        let said = core.take()
        #expect(said == [.alarm(.secondVote(term: 6, candidate: 1))])
        let own = core.sends(Self.request, to: 1, now: Self.at(2))
        #expect(own == .drop, "its own candidacy")

        // Both kept back: the first one leaves, the other never.
        core = Self.core(2, closedUntil: Self.at(50))
        guard case .hold(let kept) = core.sends(Self.vote, to: 3, now: Self.at(1)),
            case .hold(let late) = core.sends(Self.vote, to: 1, now: Self.at(2))
        else {
            Issue.record("not kept back")
            return
        }
        _ = core.take()
        core.due(now: Self.at(50))
        let directives = core.take()
        #expect(directives.contains(.release(kept)) && directives.contains(.discard(late)))
    }

    @Test("what is kept back is dropped when a leader of its term or a higher one is heard, and only then")
    func overtaken() {
        for (term, isDropped) in [(UInt64(5), false), (6, true), (7, true)] {
            var core = Self.core(2, closedUntil: Self.at(100))
            guard case .hold(let ticket) = core.sends(Self.request, to: 1, now: Self.at(1)) else {
                Issue.record("not kept back")
                return
            }
            _ = Self.hears(&core, Self.three, term, at: 2)
            let said = core.take()
            #expect(said.contains(.discard(ticket)) == isDropped, "term \(term)")
        }
    }

    @Test("a second leader of one term is not heard, nor is one by who leads that term itself")
    func secondLeader() {
        var core = Self.core(2)
        let first = Self.hears(&core, Self.one, 5, at: 0)
        _ = core.take()
        let second = Self.hears(&core, Self.three, 5, at: 1)
        #expect(first == .hand(acknowledges: true) && second == .drop)
        let said = core.take()
        #expect(said == [.alarm(.twoLeaders(term: 5, first: 1, second: 3))])
        var leader = Self.leader()
        let other = Self.hears(&leader, Self.three, 5, at: 2)
        #expect(other == .drop)
        let alarms = leader.take()
        #expect(alarms == [.alarm(.twoLeaders(term: 5, first: 1, second: 3))])
    }

    // MARK: hand-over

    @Test("who is asked to stand and cannot says so at once, and its node does not hear of it")
    func declines() {
        var core = Self.core(2, closedUntil: Self.at(100))
        _ = Self.hears(&core, Self.one, 5, at: 0, wantsPromise: false)
        _ = core.take()
        let asked = RelayFrame(term: 5, content: .timeoutNow)
        func receives(at now: Int64) -> Reception {
            core.receives(
                asked, from: Self.one, wantsPromise: false, sentAt: Self.at(now), canOwe: true, now: Self.at(now))
        }
        let early = receives(at: 99)
        let declined = core.take()
        #expect(early == .drop && declined == [.tell(1, .declined(term: 5))])
        let late = receives(at: 100)
        #expect(late == .hand(acknowledges: false))
        let expected: [RelayDirective] = [
            .askedToStand(by: 1, term: 5), .stands(.transferred), .tell(3, .stands(term: 5)),
        ]
        let said = core.take()
        #expect(said == expected, "the others leave the election to it")
    }

    @Test("promises to the giver do not keep its successor from standing; those to another leader do")
    func released() {
        for (leader, isHanded) in [(Self.one, true), (Self.three, false)] {
            var core = Self.core(2)
            _ = Self.hears(&core, leader, 5, at: 0)
            _ = Self.hears(&core, Self.one, leader == Self.one ? 5 : 6, at: 1)
            core.told(.released(upTo: Self.at(2), successor: 2), by: Self.one, now: Self.at(2))
            let reception = core.receives(
                RelayFrame(term: leader == Self.one ? 5 : 6, content: .timeoutNow), from: Self.one, wantsPromise: false,
                sentAt: Self.at(3), canOwe: true, now: Self.at(3))
            #expect((reception == .hand(acknowledges: false)) == isHanded)
        }
    }

    @Test(
        "a giver keeps what it holds for its successor under the lease that it had, and lets go with a vote for another"
    )
    func keeps() {
        var core = Self.leader()
        let frame = RelayFrame(term: 5, content: .timeoutNow)
        _ = core.sends(frame, to: 2, now: Self.at(10))
        let expected: [RelayDirective] = [
            .transfers(to: 2), .leaseLost(.transferred), .leaseMoved,
            .tellAll(.released(upTo: Self.at(10), successor: 2)),
        ]
        let said = core.take()
        #expect(said == expected)
        #expect(core.lease.end(now: Self.at(10)) == nil)
        #expect(core.lease.kept(now: Self.at(10)) == Self.at(110))
        var voter = core
        _ = voter.sends(Self.vote, to: 3, now: Self.at(11))
        #expect(voter.lease.kept(now: Self.at(11)) == nil)
        _ = core.sends(Self.vote, to: 2, now: Self.at(11))
        #expect(core.lease.kept(now: Self.at(11)) == Self.at(110), "a vote for the successor is what it waits for")
        _ = core.take()
        core.letsGo(now: Self.at(12))
        #expect(core.lease.kept(now: Self.at(12)) == nil)
        let released = core.take()
        #expect(released == [.leaseMoved, .tellAll(.released(upTo: Self.at(12), successor: nil))])

        var late = Self.leader()
        _ = late.sends(frame, to: 2, now: Self.at(100))
        let lease = LeaseCore.duration(hold: .milliseconds(150))
        #expect(late.lease.kept(now: Self.at(100)) == Self.at(0).advanced(by: lease), "not longer than the lease")
        var without = Self.leader()
        _ = without.sends(frame, to: 2, now: Self.at(200))
        #expect(without.lease.kept(now: Self.at(200)) == nil)
    }

    @Test("who hears that its successor declines asks for promises again with the next heartbeat")
    func declined() {
        var core = Self.leader()
        _ = core.sends(RelayFrame(term: 5, content: .timeoutNow), to: 2, now: Self.at(10))
        let before = core.sends(Self.heartbeat(5), to: 2, now: Self.at(11))
        #expect(before == Self.passed)
        core.told(.declined(term: 4), by: Self.two, now: Self.at(12))
        core.told(.declined(term: 5), by: Self.two, now: Self.at(12))
        let said = core.take()
        #expect(said.contains(.declined(by: 2, term: 5)))
        let after = core.sends(Self.heartbeat(5), to: 3, now: Self.at(45))
        #expect(after == .pass(wantsPromise: true, acknowledging: nil))
    }

    // MARK: voters

    @Test(
        "the only voter that sends its first frame has a lease without a gap, and keeps it for a moment with the second"
    )
    func soleVoter() {
        var core = Self.core(1)
        core.learnt(voters: [1], by: .init(term: 0, changes: core.changes, number: 1), now: Self.at(0))
        _ = core.sends(Self.heartbeat(5), to: 2, now: Self.at(10))
        #expect(core.lease.end(now: Self.at(10)) == BootInstant(nanoseconds: .max))
        let entry = RelayFrame(term: 5, content: .append(previous: 12, last: LogPosition(index: 13, term: 5)))
        _ = core.sends(entry, to: 2, names: NamedVoters(voters: [1, 2], index: 13), now: Self.at(20))
        #expect(
            core.lease.end(now: Self.at(20)) == Self.at(20).advanced(by: LeaseCore.duration(hold: .milliseconds(150))))
    }

    @Test("who was the only voter, and voted or followed since, is not taken for it in a later term")
    func notSoleAnyMore() {
        for stirs in 0..<2 {
            var core = Self.core(1)
            let reading = RelayCore.Reading(term: 0, changes: core.changes, number: 1)
            let early = RelayCore.Reading(term: 0, changes: core.changes, number: 2)
            core.learnt(voters: [1], by: reading, now: Self.at(0))
            if stirs == 0 {
                _ = core.sends(Self.vote, to: 2, now: Self.at(1))
            } else {
                _ = Self.hears(&core, Self.two, 6, at: 1)
            }
            let counts = core.learnt(voters: [1], by: early, now: Self.at(2))
            #expect(!counts, "read before, told after")
            _ = core.sends(Self.heartbeat(7), to: 2, now: Self.at(10))
            #expect(core.lease.end(now: Self.at(10)) == nil)
        }
    }

    @Test(
        "a leader that follows another has no lease of its own term any more, whose voters it reads then and who acknowledges late"
    )
    func follows() {
        var core = Self.leader()
        _ = core.sends(Self.heartbeat(5), to: 9, now: Self.at(100))
        _ = Self.hears(&core, Self.two, 6, at: 101)
        #expect(core.lease.end(now: Self.at(101)) == nil)
        core.told(.acknowledged(term: 5, sentAt: Self.at(100)), by: .init(voter: 9, incarnation: 90), now: Self.at(102))
        core.learnt(voters: [1, 9], by: .init(term: 5, changes: core.changes, number: 9), now: Self.at(103))
        #expect(core.lease.end(now: Self.at(103)) == nil)
    }

    @Test("a frame that names what was named before, sent to one who lags behind, changes nothing")
    func namedBefore() {
        var core = Self.leader()
        func sends(_ voters: [VoterID], _ index: UInt64) {
            let entry = RelayFrame(term: 5, content: .append(previous: 12, last: LogPosition(index: 30, term: 5)))
            _ = core.sends(entry, to: 2, names: NamedVoters(voters: voters, index: index), now: Self.at(5))
        }
        sends([1, 2, 3, 4], 20)
        sends([1, 2], 15)
        #expect(core.lease.voters == [1, 2, 3, 4])
    }

    // MARK: streams, silence, copies

    @Test(
        "a term in which a stream could not be read has no lease any more, and the others are asked for another leader")
    func unreadable() {
        var core = Self.leader()
        core.unreadable(now: Self.at(2))
        #expect(core.lease.end(now: Self.at(2)) == nil)
        _ = core.take()
        core.readable(term: 5, hasVoted: true, now: Self.at(3))
        core.told(.acknowledged(term: 5, sentAt: Self.at(3)), by: Self.two, now: Self.at(4))
        #expect(core.lease.end(now: Self.at(4)) == nil)
        let said = core.take()
        #expect(said.contains(.tellAll(.asked(term: 5, sentAt: Self.at(3)))))
        var follower = Self.core(2)
        follower.unreadable(now: Self.at(0))
        let reception = Self.hears(&follower, Self.one, 5, at: 1)
        #expect(reception == .hand(acknowledges: false))
        follower.readable(term: 8, hasVoted: true, now: Self.at(2))
        let late = follower.sends(
            RelayFrame(term: 8, content: .vote(isGranted: true, isPreVote: false)), to: 3, now: Self.at(3))
        #expect(late == .drop, "what left unseen is not known")
    }

    @Test("a leader that gave up long ago, by what a message takes from it, may have recovered: it is not deposed")
    func staleQuestion() {
        for (delay, isObeyed) in [(Int64(20), true), (1000, false)] {
            var core = Self.core(2)
            // The clocks differ by 10 s; a frame takes 1 ms at least.
            func receive(at now: Int64) {
                _ = core.receives(
                    Self.heartbeat(5), from: Self.one, wantsPromise: false, sentAt: Self.at(now - 10_001),
                    canOwe: false,
                    now: Self.at(now))
            }
            receive(at: 0)
            core.told(.asked(term: 5, sentAt: Self.at(50 - 10_000)), by: Self.one, now: Self.at(50 + delay))
            #expect((core.succession.reason == .unanswered) == isObeyed)
        }
    }

    @Test("an answer that is not passed on still brings the acknowledgement that it owed")
    func owed() {
        var core = Self.core(2)
        _ = core.receives(
            Self.heartbeat(5), from: Self.one, wantsPromise: true, sentAt: Self.at(0), canOwe: true, now: Self.at(0))
        _ = core.take()
        let answer = RelayFrame(term: 5, content: .result(rejected: 0, lastIndex: 13))
        let passage = core.sends(answer, to: 1, now: Self.at(1))
        #expect(passage == .drop)
        let said = core.take()
        #expect(said == [.tell(1, .acknowledged(term: 5, sentAt: Self.at(0)))])
    }

    @Test(
        "a refusal that names an entry which could not be written ends all storing; one that names where a frame began does not"
    )
    func failedDisk() {
        let entries = RelayFrame(term: 5, content: .append(previous: 12, last: LogPosition(index: 14, term: 5)))
        func answers(_ rejected: UInt64) -> (RelayCore, Passage) {
            var core = Self.core(2)
            _ = core.receives(
                entries, from: Self.one, wantsPromise: false, sentAt: Self.at(0), canOwe: false, now: Self.at(0))
            _ = core.take()
            let passage = core.sends(
                RelayFrame(term: 5, content: .result(rejected: rejected, lastIndex: 12)), to: 1, now: Self.at(1))
            return (core, passage)
        }
        for rejected in [UInt64(12), 5] {
            let (core, passage) = answers(rejected)
            #expect(!core.hasFailedDisk && passage == Self.passed)
        }
        var (core, passage) = answers(13)
        let said = core.take()
        #expect(passage == .drop && said.first == .alarm(.diskFailed))
        let later = core.receives(
            entries, from: Self.one, wantsPromise: true, sentAt: Self.at(2), canOwe: false, now: Self.at(2))
        #expect(later == .drop)
        let heartbeat = core.sends(Self.heartbeat(6), to: 1, now: Self.at(3))
        #expect(heartbeat == .drop)
    }

    @Test(
        "a voter that acknowledges and takes nothing is stuck; one that takes what it is sent, or says nothing at all, is not"
    )
    func stuck() {
        var core = Self.leader()
        for process in [Self.two, Self.three] { core.meets(process) }
        for time in stride(from: Int64(10), to: 1500, by: 45) {
            for peer in [VoterID(2), 3] { _ = core.sends(Self.heartbeat(5), to: peer, now: Self.at(time)) }
            core.told(.acknowledged(term: 5, sentAt: Self.at(time)), by: Self.two, now: Self.at(time + 1))
            _ = core.receives(
                RelayFrame(term: 5, content: .result(rejected: 12, lastIndex: 12)), from: Self.two, wantsPromise: false,
                sentAt: Self.at(time), canOwe: true, now: Self.at(time + 1))
        }
        #expect(core.stuck(now: Self.at(1500)) == [2: Self.at(10)])
        _ = core.receives(
            RelayFrame(term: 5, content: .result(rejected: 0, lastIndex: 12)), from: Self.two, wantsPromise: false,
            sentAt: Self.at(1500), canOwe: true, now: Self.at(1500))
        #expect(core.stuck(now: Self.at(1500)).isEmpty)
    }
}
