import Platform
import Testing

@testable import VIP

@Suite("ownership: whose answer a take-over waits for")
struct OwnershipTakeOverTests {
    private let vip: VirtualAddress

    init() throws { vip = try VirtualAddress(parsing: "192.0.2.10/24") }

    private func renewed(_ now: BootInstant) -> Lease? { Lease(term: 7, end: now.advanced(by: .milliseconds(300))) }

    private func mac(_ last: UInt8) throws -> HardwareAddress { try #require(HardwareAddress([2, 0, 0, 0, 0, last])) }

    /// A bench that knew the address as a follower, and now leads without a lease; 3 and 4 are the other members.
    private func follower(knows members: Bool = true) throws -> OwnershipBench {
        var bench = OwnershipBench(asks: true)
        try bench.addByHand("192.0.2.1/24")
        bench.run(.desired([vip]))
        bench.core.hint.leads = true
        if members { bench.core.hint.memberMACs = [try mac(3), try mac(4)] }
        return bench
    }

    @Test(
        "strangers who answer each probe, each time under another MAC: set after the usual question, and reported once")
    func strangers() throws {
        var bench = try follower()
        var next: UInt8 = 20
        bench.others = { _, _ in
            next = next == 250 ? 20 : next + 1
            return [next]
        }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .milliseconds(4) && took < .milliseconds(10))
        bench.pass(.seconds(20), lease: renewed)
        #expect(!bench.events.contains { if case .awaited = $0 { true } else { false } })
        #expect(bench.events.count { if case .foreignHolder(_, _?) = $0 { true } else { false } } == 1)
        #expect(bench.core.snapshot.addresses.first?.foreignHolder != nil)
        #expect(bench.core.snapshot.counters.conflicts == 1)
        bench.others = { _, _ in [] }
        bench.pass(.seconds(6), lease: renewed)
        #expect(bench.events.last == .foreignHolder(vip, nil))
        #expect(bench.violations == [])
    }

    @Test(
        "a member's kernel is waited for until it lets go, however many strangers answer, too; they are reported then")
    func member() throws {
        var bench = try follower()
        let begin = bench.now
        bench.others = { _, now in begin.duration(to: now) < .milliseconds(700) ? [20, 3, 21] : [22] }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .milliseconds(700) && took < .milliseconds(730))
        #expect(bench.events.contains(.awaited(vip, try mac(3))))
        #expect(bench.core.snapshot.addresses.first?.foreignHolder == (try mac(22)))
        #expect(bench.violations == [])
    }

    @Test("whoever says to be a member costs what a member's kernel costs: two seconds, and not more")
    func spoofed() throws {
        var bench = try follower()
        bench.others = { _, _ in [4] }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .seconds(2) && took < .milliseconds(2020))
        bench.run()
        #expect(bench.core.snapshot.addresses.first?.foreignHolder == (try mac(4)))
    }

    @Test(
        "the frame of a member with another MAC in the message is its kernel's, as is one that a bridge has passed on")
    func source() throws {
        for (named, source) in [(UInt8(30), UInt8(3)), (3, 30)] {
            var bench = try follower()
            bench.pass(.milliseconds(2), lease: renewed)
            let sighting = AddressSighting(
                address: vip.address, hardwareAddress: try mac(named), source: try mac(source), claimant: .holder)
            bench.core.heard(sighting, now: bench.now)
            bench.run()
            #expect(bench.events.last == .awaited(vip, try mac(named)))
        }
    }

    @Test("while the MACs of one member are not known, everybody is waited for")
    func unknown() throws {
        var bench = try follower(knows: false)
        bench.others = { _, _ in [20] }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .seconds(2))
        // They become known while it waits.
        bench = try follower(knows: false)
        bench.others = { _, _ in [20] }
        bench.pass(.milliseconds(300), lease: renewed)
        #expect(try !bench.isSet("192.0.2.10/24"))
        bench.core.hint.memberMACs = [try mac(3)]
        let again = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(again < .milliseconds(40))
        #expect(bench.violations == [])
    }

    @Test("where something that was said is lost, the last holder may have said it: everybody is waited for")
    func lost() throws {
        var bench = try follower()
        let begin = bench.now
        while begin.duration(to: bench.now) < .milliseconds(500) {
            bench.core.heard(
                AddressSighting(address: vip.address, hardwareAddress: try mac(20), claimant: .holder), isWhole: false,
                now: bench.now)
            bench.pass(.milliseconds(1), lease: renewed)
        }
        #expect(try !bench.isSet("192.0.2.10/24"))
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took < .milliseconds(40))
    }

    @Test(
        "the first claim of an address, set while this node leads, waits for everybody; so does none after another's lead"
    )
    func first() throws {
        var bench = OwnershipBench(asks: true)
        try bench.addByHand("192.0.2.1/24")
        bench.core.hint.leads = true
        bench.core.hint.memberMACs = [try mac(3)]
        bench.run(.desired([vip]))
        bench.others = { _, _ in [20] }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .seconds(2))
        // Another leads for a while, and may have it.
        bench.core.hint = LeadHint()
        bench.lease = nil
        bench.run(.kicked(at: bench.now))
        #expect(try !bench.isSet("192.0.2.10/24"))
        bench.core.hint = LeadHint(leads: true, memberMACs: [try mac(3)])
        bench.run(.kicked(at: bench.now))
        let again = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(again < .milliseconds(10))
        #expect(bench.violations == [])
    }

    @Test("a stranger who answers, and a last holder whose host cannot be heard: silence is not believed all the same")
    func withheld() throws {
        var bench = try follower()
        bench.core.hint.predecessor = Predecessor(endedAt: bench.now, answeredSince: nil)
        bench.hostAnswers = { _ in false }
        bench.others = { _, _ in [20] }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .milliseconds(1990) && took < .milliseconds(2020))
        #expect(bench.events.contains(.withheld(vip)))
    }
}
