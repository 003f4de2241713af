import Platform
import Synchronization
import Testing

@testable import VIP

@Suite("ownership: the lease as it is told")
struct LeaseCellTests {
    private final class Calls: Sendable {
        private let state = Mutex<[String]>([])
        func add(_ word: String) { state.withLock { $0.append(word) } }
        func take() -> [String] {
            state.withLock { state in
                defer { state = [] }
                return state
            }
        }
    }

    private let now = BootInstant(nanoseconds: 1_000_000_000_000)
    private let calls = Calls()

    private func after(_ milliseconds: Int) -> BootInstant { now.advanced(by: .milliseconds(milliseconds)) }

    private func makeCell() throws -> LeaseCell {
        let cell = LeaseCell(page: try LeasePage(), slot: .lead) { [calls] in calls.add("shortened") }
        cell.onChange { [calls] in calls.add("changed") }
        return cell
    }

    @Test("the beginning is told; extensions are not; the new end can be read at once")
    func extended() throws {
        let cell = try makeCell()
        #expect(cell.lease == nil)
        cell.extend(term: 3, until: after(150), now: now)
        #expect(cell.lease == Lease(term: 3, end: after(150)))
        #expect(calls.take() == ["changed"])
        for step in 1...20 {
            cell.extend(term: 3, until: after(150 + 40 * step), now: after(40 * step))
            #expect(cell.lease?.end == after(150 + 40 * step))
        }
        #expect(calls.take() == [])
    }

    @Test("a lease that was over and comes back is a new beginning, also in the same term")
    func again() throws {
        let cell = try makeCell()
        cell.extend(term: 3, until: after(150), now: now)
        _ = calls.take()
        cell.extend(term: 3, until: after(400), now: after(150))
        #expect(calls.take() == ["changed"])
    }

    @Test("a revoked lease is none at once; the guard is told before the ownership; a second time nobody is")
    func revoked() throws {
        let cell = try makeCell()
        cell.extend(term: 3, until: after(150), now: now)
        _ = calls.take()
        cell.revoke(now: after(10))
        #expect(cell.lease == nil)
        #expect(calls.take() == ["shortened", "changed"])
        cell.revoke(now: after(11))
        #expect(calls.take() == [])
        // The candidate did not take the lead: the lease goes on in the same term.
        cell.extend(term: 3, until: after(300), now: after(200))
        #expect(cell.lease == Lease(term: 3, end: after(300)))
        #expect(calls.take() == ["changed"])
    }

    @Test("the last word counts, also an earlier end, and then those who sleep until the later one are woken")
    func backwards() throws {
        let cell = try makeCell()
        cell.extend(term: 3, until: after(1000), now: now)
        _ = calls.take()
        cell.extend(term: 3, until: after(200), now: after(50))
        #expect(cell.lease?.end == after(200))
        #expect(calls.take() == ["shortened", "changed"])
        // Over already: nobody sleeps any more.
        cell.extend(term: 3, until: after(100), now: after(300))
        #expect(calls.take() == [])
    }

    @Test("an end is cut to a millisecond less than the guard believes: also an endless lease has to be extended")
    func cut() throws {
        let cell = try makeCell()
        cell.extend(term: 3, until: BootInstant(nanoseconds: .max), now: now)
        #expect(cell.lease?.end == after(1999))
        cell.extend(term: 3, until: BootInstant(nanoseconds: .max), now: after(500))
        #expect(cell.lease?.end == after(2499))
        cell.extend(term: 3, until: BootInstant(nanoseconds: .min), now: after(600))
        #expect(cell.lease == nil)
    }

    @Test("another term is told, a lower one too: a node may leave its cluster for one with a lower term")
    func terms() throws {
        let cell = try makeCell()
        for term: UInt64 in [5, 6, 2] {
            cell.extend(term: term, until: after(150), now: now)
            #expect(cell.lease == Lease(term: term, end: after(150)))
            #expect(calls.take() == ["changed"])
        }
    }

    @Test("no reader ever pairs the end of one term with the number of another")
    func pairs() throws {
        let cell = LeaseCell(page: try LeasePage(), slot: .lead) {}
        let begin = BootClock.now
        // The distance from the beginning, in milliseconds, is the term.
        func end(_ term: UInt64) -> BootInstant { begin.advanced(by: .milliseconds(term)) }
        let isOver = Flag()
        try BlockingThread.start(named: "writer") {
            var count: UInt64 = 0
            while !isOver.isRaised {
                count += 1
                let term = 1000 + count % 900
                if count.isMultiple(of: 7) { cell.revoke(now: begin) }
                cell.extend(term: term, until: begin.advanced(by: .milliseconds(term)), now: begin)
            }
        }
        defer { isOver.raise() }
        var terms: Set<UInt64> = []
        var reads = 0
        // More when the machine is busy and the writer had no turn.
        while reads < 200_000 || terms.count < 10 && begin.duration(to: BootClock.now) < .seconds(30) {
            reads += 1
            guard let lease = cell.lease else { continue }
            if lease.end != end(lease.term) { Issue.record("\(lease) is of two terms") }
            if terms.count < 10 { terms.insert(lease.term) }
        }
        #expect(terms.count == 10, "the writer did not run meanwhile")
    }
}
