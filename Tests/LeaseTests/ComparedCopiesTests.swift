import Testing

@testable import Lease

@Suite("Answers that say no more than was compared")
struct ComparedCopiesTests {
    private static func entries(_ term: UInt64, after previous: UInt64, upTo last: UInt64, of entryTerm: UInt64)
        -> RelayFrame
    {
        RelayFrame(term: term, content: .append(previous: previous, last: LogPosition(index: last, term: entryTerm)))
    }

    private static func heartbeat(_ term: UInt64, at index: UInt64) -> RelayFrame {
        entries(term, after: index, upTo: index, of: 1)
    }

    private static func leaves(
        _ copies: inout ComparedCopies, _ term: UInt64, _ last: UInt64, to leader: VoterID = 1, isSuccess: Bool = true
    ) -> Bool {
        copies.answers(leader, in: term, isSuccess: isSuccess, lastIndex: last)
    }

    @Test("a heartbeat's answer that names leftover entries does not leave; one that names what was compared does")
    func leftover() {
        var copies = ComparedCopies()
        copies.handed(Self.heartbeat(5, at: 10), of: 1)
        #expect(!Self.leaves(&copies, 5, 11))
        copies.handed(Self.heartbeat(5, at: 10), of: 1)
        #expect(Self.leaves(&copies, 5, 10))
        #expect(Self.leaves(&copies, 5, 99, isSuccess: false), "a refusal claims nothing")
        #expect(Self.leaves(&copies, 4, 99), "another term is nothing to the leader")
        #expect(!Self.leaves(&copies, 5, 99, to: 2), "nothing was compared with the log of another")
        #expect(!Self.leaves(&copies, 6, 99), "nor in a later term of the same one")
    }

    @Test("once an entry of the leader's term is stored the log is the leader's, and whatever it says is so")
    func ownEntry() {
        var copies = ComparedCopies()
        copies.handed(Self.heartbeat(5, at: 10), of: 1)
        #expect(Self.leaves(&copies, 5, 10))
        copies.handed(Self.entries(5, after: 10, upTo: 11, of: 5), of: 1)
        #expect(Self.leaves(&copies, 5, 11))
        copies.handed(Self.entries(5, after: 11, upTo: 20, of: 5), of: 1)
        #expect(Self.leaves(&copies, 5, 20))
    }

    @Test("an answer to a heartbeat is not taken for one to the entry that was handed over behind it")
    func overtaken() {
        var copies = ComparedCopies()
        copies.handed(Self.heartbeat(5, at: 10), of: 1)
        copies.handed(Self.entries(5, after: 10, upTo: 11, of: 5), of: 1)
        #expect(!Self.leaves(&copies, 5, 11), "the heartbeat's: its 11 is a leftover")
        #expect(Self.leaves(&copies, 5, 11), "the entry's")
    }

    @Test("an entry of an earlier leader that the disk has late is reported to the new one, and does not leave")
    func lateWrite() {
        var copies = ComparedCopies()
        copies.handed(Self.entries(4, after: 10, upTo: 11, of: 4), of: 3)
        copies.handed(Self.heartbeat(5, at: 10), of: 1)
        #expect(Self.leaves(&copies, 5, 10), "the heartbeat's, before the disk was done")
        #expect(!Self.leaves(&copies, 5, 11), "the disk's")
        copies = ComparedCopies()
        copies.handed(Self.entries(4, after: 20, upTo: 21, of: 4), of: 3)
        copies.handed(Self.heartbeat(6, at: 20), of: 1)
        #expect(Self.leaves(&copies, 6, 20))
        copies.handed(Self.entries(6, after: 20, upTo: 21, of: 6), of: 1)
        #expect(!Self.leaves(&copies, 6, 21), "it may be that of the earlier leader's entry")
        #expect(Self.leaves(&copies, 6, 21), "and one more cannot be")
    }

    @Test(
        "after a refusal nothing counts as compared until a later frame reaches the log: what the disk has late is an earlier leader's"
    )
    func refused() {
        var copies = ComparedCopies()
        copies.handed(Self.entries(2, after: 14, upTo: 16, of: 2), of: 3)
        copies.handed(Self.heartbeat(4, at: 15), of: 1)
        #expect(Self.leaves(&copies, 4, 14, isSuccess: false))
        copies.handed(Self.entries(4, after: 15, upTo: 16, of: 4), of: 1)
        #expect(Self.leaves(&copies, 4, 14, isSuccess: false))
        #expect(!Self.leaves(&copies, 4, 16), "the disk's")
        copies.handed(Self.entries(4, after: 12, upTo: 16, of: 4), of: 1)
        #expect(copies.isDoubtful || Self.leaves(&copies, 4, 16))
    }

    @Test("a snapshot and entries of earlier terms count as far as they reach")
    func catchingUp() {
        var copies = ComparedCopies()
        copies.handed(RelayFrame(term: 5, content: .snapshot(last: LogPosition(index: 40, term: 3))), of: 1)
        #expect(Self.leaves(&copies, 5, 40))
        copies.handed(Self.entries(5, after: 40, upTo: 45, of: 4), of: 1)
        #expect(Self.leaves(&copies, 5, 45))
        #expect(!Self.leaves(&copies, 5, 46))
    }

    @Test("the answer to a snapshot leaves although heartbeats were refused while the disk took it")
    func installing() {
        var copies = ComparedCopies()
        copies.handed(Self.heartbeat(11, at: 529), of: 1)
        #expect(Self.leaves(&copies, 11, 0, isSuccess: false))
        copies.handed(RelayFrame(term: 11, content: .snapshot(last: LogPosition(index: 512, term: 11))), of: 1)
        for _ in 0..<3 {
            copies.handed(Self.heartbeat(11, at: 529), of: 1)
            #expect(Self.leaves(&copies, 11, 0, isSuccess: false))
        }
        #expect(Self.leaves(&copies, 11, 512))
        #expect(!Self.leaves(&copies, 11, 513), "left over from an earlier leader")
    }

    @Test("a snapshot counts for the leader and the term in which it was sent only")
    func snapshotOfAnother() {
        var copies = ComparedCopies()
        copies.handed(RelayFrame(term: 5, content: .snapshot(last: LogPosition(index: 40, term: 3))), of: 1)
        copies.handed(Self.heartbeat(6, at: 12), of: 2)
        #expect(Self.leaves(&copies, 6, 12, to: 2))
        #expect(!Self.leaves(&copies, 6, 40, to: 2))
    }
}
