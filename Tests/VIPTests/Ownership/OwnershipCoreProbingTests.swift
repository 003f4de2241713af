import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: asking the LAN before a claim")
struct OwnershipCoreProbingTests {
    private let vip: VirtualAddress
    private let stranger: HardwareAddress

    init() throws {
        vip = try VirtualAddress(parsing: "192.0.2.10/24")
        stranger = try #require(HardwareAddress([2, 0, 0, 0, 0, 9]))
    }

    private func renewed(_ now: BootInstant) -> Lease? { Lease(term: 7, end: now.advanced(by: .milliseconds(300))) }

    /// A bench that asks, with a host address in the subnet, which wants the VIP.
    private func bench(link: LinkState? = OwnershipBench.link(index: 2)) throws -> OwnershipBench {
        var bench = OwnershipBench(asks: true)
        bench.link = link
        try bench.addByHand("192.0.2.1/24")
        bench.run(.desired([vip]))
        return bench
    }

    @Test("nobody answers: three probes, then the claim, 4 ms after the lease")
    func silence() throws {
        var bench = try bench()
        bench.lease = renewed(bench.now)
        #expect(bench.run(.kicked(at: bench.now)) == ["probe 192.0.2.10/24"])
        let took = try bench.timeToSet(vip, within: 100, lease: renewed)
        #expect(took >= .milliseconds(4) && took < .microseconds(4500))
        #expect(bench.probes.count == 3)
        #expect(bench.events == [.claimed(vip, term: 7, took: .milliseconds(4))])
        #expect(!bench.core.isProbing)
        #expect(bench.violations == [])
        // Nothing goes on behind it.
        bench.pass(.seconds(3), lease: renewed)
        #expect(bench.probes.count == 3)
        #expect(bench.core.snapshot.counters.probes == 3)
    }

    @Test("a node that leads asks before it has its lease, and claims in the moment in which that comes")
    func beforeLease() throws {
        var bench = try bench()
        bench.core.hint.leads = true
        bench.run(.kicked(at: bench.now))
        bench.pass(.milliseconds(20))
        #expect(bench.probes.count == 3)
        #expect(try !bench.isSet("192.0.2.10/24"))
        bench.lease = renewed(bench.now)
        let done = bench.run(.kicked(at: bench.now))
        #expect(
            done.prefix(2) == [
                "hold 192.0.2.10/24 on 2", "set 192.0.2.10/24 on 2: new(prefixRoute: false)",
            ])
    }

    @Test("a lead that goes without ever having had a lease: the asking ends")
    func leadLost() throws {
        var bench = try bench()
        bench.core.hint.leads = true
        bench.run()
        #expect(bench.core.isProbing)
        bench.core.hint.leads = false
        bench.run()
        #expect(!bench.core.isProbing)
        bench.pass(.seconds(1))
        #expect(bench.probes.count == 1)
    }

    @Test("an address that is handed over is claimed without a question")
    func handedOver() throws {
        var bench = try bench()
        bench.core.hint.isHandedOver = true
        bench.others = { _, _ in [9] }
        bench.lease = renewed(bench.now)
        bench.run(.kicked(at: bench.now))
        #expect(try bench.isSet("192.0.2.10/24"))
        #expect(bench.probes == [])
    }

    @Test(
        "who handed over died before he let go: what was set on his word goes at once, and is claimed when his kernel is done"
    )
    func severed() throws {
        var bench = try bench()
        bench.core.hint.isHandedOver = true
        // His kernel, for the rest of its second.
        let end = bench.now.advanced(by: .milliseconds(700))
        bench.others = { _, now in now < end ? [9] : [] }
        bench.hostAnswers = { _ in true }
        bench.lease = renewed(bench.now)
        bench.run(.kicked(at: bench.now))
        #expect(try bench.isSet("192.0.2.10/24"))
        bench.pass(.milliseconds(40), lease: renewed)

        bench.core.hint.isHandedOver = false
        bench.core.hint.isSevered = true
        bench.core.hint.predecessor = Predecessor(endedAt: bench.now, answeredSince: nil)
        bench.run(.kicked(at: bench.now))
        #expect(try !bench.isSet("192.0.2.10/24"))
        #expect(bench.events.contains(.released(vip, reason: .handOverSevered)))
        let begin = bench.now
        try bench.timeToSet(vip, within: 1000, lease: renewed)
        #expect(bench.now > end, "not beside his kernel: \(begin.duration(to: bench.now))")
        // What was claimed in this way stays.
        bench.pass(.milliseconds(100), lease: renewed)
        #expect(try bench.isSet("192.0.2.10/24"))
        #expect(bench.violations == [])
    }

    @Test("a death after he has let go, or of somebody else, takes nothing away")
    func notSevered() throws {
        var bench = try bench()
        try bench.timeToSet(vip, within: 100, lease: renewed)
        bench.core.hint.isSevered = true
        bench.core.hint.predecessor = Predecessor(endedAt: bench.now, answeredSince: nil)
        bench.pass(.milliseconds(100), lease: renewed)
        #expect(try bench.isSet("192.0.2.10/24"))
    }

    @Test("while this node hands over it claims nothing and asks for nothing; what it has it keeps")
    func handsOver() throws {
        var bench = try bench()
        bench.core.hint = LeadHint(leads: true, handsOver: true)
        bench.pass(.milliseconds(90), lease: renewed)
        #expect(bench.probes == [] && bench.core.isProbing == false)
        #expect(try !bench.isSet("192.0.2.10/24"))
        // The successor did not take it, and the lease is this node's again.
        bench.core.hint.handsOver = false
        try bench.timeToSet(vip, within: 100, lease: renewed)

        bench.core.hint.handsOver = true
        let asked = bench.probes.count
        bench.pass(.milliseconds(600), lease: renewed)
        #expect(try bench.isSet("192.0.2.10/24"))
        // Removed by somebody else it stays away, which is the successor's business now.
        try bench.removeByHand("192.0.2.10/24")
        bench.pass(.milliseconds(90), lease: renewed)
        #expect(try !bench.isSet("192.0.2.10/24"))
        #expect(bench.probes.count == asked && bench.violations == [])
    }

    @Test("a claim that was decided before the hand-over began is not carried out in it")
    func decidedBefore() throws {
        var bench = try bench()
        bench.core.hint.leads = true
        bench.run(.kicked(at: bench.now))
        bench.pass(.milliseconds(20))
        bench.lease = renewed(bench.now)
        let directives = bench.core.step(.wake, lease: bench.lease, now: bench.now)
        let set = try #require(directives.first { if case .set = $0 { true } else { false } })
        bench.core.hint.handsOver = true
        #expect(!bench.core.permits(set, lease: bench.lease, now: bench.now))
    }

    @Test(
        "an interface that cannot ask: no carrier, no ARP, loopback, no Ethernet, no MAC",
        arguments: [
            LinkState(index: 2, name: "eth0", hardwareType: 1, hardwareAddress: [2, 0, 0, 0, 0, 1], flags: 1),
            LinkState(index: 2, name: "eth0", hardwareType: 1, hardwareAddress: [2, 0, 0, 0, 0, 1], flags: 0x100C1),
            LinkState(index: 2, name: "eth0", hardwareType: 772, hardwareAddress: [0, 0, 0, 0, 0, 0], flags: 0x10049),
            LinkState(index: 2, name: "eth0", hardwareType: 65534, hardwareAddress: [], flags: 0x10041),
            LinkState(index: 2, name: "eth0", hardwareType: 1, hardwareAddress: [], flags: 0x10041),
        ])
    func cannotAsk(link: LinkState) throws {
        var bench = try bench(link: link)
        bench.lease = renewed(bench.now)
        bench.run(.kicked(at: bench.now))
        #expect(try bench.isSet("192.0.2.10/24"))
        #expect(bench.probes == [])
    }

    @Test("what was held until now and was deleted by hand goes back without a question")
    func reinstated() throws {
        var bench = try bench()
        try bench.timeToSet(vip, within: 100, lease: renewed)
        let asked = bench.probes.count
        try bench.removeByHand("192.0.2.10/24")
        #expect(try bench.isSet("192.0.2.10/24"))
        #expect(bench.probes.count == asked)
        #expect(bench.events.last == .reinstated(vip))
    }

    @Test("each new lead asks anew")
    func asksEachTime() throws {
        var bench = try bench()
        for round in 1...3 {
            try bench.timeToSet(vip, within: 100, lease: renewed)
            #expect(bench.probes.count == 3 * round)
            bench.lease = nil
            bench.run(.kicked(at: bench.now))
            #expect(try !bench.isSet("192.0.2.10/24"))
        }
    }

    @Test("while another host answers the claim waits, and says for whom; when it is gone the claim is made")
    func waits() throws {
        var bench = try bench()
        let gone = bench.now.advanced(by: .milliseconds(700))
        bench.others = { $1 < gone ? [9] : [] }
        bench.pass(.milliseconds(650), lease: renewed)
        #expect(try !bench.isSet("192.0.2.10/24"))
        #expect(bench.events == [.awaited(vip, stranger)])
        let waiting = try #require(bench.core.snapshot.addresses.first)
        #expect(waiting.state == .released && waiting.foreignHolder == nil)
        #expect(waiting.detail?.contains("02:00:00:00:00:09 still answers for it") == true)
        #expect(waiting.detail?.contains("at the latest after 2.0 seconds") == true)
        try bench.timeToSet(vip, within: 100, lease: renewed)
        #expect(gone.duration(to: bench.now) < .milliseconds(20))
        #expect(bench.core.snapshot.addresses.first?.detail == nil)
        #expect(bench.violations == [])
    }

    @Test(
        "the last holder's process has ended: his host is asked behind the last probe, and its answer lets the claim pass"
    )
    func predecessorAnswers() throws {
        var bench = try bench()
        bench.core.hint.predecessor = Predecessor(endedAt: bench.now, answeredSince: nil)
        bench.hostAnswers = { _ in true }
        let took = try bench.timeToSet(vip, within: 100, lease: renewed)
        #expect(took >= .milliseconds(4) && took < .microseconds(4500))
        #expect(bench.history.filter { $0.hasSuffix("inquire") } == ["2 inquire"])
        #expect(bench.events == [.claimed(vip, term: 7, took: .milliseconds(4))])
        #expect(bench.violations == [])
    }

    @Test("the last holder's host does not answer: told once, explained, and claimed two seconds after his end")
    func predecessorSilent() throws {
        var bench = try bench()
        bench.core.hint.predecessor = Predecessor(endedAt: bench.now, answeredSince: nil)
        for _ in 0..<150 { bench.pass(.milliseconds(1), lease: renewed) }
        #expect(try !bench.isSet("192.0.2.10/24"))
        #expect(bench.events == [.withheld(vip)])
        #expect(bench.core.snapshot.addresses.first?.detail?.contains("its host cannot be heard") == true)
        #expect(!bench.core.isUndecided, "whoever waits for a decision need not wait for this")
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed) + .milliseconds(150)
        #expect(took >= .seconds(2) && took < .milliseconds(2010))
        #expect(bench.core.snapshot.addresses.first?.detail == nil)
        #expect(bench.events.filter { $0 == .withheld(vip) }.count == 1)
        #expect(bench.violations == [])
    }

    @Test("a host that never goes: claimed after the bound and reported once; and once more when it is gone at last")
    func foreignHolder() throws {
        var bench = try bench()
        bench.others = { _, _ in [9] }
        let took = try bench.timeToSet(vip, within: 3000, lease: renewed)
        #expect(took >= .seconds(2) && took < .milliseconds(2020))
        bench.pass(.seconds(30), lease: renewed)
        #expect(bench.events.filter { $0 == .foreignHolder(vip, stranger) }.count == 1)
        let held = try #require(bench.core.snapshot.addresses.first)
        #expect(held.state == .held && held.foreignHolder == stranger)
        #expect(held.detail?.contains("02:00:00:00:00:09 has it too") == true)
        #expect(bench.core.snapshot.counters.conflicts == 1)
        // Every five seconds one probe: nothing that would be felt.
        let asked = bench.probes.count
        bench.pass(.seconds(20), lease: renewed)
        #expect((4...5).contains(bench.probes.count - asked))

        // A link that is down cannot be asked over, and says nothing about him.
        bench.setLink(OwnershipBench.link(index: 2, up: false))
        bench.pass(.seconds(20), lease: renewed)
        #expect(bench.core.snapshot.addresses.first?.foreignHolder == stranger)
        bench.setLink(OwnershipBench.link(index: 2))

        bench.others = { _, _ in [] }
        bench.pass(.seconds(6), lease: renewed)
        #expect(bench.events.last == .foreignHolder(vip, nil))
        let free = try #require(bench.core.snapshot.addresses.first)
        #expect(free.state == .held && free.foreignHolder == nil && free.detail == nil)
        #expect(!bench.core.isProbing)
        #expect(bench.violations == [])
    }

    @Test(
        "another host takes the place of a foreign holder: the conflict is the same, its MAC is shown, and told a minute later"
    )
    func holderChanges() throws {
        var bench = try bench()
        bench.others = { _, _ in [9] }
        try bench.timeToSet(vip, within: 3000, lease: renewed)
        bench.run()
        bench.others = { _, _ in [8] }
        bench.pass(.seconds(6), lease: renewed)
        let other = try #require(HardwareAddress([2, 0, 0, 0, 0, 8]))
        #expect(bench.events.last == .foreignHolder(vip, stranger))
        #expect(bench.core.snapshot.addresses.first?.foreignHolder == other)
        bench.pass(.seconds(60), lease: renewed)
        #expect(bench.events.last == .foreignMACs(vip, "2 different MACs", last: other))
    }

    @Test("a lead that is lost beside a foreign holder ends the report with the hold")
    func lostBesideHolder() throws {
        var bench = try bench()
        bench.others = { _, _ in [9] }
        try bench.timeToSet(vip, within: 3000, lease: renewed)
        bench.run()
        bench.lease = nil
        bench.run(.kicked(at: bench.now))
        #expect(bench.events.last == .released(vip, reason: .leadershipLost))
        let status = try #require(bench.core.snapshot.addresses.first)
        #expect(status.state == .released && status.foreignHolder == nil && status.detail == nil)
        #expect(!bench.core.isProbing)
    }

    @Test("somebody who announces the address between verdict and system call stops it")
    func lastMoment() throws {
        var bench = try bench()
        bench.core.hint.leads = true
        bench.run()
        bench.pass(.milliseconds(10))
        let lease = renewed(bench.now)
        bench.lease = lease
        let directives = bench.core.step(.kicked(at: bench.now), lease: lease, now: bench.now)
        let set = try #require(directives.first { if case .set = $0 { true } else { false } })
        for directive in directives {
            if case .guardHold = directive { bench.core.completed(directive, now: bench.now) }
        }
        #expect(bench.core.permits(set, lease: lease, now: bench.now))
        bench.hear(vip.address, from: 9)
        #expect(!bench.core.permits(set, lease: lease, now: bench.now))
    }

    @Test("what our own MAC says does not count, nor what is said of other addresses")
    func own() throws {
        var bench = try bench()
        bench.others = { _, _ in [1] }
        bench.lease = renewed(bench.now)
        bench.run()
        bench.hear(try #require(IPAddress("192.0.2.11")), from: 9)
        let took = try bench.timeToSet(vip, within: 100, lease: renewed)
        #expect(took < .milliseconds(5))
    }

    @Test("probes that cannot be sent delay nothing, and are told once")
    func cannotSend() throws {
        var bench = try bench()
        bench.fault = { directive in
            if case .probe = directive { (SystemError("ask for", "192.0.2.10/24", errno: ENOBUFS), false) } else { nil }
        }
        let took = try bench.timeToSet(vip, within: 100, lease: renewed)
        #expect(took < .milliseconds(6))
        bench.run()
        #expect(bench.events.count { if case .failed = $0 { true } else { false } } == 1)
        #expect(bench.core.snapshot.counters.probeErrors == 3)
    }

    @Test("each address waits for its own holder only")
    func several() throws {
        let other = try VirtualAddress(parsing: "192.0.2.11/24")
        var bench = try bench()
        bench.run(.desired([vip, other]))
        let answering = vip.address
        bench.others = { address, _ in address == answering ? [9] : [] }
        bench.lease = renewed(bench.now)
        bench.run(.kicked(at: bench.now))
        bench.pass(.milliseconds(100), lease: renewed)
        #expect(try !bench.isSet("192.0.2.10/24"))
        #expect(try bench.isSet("192.0.2.11/24"), "\(bench.history)")
    }

    @Test("an address that takes another's place comes first, also when it has to be asked for")
    func replaced() throws {
        let other = try VirtualAddress(parsing: "192.0.2.11/24")
        var bench = try bench()
        try bench.timeToSet(vip, within: 100, lease: renewed)
        bench.run(.desired([other]))
        #expect(bench.core.isUndecided)
        #expect(try bench.isSet("192.0.2.10/24"))
        bench.pass(.milliseconds(5), lease: renewed)
        #expect(try bench.isSet("192.0.2.11/24") && !bench.isSet("192.0.2.10/24"))
        #expect(!bench.core.isUndecided)
        // Somebody has the next one: nothing is kept for that.
        bench.others = { _, _ in [9] }
        bench.run(.desired([vip]))
        bench.pass(.milliseconds(5), lease: renewed)
        #expect(try !bench.isSet("192.0.2.11/24") && !bench.isSet("192.0.2.10/24"))
    }

    @Test("a guard that takes no deadline: each attempt asks anew, and none sets")
    func deafGuard() throws {
        var bench = try bench()
        bench.fault = { directive in
            if case .guardHold = directive { (SystemError("tell the guard", errno: EAGAIN), false) } else { nil }
        }
        bench.pass(.milliseconds(900), lease: renewed)
        #expect(try !bench.isSet("192.0.2.10/24"))
        #expect((12...15).contains(bench.probes.count), "\(bench.probes.count)")
        #expect(bench.violations == [])
    }
}
