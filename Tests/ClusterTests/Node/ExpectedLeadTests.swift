import Platform
import Testing

@testable import Cluster

private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

@Suite("A lead that is given, and one that is won")
struct ExpectedLeadTests {
    private static let expected = ExpectedLead(term: 7, leader: 2, address: "n2", isHolder: true)

    private static func isGiven(
        by node: UInt64 = 2, in term: UInt64 = 7, ownTerm: UInt64 = 8, isHeard: Bool = true,
        hasEnded: Bool = false, now: Int64 = 1050
    ) -> Bool {
        expected.isGiven(
            asked: .init(node: node, term: term, at: at(1000)), ownTerm: ownTerm, isHeard: isHeard,
            hasEnded: hasEnded, now: at(now))
    }

    @Test("given is what the leader of that term has asked for on its own connection, for as long as it waits")
    func given() {
        #expect(Self.isGiven())
        #expect(Self.isGiven(now: 1099))
        #expect(!Self.isGiven(now: 1100) && !Self.isGiven(now: 999))
    }

    @Test("an offer alone is nothing: its leader may have died since, and this node was elected for that")
    func onlyOffered() {
        #expect(
            !Self.expected.isGiven(
                asked: nil, ownTerm: 8, isHeard: true, hasEnded: false, now: at(1050)))
        // Asked by another leader, or by the same one in an earlier term.
        #expect(!Self.isGiven(by: 3))
        #expect(!Self.isGiven(in: 6))
    }

    @Test(
        "a giver that has not acknowledged anything of this node's lead may be dead, and one without the addresses wait for another"
    )
    func doubtfulGiver() {
        #expect(!Self.isGiven(isHeard: false))
        var waiting = Self.expected
        waiting.isHolder = false
        let isGiven = waiting.isGiven(
            asked: .init(node: 2, term: 7, at: at(1000)), ownTerm: 8, isHeard: true, hasEnded: false,
            now: at(1050))
        #expect(!isGiven)
    }

    @Test(
        "severed: the giver was seen to end before it said that it let go, and while it may still have had the addresses"
    )
    func severed() {
        func isSevered(
            _ lead: ExpectedLead = Self.expected, leads: UInt64 = 8, hasEnded: Bool = true, now: Int64 = 1050
        ) -> Bool {
            lead.isSevered(asked: .init(node: 2, term: 7, at: at(1000)), leads: leads, hasEnded: hasEnded, now: at(now))
        }
        #expect(isSevered() && isSevered(now: 1249))
        #expect(!isSevered(hasEnded: false))
        // It lets go by itself after its limit; what ends later has nothing any more.
        #expect(!isSevered(now: 1250))
        #expect(!isSevered(leads: 9) && !isSevered(leads: 7))
        var done = Self.expected
        done.hasLetGo = true
        #expect(!isSevered(done))
        var empty = Self.expected
        empty.isHolder = false
        #expect(!isSevered(empty))
    }

    @Test("another term than the next one is another election")
    func otherTerm() {
        #expect(!Self.isGiven(ownTerm: 7))
        #expect(!Self.isGiven(ownTerm: 9))
    }

    @Test("while a leader's kernel may still have the addresses the LAN is asked")
    func predecessors() {
        #expect(!Self.isGiven(hasEnded: true))
    }
}
