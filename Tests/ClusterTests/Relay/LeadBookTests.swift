import Lease
import Platform
import Testing

@testable import Cluster

private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: (1000 + milliseconds) * 1_000_000) }

@Suite("Counting leases")
struct LeaseBookTests {
    @Test("a lease that goes on is one; one that lapses is lost as expired, once, and the next one is another")
    func expiry() {
        var book = LeaseBook()
        let none = [book.sees(end: nil, now: at(0)), book.sees(end: at(0), now: at(0))]
        #expect(none == [false, false])
        let first = [book.sees(end: at(100), now: at(0)), book.sees(end: at(150), now: at(50))]
        #expect(first == [true, false])
        let lapsed = [book.sees(end: at(150), now: at(150)), book.sees(end: nil, now: at(160))]
        #expect(lapsed == [false, false])
        #expect(book.begun == 1 && book.lost == [.expired: 1])
        let second = book.sees(end: at(300), now: at(200))
        #expect(second)
        #expect(book.begun == 2 && book.lost == [.expired: 1])
    }

    @Test("a lease that is given up counts under its reason, one that was over before as expired, none not at all")
    func reasons() {
        var book = LeaseBook()
        book.loses(by: .stopped, now: at(0))
        #expect(book.lost.isEmpty)
        book.sees(end: at(100), now: at(0))
        book.loses(by: .transferred, now: at(50))
        book.loses(by: .stopped, now: at(60))
        #expect(book.lost == [.transferred: 1])
        book.sees(end: at(200), now: at(100))
        book.loses(by: .surrendered, now: at(201))
        #expect(book.lost == [.transferred: 1, .expired: 1])
    }
}

@Suite("How an election came about")
struct ElectionBookTests {
    @Test("the first reason stands until a leader is heard again; a reason that comes later is counted all the same")
    func firstReason() {
        var book = ElectionBook()
        book.stands(for: .dead, lastSign: at(10), heardAt: at(5), now: at(12))
        book.stands(for: .timeout, lastSign: at(5), heardAt: at(5), now: at(300))
        book.leads(in: 4, heardAt: at(5), now: at(310))
        book.leased(in: 3, now: at(311))
        book.leased(in: 4, now: at(312))
        book.leased(in: 4, now: at(400))
        #expect(
            book.won
                == ElectionRecord(
                    term: 4, cause: .dead, lastSign: at(10), decidedAt: at(12), leadsAt: at(310), leasedAt: at(312)))
        #expect(book.started == [.dead: 1])
        book.stands(for: .timeout, lastSign: nil, heardAt: nil, now: at(500))
        book.stands(for: .silent, lastSign: nil, heardAt: nil, now: at(600))
        #expect(book.started == [.dead: 1, .silent: 1])
    }

    @Test("an attempt that another node overtook is not the reason of a later election")
    func overtaken() {
        var book = ElectionBook()
        book.stands(for: .silent, lastSign: at(0), heardAt: at(0), now: at(120))
        // The new leader is heard, and later asks this node to lead.
        book.stands(for: .transferred, lastSign: at(900), heardAt: at(880), now: at(900))
        // Its heartbeats go on for a moment.
        book.leads(in: 7, heardAt: at(903), now: at(905))
        #expect(book.won?.cause == .transferred && book.won?.lastSign == at(900) && book.won?.decidedAt == at(900))
    }

    @Test("without a known reason it was raft's timer, from the last heartbeat on")
    func timer() {
        var book = ElectionBook()
        book.leads(in: 2, heardAt: at(0), now: at(400))
        #expect(
            book.won == ElectionRecord(term: 2, cause: .timeout, lastSign: at(0), decidedAt: at(400), leadsAt: at(400)))
    }

    @Test("a leader of long ago is not the one that is replaced when this node has led itself since")
    func ownLead() {
        var book = ElectionBook()
        book.stands(for: .dead, lastSign: at(0), heardAt: at(0), now: at(1))
        book.leads(in: 2, heardAt: at(0), now: at(10))
        book.stands(for: .timeout, lastSign: at(0), heardAt: at(0), now: at(5000))
        book.leads(in: 3, heardAt: at(0), now: at(5010))
        #expect(book.won?.lastSign == nil && book.won?.decidedAt == at(5000))
    }
}
