import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: decisions")
struct OwnershipCoreTests {
    private let vip = "192.0.2.10/24"

    private func addresses(_ texts: String...) throws -> [VirtualAddress] {
        try texts.map { try VirtualAddress(parsing: $0) }
    }

    private func ends(_ bench: OwnershipBench, in milliseconds: Int, term: UInt64 = 7) -> Lease {
        Lease(term: term, end: bench.now.advanced(by: .milliseconds(milliseconds)))
    }

    /// A lease that always has as long to go.
    private func renewed(_ milliseconds: Int = 300) -> (BootInstant) -> Lease? {
        { Lease(term: 7, end: $0.advanced(by: .milliseconds(milliseconds))) }
    }

    /// A bench in which the VIP is held, with a host address in its subnet.
    private func holding() throws -> OwnershipBench {
        var bench = OwnershipBench()
        try bench.addByHand("192.0.2.1/24")
        bench.run(.desired(try addresses(vip)))
        bench.lease = ends(bench, in: 300)
        bench.run()
        #expect(try bench.isSet(vip))
        bench.events = []
        return bench
    }

    @Test("a claim: first the guard, then the kernel, then the announcement")
    func claim() throws {
        var bench = OwnershipBench()
        try bench.addByHand("192.0.2.1/24")
        #expect(bench.run(.desired(try addresses(vip))) == ["survey"])
        bench.lease = ends(bench, in: 300)
        #expect(
            bench.run(.kicked(at: bench.now)) == [
                "hold 192.0.2.10/24 on 2", "set 192.0.2.10/24 on 2: new(prefixRoute: false)",
                "announce 192.0.2.10/24", "claimed 192.0.2.10/24 in term 7 within 0.0 seconds",
            ])
        #expect(bench.violations == [])
        let status = try #require(bench.core.snapshot.addresses.first)
        #expect(status.state == .held && status.term == 7 && status.announcements == 1)
    }

    @Test("without another address of the host in the subnet it brings the connected route")
    func prefixRoute() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        bench.lease = ends(bench, in: 300)
        #expect(bench.run().contains("set 192.0.2.10/24 on 2: new(prefixRoute: true)"))
    }

    @Test("the host's own address that comes before the claim is taken into account")
    func prefixRouteLater() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        bench.now = bench.now.advanced(by: .seconds(1))
        try bench.addByHand("192.0.2.1/24")
        bench.lease = ends(bench, in: 300)
        #expect(bench.run().contains("set 192.0.2.10/24 on 2: new(prefixRoute: false)"))
    }

    @Test("nothing is claimed before the interface was read")
    func surveyFirst() throws {
        var bench = OwnershipBench()
        bench.fault = { $0 == .survey ? (SystemError("read", errno: ENOBUFS), false) : nil }
        bench.lease = ends(bench, in: 10_000)
        bench.run(.desired(try addresses(vip)))
        #expect(try !bench.isSet(vip))
        bench.fault = { _ in nil }
        bench.pass(.milliseconds(201))
        #expect(try bench.isSet(vip))
    }

    @Test("lost leadership: deleted at once, then the guard is told, then reported")
    func leadershipLost() throws {
        var bench = try holding()
        bench.lease = nil
        #expect(
            bench.run(.kicked(at: bench.now)) == [
                "delete 192.0.2.10/24 on 2", "release 192.0.2.10/24 on 2",
                "released 192.0.2.10/24: leadership-lost",
            ])
        #expect(bench.watched.isEmpty)
    }

    @Test("a lease that is not renewed: the deletion begins two milliseconds before its end, without a kick")
    func leaseEnds() throws {
        var bench = try holding()
        let end = try #require(bench.lease?.end)
        bench.pass(.milliseconds(297))
        #expect(try bench.isSet(vip))
        bench.pass(.milliseconds(1))
        #expect(bench.now.duration(to: end) == .milliseconds(2))
        #expect(try !bench.isSet(vip))
        #expect(bench.events == [.released(try addresses(vip)[0], reason: .leaseEnded)])
    }

    @Test("when the lease ended right after a step, the next wake-up is now")
    func leaseEndsAfterStep() throws {
        var bench = try holding()
        let end = try #require(bench.lease?.end)
        bench.now = end.advanced(by: .milliseconds(-1))
        #expect(bench.core.nextWake(lease: bench.lease, now: bench.now) == bench.now)
    }

    @Test("the lease ends between the decision and the system call: nothing is set")
    func leaseEndsMeanwhile() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        bench.lease = ends(bench, in: 5)
        // Each directive takes 2 ms: at the second one, the set, 4 ms have passed.
        bench.cost = { .milliseconds(2) }
        #expect(bench.run() == ["hold 192.0.2.10/24 on 2", "release 192.0.2.10/24 on 2"])
        #expect(bench.violations == [])
        #expect(bench.watched.isEmpty)
    }

    @Test("the kernel lifetime is refreshed four times a second, and the guard need not be told again")
    func upkeep() throws {
        var bench = try holding()
        var sets = 0
        var holds = 0
        bench.fault = { directive in
            if case .set = directive { sets += 1 }
            if case .guardHold = directive { holds += 1 }
            return nil
        }
        bench.pass(.seconds(10), lease: renewed())
        #expect((40...44).contains(sets))
        #expect(holds == 0)
        #expect(bench.violations == [])
    }

    @Test(
        "under a lease of 150 ms that is extended every 40 ms it wakes some ten times a second, not for each extension")
    func wakeUps() throws {
        var bench = try holding()
        bench.pass(.seconds(10), lease: renewed(150))
        var wakes = 0
        let end = bench.now.advanced(by: .seconds(10))
        let first = bench.now
        while bench.now < end {
            let past = first.duration(to: bench.now).inMilliseconds
            bench.lease = Lease(term: 7, end: first.advanced(by: .milliseconds(past - past % 40 + 150)))
            bench.expire()
            bench.run()
            wakes += 1
            bench.now = max(bench.core.nextWake(lease: bench.lease, now: bench.now), bench.now)
        }
        // A lease has 110 to 150 ms to go, and there are four refreshes a second.
        #expect(wakes < 140)
        #expect(try bench.isSet(vip))
        #expect(bench.core.counters.reinstated == 0 && bench.core.counters.claims == 1)
        #expect(bench.violations == [])
    }

    @Test("a wake-up that is late by 12 ms costs nothing, one that is later a look: the address stays in any case")
    func late() throws {
        for (lateness, surveys) in [(12, 0...2), (20, 30...120)] {
            var bench = try holding()
            var surveyed = 0
            bench.fault = { directive in
                if case .survey = directive { surveyed += 1 }
                return nil
            }
            let first = bench.now
            let end = first.advanced(by: .seconds(10))
            while bench.now < end {
                // As the relay does it: 146 ms, every 30 ms.
                let past = first.duration(to: bench.now).inMilliseconds
                bench.lease = Lease(term: 7, end: first.advanced(by: .milliseconds(past - past % 30 + 146)))
                bench.expire()
                bench.run()
                let wake = bench.core.nextWake(lease: bench.lease, now: bench.now)
                bench.now = max(wake, bench.now).advanced(by: .milliseconds(lateness))
            }
            #expect(surveys.contains(surveyed), "\(surveyed)")
            #expect(try bench.isSet(vip))
            #expect(bench.events == [] && bench.core.counters.reinstated == 0)
            #expect(bench.violations == [])
        }
    }

    @Test("while there is no lease, and whoever has one says so, it wakes for nothing")
    func idle() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        #expect(bench.now.duration(to: bench.core.nextWake(lease: nil, now: bench.now)) == .seconds(2))
    }

    @Test("a conflict that lasts, after a refusal of the kernel, keeps nobody awake")
    func conflictIsQuiet() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        // Set by somebody else, of which no report has come yet: the kernel refuses ours.
        bench.kernel[try OwnershipBench.place(vip, interface: 2)] = false
        bench.lease = ends(bench, in: 300)
        bench.run()
        bench.pass(.seconds(1), lease: renewed())
        #expect(bench.core.snapshot.addresses.first?.state == .conflict)
        #expect(bench.now.duration(to: bench.core.nextWake(lease: bench.lease, now: bench.now)) > .milliseconds(100))
        #expect(bench.violations == [])
    }

    @Test("by all means it wakes between the next look at the lease and its end; without a lease there is no hurry")
    func latestWake() throws {
        var bench = OwnershipBench()
        bench.lease = ends(bench, in: 150)
        bench.run(.desired(try addresses(vip)))
        bench.pass(.milliseconds(50))
        let lease = try #require(bench.lease)
        let latest = bench.core.latestWake(lease: lease, now: bench.now)
        #expect(bench.core.nextWake(lease: lease, now: bench.now) < latest)
        #expect(lease.end.advanced(by: .milliseconds(-15)) < latest)
        #expect(lease.end.advanced(by: .milliseconds(-5)) > latest)
        for lease in [nil, Lease(term: 1, end: bench.now)] {
            #expect(bench.core.latestWake(lease: lease, now: bench.now).nanoseconds == .max)
        }
    }

    @Test("a lease that has to be asked for is asked for in time")
    func askedFor() throws {
        var timing = OwnershipTiming()
        timing.pollLeading = .milliseconds(50)
        var bench = OwnershipBench(timing: timing)
        bench.lease = ends(bench, in: 300)
        bench.run(.desired(try addresses(vip)))
        for _ in 0..<100 {
            let wake = bench.core.nextWake(lease: bench.lease, now: bench.now)
            #expect(bench.now.duration(to: wake) <= .milliseconds(50))
            bench.now = wake
            bench.lease = ends(bench, in: 300)
            bench.run()
        }
        #expect(try bench.isSet(vip))
    }

    @Test("under a lease of 40 ms the address stays as long as it is extended")
    func shortLease() throws {
        var bench = try holding()
        bench.pass(.seconds(5), lease: renewed(40))
        #expect(try bench.isSet(vip))
        #expect(bench.core.counters.reinstated == 0)
        #expect(bench.violations == [])
    }

    @Test("stopped for a second and gone on with the old lease: nothing is set or announced, and the release is told")
    func resumed() throws {
        var bench = try holding()
        bench.stop(for: .seconds(1))
        #expect(try !bench.isSet(vip))
        #expect(
            bench.run() == [
                "delete 192.0.2.10/24 on 2", "release 192.0.2.10/24 on 2", "released 192.0.2.10/24: lease-ended",
            ])
        #expect(bench.violations == [])
    }

    @Test(
        "a lease that lapsed and came back unseen: the address is looked for, set and announced again before a refresh")
    func lapsedUnseen() throws {
        var bench = try holding()
        // Long enough for the guard to act, and for a refresh to be due.
        bench.stop(for: .milliseconds(400))
        #expect(try !bench.isSet(vip))
        bench.lease = ends(bench, in: 300)
        #expect(
            bench.run() == [
                "survey", "hold 192.0.2.10/24 on 2", "set 192.0.2.10/24 on 2: new(prefixRoute: false)",
                "announce 192.0.2.10/24", "released 192.0.2.10/24: lease-ended",
                "claimed 192.0.2.10/24 in term 7 within 0.0 seconds",
                // The kernel's report of the removal comes late.
                "survey",
            ])
        #expect(bench.events.count == 2 && bench.violations == [])
    }

    @Test("who overslept while the lease was extended in time looks, finds the address, and changes nothing")
    func overslept() throws {
        var bench = try holding()
        bench.stop(for: .milliseconds(200))
        bench.lease = ends(bench, in: 300)
        bench.stop(for: .milliseconds(200))
        #expect(bench.run().first == "survey")
        #expect(try bench.isSet(vip))
        #expect(bench.events == [])
        #expect(bench.core.counters.announcements == 2, "the second one of the burst was due")
    }

    @Test("stopped within the call that sets the address until the lease is over: it is deleted before anything else")
    func stoppedInTheCall() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses("192.0.2.10/24", "192.0.2.11/24")))
        bench.lease = ends(bench, in: 100)
        var calls = 0
        bench.stall = {
            calls += 1
            return calls == 2 ? .seconds(1) : .zero
        }
        let log = bench.run()
        #expect(
            log.prefix(3) == [
                "hold 192.0.2.10/24 on 2", "set 192.0.2.10/24 on 2: new(prefixRoute: true)",
                "delete 192.0.2.10/24 on 2",
            ])
        #expect(!log.contains { $0.hasPrefix("announce") })
        #expect(bench.core.counters.claims == 0)
        #expect(bench.violations == [])
    }

    @Test(
        "stopped within the call, and the lease has come back by then: what was set is kept, once it was seen to be there"
    )
    func stoppedInTheCallAndBack() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        bench.lease = ends(bench, in: 100)
        var calls = 0
        bench.stall = {
            calls += 1
            return calls == 2 ? .seconds(1) : .zero
        }
        bench.leaseAfterStall = renewed(300)
        let log = bench.run()
        #expect(try bench.isSet(vip))
        // The guard has removed it, or would have: it is told again.
        #expect(
            log.dropFirst(2).prefix(3) == ["survey", "hold 192.0.2.10/24 on 2", "announce 192.0.2.10/24"], "\(log)")
        #expect(bench.violations == [])
    }

    @Test("an address deleted by hand is set again at once, and announced anew")
    func deletedByHand() throws {
        var bench = try holding()
        bench.pass(.milliseconds(990), lease: renewed())
        try bench.removeByHand(vip)
        #expect(
            bench.transcript == [
                "survey", "hold 192.0.2.10/24 on 2", "set 192.0.2.10/24 on 2: new(prefixRoute: false)",
                "announce 192.0.2.10/24", "reinstated 192.0.2.10/24",
            ])
        #expect(bench.core.counters.reinstated == 1)
        #expect(bench.core.counters.releases.isEmpty)
    }

    @Test("deleted by hand and set by somebody else: it is his now, and is left alone for good")
    func takenByHand() throws {
        var bench = try holding()
        bench.pass(.milliseconds(990), lease: renewed())
        let place = try OwnershipBench.place(vip, interface: 2)
        let ours = InterfaceAddress(
            interfaceIndex: 2, address: place.address, prefixLength: 24, proto: virtualAddressProtocolTag)
        // Both are done before the first is seen.
        bench.kernel[place] = false
        bench.lifetimes[place] = nil
        bench.report(.addressRemoved(ours))
        #expect(bench.core.snapshot.addresses.first?.state == .conflict)
        #expect(bench.events.first == .released(try addresses(vip)[0], reason: .conflict) || bench.events.count == 2)
        bench.lease = nil
        bench.pass(.seconds(5))
        #expect(bench.kernel[place] == false)
        #expect(bench.violations == [])
    }

    @Test("changed in place by somebody, without tag and lifetime: it stays ours, and gets both again")
    func changedInPlace() throws {
        var bench = try holding()
        let place = try OwnershipBench.place(vip, interface: 2)
        bench.lease = ends(bench, in: 20_000)
        bench.run()
        bench.kernel[place] = false
        bench.lifetimes[place] = nil
        bench.now = bench.now.advanced(by: .seconds(10))
        bench.tolerates = place
        bench.run()
        #expect(try bench.isSet(vip))
        #expect(bench.lifetimes[place] != nil)
        #expect(bench.events == [])
    }

    @Test("a late report of our own deletion changes nothing for the address that is set again")
    func lateEcho() throws {
        var bench = try holding()
        bench.pass(.milliseconds(990), lease: renewed())
        let address = try VirtualAddress(parsing: vip)
        bench.report(
            .addressRemoved(
                InterfaceAddress(
                    interfaceIndex: 2, address: address.address, prefixLength: 24, proto: virtualAddressProtocolTag)))
        #expect(bench.transcript == ["survey"])
        #expect(bench.events == [])
    }

    @Test("an address that the host has already is a conflict, reported once, and claimed when it is gone")
    func conflict() throws {
        var bench = OwnershipBench()
        try bench.addByHand(vip)
        bench.run(.desired(try addresses(vip)))
        bench.pass(.seconds(30), lease: renewed())
        #expect(bench.kernel == [try OwnershipBench.place(vip, interface: 2): false])
        #expect(bench.watched.isEmpty)
        let status = try #require(bench.core.snapshot.addresses.first)
        #expect(status.state == .conflict)
        #expect(status.detail?.contains("already set on eth0 by somebody else") == true)
        #expect(bench.core.counters.conflicts == 1)
        try bench.removeByHand(vip)
        #expect(try bench.isSet(vip))
        #expect(bench.core.snapshot.addresses.first?.state == .held)
    }

    @Test("the same address on another interface or with another prefix length is a conflict too")
    func conflictElsewhere() throws {
        for (text, interface) in [("192.0.2.10/32", UInt32(2)), ("192.0.2.10/24", 9)] {
            var bench = OwnershipBench()
            try bench.addByHand(text, interface: interface)
            bench.run(.desired(try addresses(vip)))
            bench.lease = ends(bench, in: 300)
            bench.run()
            #expect(bench.core.snapshot.addresses.first?.state == .conflict)
            #expect(bench.kernel.count == 1)
        }
    }

    @Test("somebody sets the address right before us: the kernel refuses ours, and his stays")
    func conflictRace() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        // Not reported yet.
        bench.kernel[try OwnershipBench.place(vip, interface: 2)] = false
        bench.lease = ends(bench, in: 300)
        bench.run()
        #expect(bench.core.snapshot.addresses.first?.state == .conflict)
        bench.lease = nil
        bench.pass(.seconds(2))
        #expect(bench.kernel.count == 1)
        #expect(bench.violations == [])
    }

    @Test("what an earlier run left is taken over by a leader, and deleted by others")
    func leftOver() throws {
        for leads in [true, false] {
            var bench = OwnershipBench()
            bench.kernel[try OwnershipBench.place(vip, interface: 2)] = true
            if leads { bench.lease = ends(bench, in: 300) }
            bench.run(.desired(try addresses(vip)))
            #expect(try bench.isSet(vip) == leads)
            #expect(bench.transcript.contains("set 192.0.2.10/24 on 2: takenOver") == leads)
        }
    }

    @Test("a changed list: new addresses are set before old ones are deleted, the kept one is not touched")
    func changedList() throws {
        var bench = OwnershipBench()
        bench.lease = ends(bench, in: 300)
        bench.run(.desired(try addresses("192.0.2.10/24", "192.0.2.11/24")))
        let log = bench.run(.desired(try addresses("192.0.2.11/24", "192.0.2.12/24")))
        let set = try #require(log.firstIndex { $0.hasPrefix("set 192.0.2.12/24") })
        let delete = try #require(log.firstIndex { $0 == "delete 192.0.2.10/24 on 2" })
        #expect(set < delete)
        #expect(!log.contains { $0.hasPrefix("set 192.0.2.11") || $0.hasPrefix("delete 192.0.2.11") })
        #expect(log.contains("released 192.0.2.10/24: not-desired"))
        #expect(bench.watched.count == 2)
        #expect(bench.core.snapshot.addresses.map { "\($0.address)" } == ["192.0.2.11/24", "192.0.2.12/24"])
    }

    @Test("while the link is down nothing is announced; when it returns the burst begins anew")
    func linkDown() throws {
        var bench = try holding()
        bench.pass(.seconds(10), lease: renewed())
        let before = bench.core.counters.announcements
        #expect(before == 5)
        bench.setLink(OwnershipBench.link(index: 2, up: false))
        bench.pass(.seconds(120), lease: renewed())
        #expect(bench.core.counters.announcements == before)
        #expect(try bench.isSet(vip))
        bench.setLink(OwnershipBench.link(index: 2))
        #expect(bench.transcript.contains("announce 192.0.2.10/24"))
        bench.pass(.seconds(10), lease: renewed())
        #expect(bench.core.counters.announcements == before + 5)
        #expect(bench.events == [.linkDown("eth0"), .linkUp("eth0")])
    }

    @Test("a claim while the link is down sets the address and announces it when the link is up")
    func claimWhileDown() throws {
        var bench = OwnershipBench()
        bench.link = OwnershipBench.link(index: 2, up: false)
        bench.run(.desired(try addresses(vip)))
        #expect(bench.events == [.linkDown("eth0")])
        bench.lease = ends(bench, in: 300)
        #expect(bench.run().contains { $0.hasPrefix("claimed") })
        #expect(bench.core.counters.announcements == 0)
        bench.setLink(OwnershipBench.link(index: 2))
        #expect(bench.core.counters.announcements == 1)
    }

    @Test("a new MAC is announced at once")
    func newMAC() throws {
        var bench = try holding()
        bench.pass(.milliseconds(9990), lease: renewed())
        bench.setLink(OwnershipBench.link(index: 2, mac: 9))
        #expect(bench.transcript == ["announce 192.0.2.10/24"])
    }

    @Test("an interface that goes and comes back under another number gets the address again")
    func interfaceGone() throws {
        var bench = try holding()
        bench.pass(.seconds(1), lease: renewed())
        bench.setLink(nil)
        #expect(bench.events.contains(.released(try addresses(vip)[0], reason: .interfaceGone)))
        #expect(bench.core.snapshot.addresses.first?.detail == "there is no interface eth0")
        #expect(bench.watched.isEmpty)
        bench.pass(.seconds(3), lease: renewed())
        bench.setLink(OwnershipBench.link(index: 5))
        #expect(try bench.isSet(vip, interface: 5))
        #expect(bench.violations == [])
    }

    @Test("an interface that gets another name does not keep the address")
    func interfaceRenamed() throws {
        var bench = try holding()
        bench.link = nil
        var other = OwnershipBench.link(index: 2)
        other.name = "eth1"
        bench.report(.linkChanged(other))
        #expect(bench.transcript.contains("delete 192.0.2.10/24 on 2"))
        #expect(bench.kernel.values.contains(true) == false)
    }

    @Test("the guard does not take it: the address is not set, and tried again after 0.2 s")
    func guardFails() throws {
        var bench = try holding()
        bench.fault = { if case .guardHold = $0 { (SystemError("tell the guard", errno: EAGAIN), false) } else { nil } }
        try bench.removeByHand(vip)
        bench.pass(.milliseconds(100), lease: renewed())
        #expect(try !bench.isSet(vip))
        #expect(bench.events.contains(.released(try addresses(vip)[0], reason: .guardFailed)))
        bench.fault = { _ in nil }
        bench.pass(.milliseconds(250), lease: renewed())
        #expect(try bench.isSet(vip))
        #expect(bench.violations == [])
    }

    @Test("the kernel refuses the address: an error for the operator once, the guard is released, tried again")
    func setFails() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        bench.fault = { if case .set = $0 { (SystemError("set the address", errno: EPERM), false) } else { nil } }
        bench.pass(.seconds(2), lease: renewed())
        #expect(bench.watched.isEmpty)
        #expect(bench.events.count { if case .failed = $0 { true } else { false } } == 1)
        let status = try #require(bench.core.snapshot.addresses.first)
        #expect(status.state == .error && status.detail?.contains("Operation not permitted") == true)
        #expect((8...11).contains(bench.core.counters.kernelErrors))
        bench.fault = { _ in nil }
        bench.pass(.milliseconds(250), lease: renewed())
        #expect(try bench.isSet(vip))
    }

    @Test("a set that the kernel did not answer is deleted before anything else")
    func doubtfulSet() throws {
        var bench = OwnershipBench()
        bench.run(.desired(try addresses(vip)))
        bench.lease = ends(bench, in: 300)
        bench.fault = { if case .set = $0 { (SystemError("set", errno: EAGAIN), true) } else { nil } }
        bench.run()
        #expect(try !bench.isSet(vip))
        #expect(bench.transcript.contains("delete 192.0.2.10/24 on 2"))
    }

    @Test("a deletion that fails is tried again every 20 ms, and the guard is not released before it succeeded")
    func deleteFails() throws {
        var bench = try holding()
        bench.lease = nil
        var attempts = 0
        bench.fault = {
            guard case .delete = $0 else { return nil }
            attempts += 1
            return attempts < 4 ? (SystemError("remove", errno: ENOBUFS), false) : nil
        }
        bench.run()
        #expect(!bench.watched.isEmpty)
        bench.pass(.milliseconds(59))
        #expect(try bench.isSet(vip))
        bench.pass(.milliseconds(2))
        #expect(try !bench.isSet(vip))
        #expect(bench.watched.isEmpty)
    }

    @Test("an address that is not wanted any more and cannot be deleted does not keep the shell busy")
    func retirementFails() throws {
        var bench = try holding()
        bench.pass(.milliseconds(260), lease: renewed())
        bench.fault = { if case .delete = $0 { (SystemError("remove", errno: ENOBUFS), false) } else { nil } }
        bench.lease = ends(bench, in: 5000)
        bench.run(.desired([]))
        bench.now = bench.now.advanced(by: .milliseconds(1))
        bench.run()
        #expect(bench.now.duration(to: bench.core.nextWake(lease: bench.lease, now: bench.now)) > .milliseconds(10))
    }

    @Test("after releaseAll nothing is held any more, whatever the lease says")
    func releaseAll() throws {
        var bench = try holding()
        #expect(bench.run(.releaseAll).contains("released 192.0.2.10/24: shutdown"))
        bench.pass(.seconds(1), lease: renewed())
        #expect(try !bench.isSet(vip))
        #expect(bench.watched.isEmpty)
    }

    @Test("our own doings, reported by the kernel, cause no reading of the interface")
    func noEcho() throws {
        let bench = try holding()
        let address = try VirtualAddress(parsing: vip)
        let ours = InterfaceAddress(
            interfaceIndex: 2, address: address.address, prefixLength: 24, proto: virtualAddressProtocolTag)
        #expect(!bench.core.isNews(.addressAdded(ours)))
        #expect(bench.core.isNews(.addressRemoved(ours)))
        var released = bench
        released.lease = nil
        released.run()
        #expect(!released.core.isNews(.addressRemoved(ours)))
        #expect(bench.core.isNews(.overrun))
    }

    @Test(
        "an address that a reading passed over is kept, and looked for again soon; one that a whole reading lacks is gone"
    )
    func interruptedSurvey() throws {
        var bench = try holding()
        let other = try VirtualAddress(parsing: "192.0.2.77/24")
        let host = InterfaceAddress(interfaceIndex: 2, address: other.address, prefixLength: 24)
        bench.core.observe(link: bench.link, addresses: [host], isWhole: false, now: bench.now)
        #expect(bench.core.placed == (try addresses(vip)))
        #expect(bench.core.snapshot.addresses.first?.state == .held)
        var surveys = 0
        bench.fault = {
            if $0 == .survey { surveys += 1 }
            return nil
        }
        bench.pass(.milliseconds(150), lease: renewed())
        #expect(surveys == 1, "it is read again once, and found")
        #expect(try bench.isSet(vip))
        bench.core.observe(link: bench.link, addresses: [host], now: bench.now)
        #expect(bench.core.placed == [])
    }

    @Test("a burst of changes costs one reading in ten milliseconds, not one for each")
    func surveyGap() throws {
        var bench = try holding()
        bench.pass(.seconds(1), lease: renewed())
        var surveys = 0
        bench.fault = {
            if $0 == .survey { surveys += 1 }
            return nil
        }
        for _ in 0..<1000 {
            bench.now = bench.now.advanced(by: .microseconds(50))
            bench.lease = ends(bench, in: 300)
            bench.report(.overrun)
        }
        #expect((4...7).contains(surveys))
    }

    @Test("a re-election that leaves no gap keeps the address and changes the term only")
    func newTerm() throws {
        var bench = try holding()
        bench.lease = ends(bench, in: 300, term: 8)
        bench.run()
        #expect(bench.events == [])
        #expect(bench.core.snapshot.addresses.first?.term == 8)
    }
}
