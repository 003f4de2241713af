import Platform
import Testing

@testable import Lease

@Suite("The follower's side of the lease")
struct VoteGateTests {
    private static let leader = VoteGate.LeaderProcess(voter: 1, incarnation: 10)

    private static func at(_ milliseconds: Int64) -> BootInstant {
        BootInstant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000)
    }

    /// A node that has run for long, in term 5, with promises of 150 ms; and one to the leader at 0.
    private static func promised() -> VoteGate {
        var gate = VoteGate(
            now: at(-1000), term: 5, hasVoted: false, hold: .milliseconds(150), closedUntil: at(-850))
        let isAcknowledged = gate.promise(to: leader, in: 5, sentAt: at(0), now: at(0))
        #expect(isAcknowledged)
        return gate
    }

    @Test("after a promise no vote for another leaves before it is over; one for the leader does")
    func gate() {
        var gate = Self.promised()
        #expect(gate.vote(for: 3, in: 6, now: Self.at(1)) == .hold(until: Self.at(150)))
        #expect(gate.vote(for: 2, in: 6, now: Self.at(149)) == .hold(until: Self.at(150)), "its own candidacy, too")
        #expect(gate.vote(for: 1, in: 6, now: Self.at(1)) == .pass)
        #expect(gate.vote(for: 3, in: 7, now: Self.at(150)) == .pass)
    }

    @Test("a later promise binds longer, an earlier one is not shortened by what comes late")
    func prolonged() {
        var gate = Self.promised()
        _ = gate.promise(to: Self.leader, in: 5, sentAt: Self.at(40), now: Self.at(40))
        _ = gate.promise(to: Self.leader, in: 5, sentAt: Self.at(20), now: Self.at(41))
        #expect(gate.vote(for: 3, in: 6, now: Self.at(150)) == .hold(until: Self.at(191)))
    }

    @Test("a process that has just started lets no vote out until nothing binds any more; a node that never ran has promised nothing")
    func closedAtStart() {
        var gate = VoteGate(
            now: Self.at(0), term: 5, hasVoted: false, hold: .milliseconds(150), closedUntil: Self.at(150))
        #expect(gate.vote(for: 1, in: 6, now: Self.at(149)) == .hold(until: Self.at(150)))
        #expect(gate.vote(for: 1, in: 6, now: Self.at(150)) == .pass)
        var new = VoteGate(now: Self.at(0), term: 0, hasVoted: false, hold: .milliseconds(150), closedUntil: nil)
        #expect(new.vote(for: 1, in: 1, now: Self.at(0)) == .pass)
    }

    @Test("one vote in one term: another candidate's never leaves, nor one of a lower term; the same one may be repeated")
    func oneVote() {
        var gate = VoteGate(
            now: Self.at(0), term: 5, hasVoted: false, hold: .milliseconds(150), closedUntil: nil)
        #expect(gate.vote(for: 3, in: 6, now: Self.at(0)) == .pass)
        #expect(gate.vote(for: 3, in: 6, now: Self.at(1)) == .pass)
        #expect(gate.vote(for: 2, in: 6, now: Self.at(1)) == .drop, "its own candidacy, too")
        #expect(gate.vote(for: 2, in: 5, now: Self.at(1)) == .drop)
        #expect(gate.vote(for: 2, in: 7, now: Self.at(1)) == .pass)
        #expect(gate.vote(for: 3, in: 7, now: Self.at(1)) == .drop)
    }

    @Test("over a restart: where the disk has a vote of its term, for whom it left is not known, and no other leaves")
    func oneVoteOverRestart() {
        var voted = VoteGate(now: Self.at(0), term: 6, hasVoted: true, hold: .milliseconds(150), closedUntil: nil)
        #expect(voted.vote(for: 3, in: 6, now: Self.at(1)) == .drop)
        #expect(voted.vote(for: 3, in: 7, now: Self.at(1)) == .pass)
        var fresh = VoteGate(now: Self.at(0), term: 6, hasVoted: false, hold: .milliseconds(150), closedUntil: nil)
        #expect(fresh.vote(for: 3, in: 6, now: Self.at(1)) == .pass)
    }

    @Test("one leader in one term: a second one is named, gets no promise, and no vote of that term elects anybody else")
    func oneLeader() {
        var gate = Self.promised()
        let (same, other) = (gate.hears(1, in: 5), gate.hears(3, in: 5))
        #expect(same == nil && other == 1)
        let second = VoteGate.LeaderProcess(voter: 3, incarnation: 30)
        let isPromised = gate.promise(to: second, in: 5, sentAt: Self.at(1), now: Self.at(1))
        #expect(!isPromised)
        #expect(gate.vote(for: 3, in: 5, now: Self.at(1000)) == .drop)
        let later = gate.hears(3, in: 6)
        #expect(later == nil, "a later term has another")
    }

    @Test("no leader is acknowledged in a term below that of a vote that has left, or that stands on disk")
    func past() {
        var gate = Self.promised()
        #expect(gate.vote(for: 3, in: 6, now: Self.at(150)) == .pass)
        let past = gate.promise(to: Self.leader, in: 5, sentAt: Self.at(151), now: Self.at(151))
        let present = gate.promise(
            to: .init(voter: 3, incarnation: 30), in: 6, sentAt: Self.at(151), now: Self.at(151))
        #expect(!past && present)
        var restarted = VoteGate(
            now: Self.at(0), term: 6, hasVoted: false, hold: .milliseconds(150), closedUntil: Self.at(150))
        let beforeDisk = restarted.promise(to: Self.leader, in: 5, sentAt: Self.at(1), now: Self.at(1))
        #expect(!beforeDisk)
    }

    @Test("a leader that hands over releases what was promised for what it had sent until then, and no more")
    func release() {
        var gate = Self.promised()
        _ = gate.promise(to: Self.leader, in: 5, sentAt: Self.at(40), now: Self.at(40))
        gate.released(by: Self.leader, upTo: Self.at(39))
        gate.released(by: .init(voter: 1, incarnation: 11), upTo: Self.at(50))
        #expect(gate.vote(for: 3, in: 6, now: Self.at(41)) == .hold(until: Self.at(190)))
        gate.released(by: Self.leader, upTo: Self.at(40))
        #expect(gate.vote(for: 3, in: 6, now: Self.at(41)) == .pass)
    }

    @Test("who hands over to one node releases what was promised against that one, and nobody else; a new promise binds against all")
    func releaseForSuccessor() {
        var gate = Self.promised()
        gate.released(by: Self.leader, upTo: Self.at(0), successor: 2)
        #expect(gate.vote(for: 3, in: 6, now: Self.at(1)) == .hold(until: Self.at(150)))
        var again = gate
        #expect(gate.vote(for: 2, in: 6, now: Self.at(1)) == .pass)
        _ = again.promise(to: Self.leader, in: 5, sentAt: Self.at(40), now: Self.at(40))
        #expect(again.vote(for: 2, in: 6, now: Self.at(41)) == .hold(until: Self.at(190)))
    }

    @Test("the death of a leader's process ends the promises to that process, and to no other")
    func death() {
        var gate = Self.promised()
        let next = VoteGate.LeaderProcess(voter: 3, incarnation: 30)
        _ = gate.promise(to: next, in: 6, sentAt: Self.at(10), now: Self.at(10))
        gate.died(.init(voter: 1, incarnation: 11))
        #expect(gate.vote(for: 3, in: 7, now: Self.at(11)) == .hold(until: Self.at(150)))
        gate.died(Self.leader)
        #expect(gate.vote(for: 3, in: 7, now: Self.at(11)) == .pass)
        #expect(gate.vote(for: 2, in: 8, now: Self.at(12)) == .hold(until: Self.at(160)))
        #expect(gate.closedNow == Self.at(160))
    }
}
