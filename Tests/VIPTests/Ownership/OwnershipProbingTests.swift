import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: asking the LAN, on the kernel", .serialized)
struct OwnershipProbingTests {
    private let v4 = "192.0.2.10/24"
    private let v6 = "2001:db8::10/64"

    @Test("nobody answers: claimed after three probes in the form of RFC 5227, within some milliseconds")
    func silence() async throws {
        try await withTwoHosts(v4) { scene async throws in
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
        try await withTwoHosts(v4, hint: LeadHint(leads: true)) { scene async throws in
            try await wait("three probes") { await scene.ownership.snapshot().counters.probes >= 3 }
            try await Task.sleep(for: .milliseconds(20))
            let begin = scene.lead()
            let took = begin.duration(to: try await scene.witness.next(0, isSet: true, after: begin))
            print("from the lease to the address, asked before:", took)
            #expect(took < .milliseconds(100))
        }
    }

    @Test(
        "a holder that goes after 700 ms: claimed within 30 ms, and never do both have the address",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func holderGoes(text: String) async throws {
        try await withTwoHosts(text) { scene async throws in
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

    @Test(
        "a kernel that nobody renews the address in: claimed when its lifetime is over, without overlap",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func lifetimeEnds(text: String) async throws {
        try await withTwoHosts(text) { scene async throws in
            try await scene.otherHolds(for: 1)
            let begin = scene.lead()
            let gone = try await scene.witness.next(1, isSet: false, after: begin)
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            print("kernel lifetime", begin.duration(to: gone), "and then", gone.duration(to: set))
            #expect(gone <= set, "\(scene.witness.changes)")
        }
    }

    @Test(
        "IPv6, nobody answers: three solicitations from nobody, then the address without detection, then advertisements"
    )
    func silenceIPv6() async throws {
        try await withTwoHosts(v6) { scene async throws in
            let capture = try await scene.other.run { try PacketCapture(interface: "v1", type: ETH_P_IPV6) }
            let begin = scene.lead()
            let took = begin.duration(to: try await scene.witness.next(0, isSet: true, after: begin))
            print("from the lease to the IPv6 address, nobody answering:", took)
            #expect(took >= .milliseconds(4) && took < .milliseconds(250))
            let frames = try await scene.other.run { [vip = scene.vip] () throws -> [NeighbourFrame] in
                var frames: [NeighbourFrame] = []
                while let frame = try capture.nextNeighbour(within: .milliseconds(700)) {
                    if frame.target == vip.address { frames.append(frame) }
                }
                return frames
            }
            let mac = try await scene.ours.session { session, _ in try session.link(named: "v0")?.hardwareAddress }
            let probe = try #require(NeighbourFrame(probing: scene.vip.address, from: mac ?? []))
            let announcement = try #require(
                NeighbourFrame(announcing: scene.vip.address, at: mac ?? [], isRouter: false))
            // A busy machine asks once more, and is still announcing when we stop to look.
            let probes = frames.prefix { $0 == probe }
            #expect(probes.count >= 3)
            let announcements = frames.dropFirst(probes.count)
            #expect(announcements.count >= 2 && announcements.allSatisfy { $0 == announcement })
            let carried = try #require(try await scene.carried())
            #expect(carried.isTagged && !carried.isUnusable && carried.preferredLifetime == 0)
            #expect(carried.flags & UInt32(IFA_F_NODAD) != 0 && carried.validLifetime <= 1)
        }
    }

    @Test("a holder that never goes: claimed after two seconds, and reported with its MAC until it is gone")
    func holderStays() async throws {
        try await withTwoHosts(v4) { scene async throws in
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

    @Test(
        "a take-over waits for a member's kernel, and not for a host that is none, of IPv4 as of IPv6",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func members(text: String) async throws {
        let (stranger, member) = (
            try #require(HardwareAddress([2, 0, 0x5E, 0, 0, 9])), try #require(HardwareAddress([2, 0, 0x5E, 0, 0, 3]))
        )
        // The other host of the scene has the MAC of the stranger.
        try await withTwoHosts(text, hint: LeadHint(memberMACs: [member])) { scene async throws in
            try await scene.otherHolds()
            let begin = scene.lead()
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            print("from the lease to the address beside a host that is no member:", begin.duration(to: set))
            #expect(begin.duration(to: set) < .milliseconds(300))
            try await wait("the report") {
                await scene.ownership.snapshot().addresses.first?.foreignHolder == stranger
            }
        }
        try await withTwoHosts(text, hint: LeadHint(memberMACs: [member, stranger])) { scene async throws in
            try await scene.otherHolds()
            let begin = scene.lead()
            try await wait("the word that it is waited for") {
                await scene.ownership.snapshot().addresses.first?.detail?.contains("still answers for it") == true
            }
            try await scene.otherLetsGo()
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            #expect(try await scene.witness.next(1, isSet: false, after: begin) <= set)
        }
    }

    @Test("a host that appears after the question was answered and before the lease is there is not overlooked")
    func appears() async throws {
        try await withTwoHosts(v4, hint: LeadHint(leads: true)) { scene async throws in
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
        try await withTwoHosts(v4, hint: LeadHint(leads: true, isHandedOver: true)) { scene async throws in
            try await scene.otherHolds()
            let begin = scene.lead()
            let set = try await scene.witness.next(0, isSet: true, after: begin)
            #expect(begin.duration(to: set) < .milliseconds(250))
            #expect(await scene.ownership.snapshot().counters.probes == 0)
        }
    }
}
