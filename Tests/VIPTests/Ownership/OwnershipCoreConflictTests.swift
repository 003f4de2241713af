import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: another host announces a held address")
struct OwnershipCoreConflictTests {
    private let vip: VirtualAddress
    private let stranger: HardwareAddress

    init() throws {
        vip = try VirtualAddress(parsing: "192.0.2.10/24")
        stranger = try #require(HardwareAddress([2, 0, 0, 0, 0, 9]))
    }

    private func renewed(_ now: BootInstant) -> Lease? { Lease(term: 7, end: now.advanced(by: .milliseconds(300))) }

    /// A bench that has held the addresses for half a minute.
    private func holding(_ addresses: String...) throws -> OwnershipBench {
        var bench = OwnershipBench(asks: true)
        try bench.addByHand("192.0.2.1/24")
        bench.run(.desired(try addresses.map { try VirtualAddress(parsing: $0) }))
        bench.pass(.seconds(30), lease: renewed)
        for address in addresses { #expect(try bench.isSet(address)) }
        bench.events = []
        // The burst of the take-over.
        #expect(announcements(bench) == 0)
        return bench
    }

    /// How many announcements were made beyond the bursts of `holding`.
    private func announcements(_ bench: OwnershipBench) -> Int {
        Int(bench.core.snapshot.counters.announcements) - 5 * bench.core.snapshot.addresses.count
    }

    @Test("it is listened for while it is held, and for no address afterwards")
    func listening() throws {
        var bench = try holding("192.0.2.10/24", "2001:db8::10/64")
        #expect(Set(bench.heeded.map(\.description)) == ["192.0.2.10/24", "2001:db8::10/64"])
        bench.run(.desired([vip]))
        #expect(bench.heeded == [vip])
        // Without carrier nobody can be heard.
        bench.setLink(OwnershipBench.link(index: 2, up: false))
        #expect(bench.heeded.isEmpty)
        bench.setLink(OwnershipBench.link(index: 2))
        #expect(bench.heeded == [vip])
        bench.lease = nil
        bench.run(.kicked(at: bench.now))
        #expect(bench.heeded.isEmpty)
        #expect(bench.violations == [])
    }

    @Test("it is reported once with its MAC, answered at once, and asked for until it is gone")
    func reported() throws {
        var bench = try holding("192.0.2.10/24")
        let answering = vip.address
        bench.others = { address, _ in address == answering ? [9] : [] }
        bench.hear(vip.address, from: 9)
        bench.run()
        #expect(bench.events == [.foreignHolder(vip, stranger)])
        #expect(announcements(bench) == 1)
        #expect(bench.core.snapshot.addresses.first?.foreignHolder == stranger)
        #expect(bench.core.snapshot.addresses.first?.detail?.contains("02:00:00:00:00:09 has it too") == true)
        #expect(bench.core.snapshot.addresses.first?.state == .held)
        bench.pass(.seconds(12), lease: renewed)
        #expect(bench.probes.count >= 2)
        #expect(bench.events == [.foreignHolder(vip, stranger)])
        #expect(bench.core.snapshot.counters.conflicts == 1)
        bench.others = { _, _ in [] }
        bench.pass(.seconds(6), lease: renewed)
        #expect(bench.events == [.foreignHolder(vip, stranger), .foreignHolder(vip, nil)])
        #expect(bench.core.snapshot.addresses.first?.detail == nil)
        #expect(bench.violations == [])
    }

    @Test(
        "a host that insists is answered once a second, and nothing else suffers",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func insistent(text: String) throws {
        var bench = try holding(text)
        let address = try VirtualAddress(parsing: text)
        for _ in 0..<200 {
            for _ in 0..<20 { bench.hear(address.address, from: 9) }
            bench.pass(.milliseconds(50), lease: renewed)
        }
        #expect((9...11).contains(announcements(bench)), "\(announcements(bench))")
        #expect(bench.core.snapshot.counters.foreignClaims == 4000)
        #expect(bench.events.count == 1)
        #expect(try bench.isSet(text))
        #expect(bench.violations == [])
    }

    @Test(
        "a MAC that changes with each frame: one line, and once a minute how many there are, of which 64 are told apart"
    )
    func changingMACs() throws {
        var bench = try holding("192.0.2.10/24")
        var last: UInt8 = 0
        /// Two frames each second, the MACs numbered from 10 up to 9 + `count` and round again.
        func claim(under count: UInt8, for seconds: Int) {
            for number in 0..<(2 * seconds) {
                last = 10 + UInt8(number % Int(count))
                bench.hear(vip.address, from: last)
                bench.pass(.milliseconds(500), lease: renewed)
            }
        }
        claim(under: 12, for: 59)
        let first = try #require(HardwareAddress([2, 0, 0, 0, 0, 10]))
        #expect(bench.events == [.foreignHolder(vip, first)])
        #expect(bench.core.snapshot.counters.conflicts == 1)
        #expect(bench.core.snapshot.addresses.first?.detail?.contains("(12 different MACs so far)") == true)

        claim(under: 12, for: 2)
        #expect(bench.events.count == 2)
        guard case .foreignMACs(vip, "12 different MACs", _) = bench.events.last else {
            return #expect(Bool(false), "\(bench.events)")
        }
        // The number is the same a minute later, and two minutes later.
        claim(under: 12, for: 130)
        #expect(bench.events.count == 2)

        claim(under: 200, for: 110)
        // The first new one is told at once, as the last word was long ago; the rest a minute later, together.
        #expect(bench.events.count == 4)
        guard case .foreignMACs(vip, "13 different MACs", _) = bench.events[2] else {
            return #expect(Bool(false), "\(bench.events)")
        }
        guard case .foreignMACs(vip, "more than 64 different MACs", _) = bench.events.last else {
            return #expect(Bool(false), "\(bench.events)")
        }
        bench.pass(.seconds(12), lease: renewed)
        #expect(bench.events.last == .foreignHolder(vip, nil) && bench.events.count == 5)
        // A new conflict counts anew.
        bench.hear(vip.address, from: 9)
        bench.run()
        #expect(bench.events.last == .foreignHolder(vip, stranger))
        #expect(bench.core.snapshot.addresses.first?.detail?.contains("different") == false)
        #expect(bench.violations == [])
    }

    @Test("who only asks for it is answered by the kernel, and our own MAC is no other host")
    func harmless() throws {
        var bench = try holding("192.0.2.10/24")
        bench.hear(vip.address, from: 9, as: .rival)
        bench.hear(vip.address, from: 1)
        bench.run()
        #expect(bench.events.isEmpty && announcements(bench) == 0)
        #expect(bench.core.snapshot.counters.foreignClaims == 0)
    }

    @Test("in a planned hand-over the other holder is neither reported nor answered, on either side")
    func handOver() throws {
        for hint in [LeadHint(leads: true, isHandedOver: true), LeadHint(leads: true, handsOver: true)] {
            var bench = try holding("192.0.2.10/24")
            bench.core.hint = hint
            bench.hear(vip.address, from: 9)
            bench.run()
            #expect(bench.events.isEmpty && announcements(bench) == 0)
            #expect(bench.core.snapshot.addresses.first?.foreignHolder == nil)
        }
    }

    @Test("a listening that fails is told once and tried again every second; the address is held all the same")
    func deaf() throws {
        var bench = OwnershipBench(asks: true)
        bench.fault = { directive in
            if case .listen = directive { (SystemError("listen for frames", errno: ENOBUFS), false) } else { nil }
        }
        bench.run(.desired([vip]))
        bench.pass(.seconds(5), lease: renewed)
        #expect(try bench.isSet("192.0.2.10/24"))
        #expect(bench.events.count { if case .failed = $0 { true } else { false } } == 1)
        #expect((4...7).contains(bench.core.snapshot.counters.probeErrors))
        bench.fault = { _ in nil }
        bench.pass(.seconds(2), lease: renewed)
        #expect(bench.heeded == [vip])
    }

    @Test("a healed partition: what is held is announced by a whole burst, what is not held is not")
    func healed() throws {
        var bench = try holding("192.0.2.10/24")
        bench.run(.announceAgain)
        bench.pass(.seconds(6), lease: renewed)
        #expect(announcements(bench) == 5)
        bench.lease = nil
        bench.run(.kicked(at: bench.now))
        bench.run(.announceAgain)
        bench.pass(.seconds(6))
        #expect(announcements(bench) == 5)
    }
}
