import Glibc
import Logging
import Platform
import Testing

@testable import VIP

@Suite("ownership: asking the LAN, on the kernel", .serialized)
struct OwnershipProbingTests {
    private typealias Surroundings = OwnershipTests.Surroundings

    /// Two hosts on one cable. `ours` runs the ownership on `v0`; `other` is the rest of the LAN, on `v1`.
    private struct Scene: Sendable {
        var ours: NetworkNamespace
        var other: NetworkNamespace
        var ownership: Ownership
        var surroundings: OwnershipTests.Surroundings
        var witness: AddressWitness
        var vip: VirtualAddress
        /// The MAC of the other host.
        var stranger: HardwareAddress

        /// Sets the VIP on the other host, as a holder whose daemon and guard do no more.
        func otherHolds() async throws {
            try await other.run { [vip] in
                let session = try NetlinkSession()
                guard let link = try session.link(named: "v1") else { throw DidNotHappen(description: "no v1") }
                try session.set(vip, interface: link.index, validLifetime: 60)
            }
        }

        func otherLetsGo() async throws {
            try await other.run { [vip] in
                let session = try NetlinkSession()
                guard let link = try session.link(named: "v1") else { throw DidNotHappen(description: "no v1") }
                try session.delete(vip, interface: link.index)
            }
        }

        /// Gives the ownership its lease; returns the time before that.
        func lead() -> BootInstant {
            let now = BootClock.now
            surroundings.leadOn()
            ownership.kick()
            return now
        }
    }

    private func withScene(hint: LeadHint = LeadHint(), _ body: (Scene) async throws -> Void) async throws {
        let vip = try VirtualAddress(parsing: "192.0.2.10/24")
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { ours async throws in
            try await withNetworkNamespace { other async throws in
                try await ours.command("ip", "link", "set", "v1", "netns", try await other.threadIdentifier())
                try await other.script(
                    """
                    ip link set v1 address 02:00:5e:00:00:09
                    ip link set v1 up
                    ip address add 192.0.2.2/24 dev v1
                    """)
                let witness = try await AddressWitness(of: vip, in: [ours, other])
                let surroundings = try Surroundings()
                let ownership = try await ours.run {
                    try Ownership(
                        interface: "v0", cell: surroundings.cell, lease: { surroundings.lease },
                        guardChannel: surroundings,
                        addressesFile: nil, hint: { hint },
                        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
                }
                let running = Task { try await ownership.run() }
                await ownership.setDesired([vip])
                // Carrier needs a moment after the far end was moved.
                try await linkUp(ours)
                try await body(
                    Scene(
                        ours: ours, other: other, ownership: ownership, surroundings: surroundings, witness: witness,
                        vip: vip, stranger: try #require(HardwareAddress([2, 0, 0x5E, 0, 0, 9]))))
                running.cancel()
                try await running.value
            }
        }
    }

    private func linkUp(_ namespace: NetworkNamespace) async throws {
        try await namespace.run {
            let session = try NetlinkSession()
            let end = BootClock.now.advanced(by: .seconds(5))
            while try session.link(named: "v0")?.canSend != true {
                guard BootClock.now < end else { throw DidNotHappen(description: "v0 gets no carrier") }
                pause(.milliseconds(1))
            }
        }
    }

    private func wait(_ what: String, _ isSo: () async throws -> Bool) async throws {
        let end = BootClock.now.advanced(by: .seconds(10))
        while try await !isSo() {
            guard BootClock.now < end else { throw DidNotHappen(description: what) }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    @Test("nobody answers: claimed after three probes in the form of RFC 5227, within some milliseconds")
    func silence() async throws {
        try await withScene { scene async throws in
            let capture = try await scene.other.run { try PacketCapture(interface: "v1") }
            var times: [Duration] = []
            for _ in 0..<10 {
                let begin = scene.lead()
                times.append(begin.duration(to: try await scene.witness.next(0, isSet: true, after: begin)))
                let lost = BootClock.now
                scene.surroundings.follow()
                scene.ownership.kick()
                _ = try await scene.witness.next(0, isSet: false, after: lost)
            }
            print("from the lease to the address, nobody answering:", times.sorted())
            #expect(times.sorted()[5] < .milliseconds(100))
            #expect(times.allSatisfy { $0 >= .milliseconds(4) })
            let frame = try await scene.other.run { try capture.next(within: .seconds(1))?.bytes }
            let mac = try await scene.ours.session { session, _ in try session.link(named: "v0")?.hardwareAddress }
            let expected =
                [UInt8](repeating: 0xFF, count: 6) + (mac ?? [])
                + hex("0806 0001 0800 06 04 0001") + (mac ?? []) + hex("00000000 000000000000 c000020a")
            #expect(frame?.prefix(42).elementsEqual(expected) == true)
            #expect(await scene.ownership.snapshot().counters.probes == 30)
        }
    }

    @Test("asked before the lease comes, the address is set at once when it comes")
    func overlapped() async throws {
        try await withScene(hint: LeadHint(leads: true)) { scene async throws in
            try await wait("three probes") { await scene.ownership.snapshot().counters.probes >= 3 }
            try await Task.sleep(for: .milliseconds(20))
            let begin = scene.lead()
            let took = begin.duration(to: try await scene.witness.next(0, isSet: true, after: begin))
            print("from the lease to the address, asked before:", took)
            #expect(took < .milliseconds(100))
        }
    }

    @Test("a holder that goes after 700 ms: claimed within 30 ms, and never do both have the address")
    func holderGoes() async throws {
        try await withScene { scene async throws in
            var times: [Duration] = []
            for _ in 0..<3 {
                try await scene.otherHolds()
                let begin = scene.lead()
                try await Task.sleep(for: .milliseconds(700))
                try await scene.otherLetsGo()
                let gone = try await scene.witness.next(1, isSet: false, after: begin)
                let set = try await scene.witness.next(0, isSet: true, after: begin)
                // Never both: it comes after the other is gone.
                #expect(gone <= set, "\(scene.witness.changes)")
                times.append(gone.duration(to: set))
                scene.surroundings.follow()
                scene.ownership.kick()
                _ = try await scene.witness.next(0, isSet: false, after: set)
            }
            print("from the end of the old holder to the address:", times)
            #expect(times.min() ?? .zero < .milliseconds(30))
            #expect(times.max() ?? .zero < .milliseconds(200))
            #expect(await scene.ownership.snapshot().counters.conflicts == 0)
        }
    }

    @Test("a kernel that nobody renews the address in: claimed when its lifetime is over, without overlap")
    func lifetimeEnds() async throws {
        try await withScene { scene async throws in
            try await scene.other.run { [vip = scene.vip] in
                let session = try NetlinkSession()
                let link = try #require(try session.link(named: "v1"))
                try session.set(vip, interface: link.index, validLifetime: 1)
            }
            let begin = scene.lead()
            let gone = try await scene.witness.next(1, isSet: false, after: begin)
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            print("kernel lifetime", begin.duration(to: gone), "and then", gone.duration(to: set))
            #expect(gone <= set, "\(scene.witness.changes)")
        }
    }

    @Test("a holder that never goes: claimed after two seconds, and reported with its MAC until it is gone")
    func holderStays() async throws {
        try await withScene { scene async throws in
            try await scene.otherHolds()
            let begin = scene.lead()
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            print("from the lease to the address beside a foreign holder:", begin.duration(to: set))
            #expect(begin.duration(to: set) >= .seconds(2))
            #expect(begin.duration(to: set) < .milliseconds(3000))
            try await wait("the report") {
                await scene.ownership.snapshot().addresses.first?.foreignHolder == scene.stranger
            }
            let snapshot = await scene.ownership.snapshot()
            #expect(snapshot.addresses.first?.state == .held)
            #expect(snapshot.addresses.first?.detail?.contains("02:00:5e:00:00:09 has it too") == true)
            #expect(snapshot.counters.conflicts == 1)
            try await scene.otherLetsGo()
            try await wait("the end of the report") {
                await scene.ownership.snapshot().addresses.first?.foreignHolder == nil
            }
            var told: [OwnershipEvent] = []
            for await event in scene.ownership.events {
                told.append(event)
                if event == .foreignHolder(scene.vip, nil) { break }
            }
            #expect(
                told.filter { if case .claimed = $0 { false } else { true } } == [
                    .awaited(scene.vip, scene.stranger), .foreignHolder(scene.vip, scene.stranger),
                    .foreignHolder(scene.vip, nil),
                ])
        }
    }

    @Test("a host that appears after the question was answered and before the lease is there is not overlooked")
    func appears() async throws {
        try await withScene(hint: LeadHint(leads: true)) { scene async throws in
            try await wait("three probes") { await scene.ownership.snapshot().counters.probes >= 3 }
            try await scene.otherHolds()
            try await scene.other.run { [vip = scene.vip] in
                let session = try NetlinkSession()
                let link = try #require(try session.link(named: "v1"))
                _ = try AddressAnnouncer().announce(vip, on: link)
            }
            let begin = scene.lead()
            try await Task.sleep(for: .milliseconds(300))
            #expect(scene.witness.changes.allSatisfy { $0.place == 1 }, "\(scene.witness.changes)")
            try await scene.otherLetsGo()
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            #expect(try await scene.witness.next(1, isSet: false, after: begin) <= set)
        }
    }

    @Test("an address that is handed over is set at once, beside its present holder")
    func handedOver() async throws {
        try await withScene(hint: LeadHint(leads: true, isHandedOver: true)) { scene async throws in
            try await scene.otherHolds()
            let begin = scene.lead()
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            #expect(begin.duration(to: set) < .milliseconds(250))
            #expect(await scene.ownership.snapshot().counters.probes == 0)
        }
    }
}
