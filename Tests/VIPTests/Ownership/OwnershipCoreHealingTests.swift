import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: what others do to an address and to its subnet")
struct OwnershipCoreHealingTests {
    private let vip = "192.0.2.10/24"

    private func renewed(_ now: BootInstant) -> Lease? { Lease(term: 7, end: now.advanced(by: .milliseconds(300))) }

    private func holding(_ address: String, hostAddress: String?) throws -> OwnershipBench {
        var bench = OwnershipBench()
        if let hostAddress { try bench.addByHand(hostAddress) }
        bench.run(.desired([try VirtualAddress(parsing: address)]))
        bench.pass(.seconds(2), lease: renewed)
        #expect(try bench.isSet(address))
        bench.events = []
        return bench
    }

    @Test(
        "the host's address comes later: a second after, the VIP gives the connected route up; IPv6 without being removed",
        arguments: [("192.0.2.10/24", "192.0.2.1/24"), ("fd00::10/64", "fd00::1/64")])
    func hostComes(address: String, hostAddress: String) throws {
        var bench = try holding(address, hostAddress: nil)
        try bench.addByHand(hostAddress)
        bench.pass(.milliseconds(900), lease: renewed)
        #expect(bench.events.isEmpty)
        bench.pass(.milliseconds(200), lease: renewed)
        let isRemoved = bench.history.suffix(12).contains { $0.hasSuffix("delete \(address) on 2") }
        let isNew = bench.history.suffix(12).contains { $0.hasSuffix("set \(address) on 2: new(prefixRoute: false)") }
        #expect(isRemoved == (address == vip) && isNew == (address == vip))
        #expect(try bench.events == [.reseated(VirtualAddress(parsing: address), withRoute: false)])
        bench.pass(.seconds(5), lease: renewed)
        #expect(bench.events.count == 1)
        #expect(bench.core.snapshot.counters.claims == 1 && bench.core.snapshot.counters.reinstated == 0)
        #expect(bench.violations == [])
    }

    @Test("an address of the host that comes and goes within a second changes nothing")
    func hostPasses() throws {
        var bench = try holding(vip, hostAddress: nil)
        for _ in 0..<5 {
            try bench.addByHand("192.0.2.1/24")
            bench.pass(.milliseconds(500), lease: renewed)
            try bench.removeByHand("192.0.2.1/24")
            bench.pass(.milliseconds(100), lease: renewed)
        }
        #expect(bench.events.isEmpty)
    }

    @Test("the host's address goes: the VIP brings the route at once, because nobody could be answered")
    func hostGoes() throws {
        var bench = try holding(vip, hostAddress: "192.0.2.1/24")
        try bench.removeByHand("192.0.2.1/24")
        bench.pass(.milliseconds(15), lease: renewed)
        #expect(try bench.events == [.reseated(VirtualAddress(parsing: vip), withRoute: true)])
        #expect(try bench.isSet(vip))
    }

    @Test("where the kernel does not promote secondaries an IPv4 address is left: the host's would go with it")
    func notPromoted() throws {
        var bench = try holding(vip, hostAddress: nil)
        bench.core.keepsSecondaries = false
        try bench.addByHand("192.0.2.1/24")
        bench.pass(.seconds(5), lease: renewed)
        #expect(bench.events.isEmpty)
        #expect(try bench.isSet(vip))
    }

    @Test("the lease ends while it is set anew: it is not set again")
    func leaseEnds() throws {
        var bench = try holding(vip, hostAddress: "192.0.2.1/24")
        try bench.removeByHand("192.0.2.1/24")
        bench.lease = Lease(term: 7, end: bench.now.advanced(by: .milliseconds(20)))
        bench.cost = { .milliseconds(10) }
        bench.pass(.milliseconds(100))
        #expect(try !bench.isSet(vip))
        #expect(bench.violations == [])
        #expect(bench.events.last == .released(try VirtualAddress(parsing: vip), reason: .leaseEnded))
    }

    @Test("the second half fails: it is set by the next attempt, without a question to the LAN")
    func setFails() throws {
        var bench = try holding(vip, hostAddress: "192.0.2.1/24")
        var failures = 1
        bench.fault = { directive in
            guard case .set(_, _, .new) = directive, failures > 0 else { return nil }
            failures -= 1
            return (SystemError("set", errno: ENOBUFS), false)
        }
        try bench.removeByHand("192.0.2.1/24")
        bench.pass(.milliseconds(300), lease: renewed)
        #expect(try bench.isSet(vip))
        #expect(bench.violations == [])
    }

    @Test("duplicate address detection failed on ours: it is removed, told, and claimed anew")
    func spoilt() throws {
        var bench = try holding("fd00::10/64", hostAddress: "fd00::1/64")
        let place = try OwnershipBench.place("fd00::10/64", interface: 2)
        bench.spoilt = [place]
        bench.lease = renewed(bench.now)
        // The kernel reports its new flags.
        bench.report(
            .addressAdded(
                InterfaceAddress(
                    interfaceIndex: 2, address: place.address, prefixLength: 64, flags: UInt32(IFA_F_DADFAILED),
                    proto: virtualAddressProtocolTag)))
        #expect(bench.transcript.contains("delete fd00::10/64 on 2"), "\(bench.transcript)")
        bench.pass(.milliseconds(300), lease: renewed)
        #expect(try bench.isSet("fd00::10/64"))
        let address = try VirtualAddress(parsing: "fd00::10/64")
        #expect(bench.events.contains(.released(address, reason: .failed)))
        #expect(
            bench.events.contains {
                if case .failed(address, let text) = $0 { text.contains("duplicate address detection") } else { false }
            })
        #expect(bench.violations == [])
    }

    @Test("a kernel that never serves it is not fought in a loop")
    func neverServed() throws {
        var bench = OwnershipBench()
        let place = try OwnershipBench.place("fd00::10/64", interface: 2)
        bench.run(.desired([try VirtualAddress(parsing: "fd00::10/64")]))
        for _ in 0..<20 {
            bench.spoilt = [place]
            bench.pass(.milliseconds(50), lease: renewed)
        }
        #expect(bench.history.count { $0.contains("set fd00") } <= 6)
        #expect(bench.core.snapshot.addresses.first?.state == .error)
        #expect(bench.violations == [])
    }

    @Test("one that an earlier run left in that state is removed before ours is set")
    func leftSpoilt() throws {
        var bench = OwnershipBench()
        let place = try OwnershipBench.place("fd00::10/64", interface: 2)
        bench.kernel[place] = true
        bench.spoilt = [place]
        bench.lease = renewed(bench.now)
        let work = bench.run(.desired([try VirtualAddress(parsing: "fd00::10/64")]))
        #expect(work.contains("delete fd00::10/64 on 2"))
        bench.pass(.milliseconds(300), lease: renewed)
        #expect(try bench.isSet("fd00::10/64"))
        #expect(!bench.history.contains { $0.contains("takenOver") })
        #expect(bench.violations == [])
    }
}
