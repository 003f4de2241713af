import CLinux
import Platform
import Synchronization
import Testing

@testable import VIP

@Suite("ownership: another host announces a held address, on the kernel", .serialized)
struct OwnershipConflictTests {
    /// No burst: what is announced after the take-over is an answer.
    private let quiet = AnnounceSchedule(burst: [.zero], refresh: .seconds(60))

    /// Waits for the address and for the one announcement that comes with it.
    private func takeOver(_ scene: TwoHosts) async throws {
        let begin = scene.lead()
        _ = try await scene.witness.next(0, isSet: true, after: begin)
        try await wait("the announcement") { await scene.ownership.snapshot().counters.announcements == 1 }
    }

    @Test(
        "announced fifty times a second for more than three seconds: reported at once, answered once a second, and over when it is",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func insistent(text: String) async throws {
        try await withTwoHosts(text, schedule: quiet) { scene async throws in
            try await takeOver(scene)
            let isV4 = scene.vip.address.family == .v4
            let capture = try await scene.other.run {
                try PacketCapture(interface: "v1", type: isV4 ? ETH_P_ARP : ETH_P_IPV6)
            }
            let begin = BootClock.now
            let vip = scene.vip
            // The times at which our announcements arrive at the other host, which announces all the while.
            let answers = try await scene.other.run { () throws -> [BootInstant] in
                let session = try NetlinkSession()
                let announcer = try AddressAnnouncer()
                let link = try #require(try session.link(named: "v1"))
                var answers: [BootInstant] = []
                // A little longer than the third answer takes on a machine that does other work.
                while begin.duration(to: BootClock.now) < .milliseconds(3500) {
                    _ = try announcer.announce(vip, on: link)
                    let pause = BootClock.now.advanced(by: .milliseconds(20))
                    while BootClock.now < pause,
                        let (bytes, time) = try capture.next(within: BootClock.now.duration(to: pause))
                    {
                        if isV4, let frame = ARPFrame(decoding: bytes) {
                            if frame.isGratuitous, frame.operation == .request { answers.append(time) }
                        } else if let frame = NeighbourFrame(decoding: bytes), frame.message != .solicitation {
                            answers.append(time)
                        }
                    }
                }
                return answers
            }
            let gaps = zip(answers, answers.dropFirst()).map { $0.duration(to: $1) }
            print("the first answer after", answers.first.map { begin.duration(to: $0) } ?? .zero, "then", gaps)
            #expect((3...4).contains(answers.count), "\(gaps)")
            #expect(gaps.allSatisfy { $0 > .milliseconds(900) }, "\(gaps)")
            // The announcement of the take-over was just before.
            let first = try #require(answers.first)
            #expect(begin.duration(to: first) < .milliseconds(1300))
            let snapshot = await scene.ownership.snapshot()
            #expect(snapshot.addresses.first?.foreignHolder == scene.stranger)
            #expect(snapshot.addresses.first?.state == .held)
            #expect(snapshot.counters.foreignClaims >= 100 && snapshot.counters.conflicts == 1)
            // It never answers a question: so it is gone.
            try await wait("the end of the report") {
                await scene.ownership.snapshot().addresses.first?.foreignHolder == nil
            }
            var told: [OwnershipEvent] = []
            for await event in scene.ownership.events {
                told.append(event)
                if event == .foreignHolder(vip, nil) { break }
            }
            #expect(told.suffix(2) == [.foreignHolder(vip, scene.stranger), .foreignHolder(vip, nil)])
        }
    }

    @Test(
        "a host that sets the address later is reported as long as it has it",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func later(text: String) async throws {
        try await withTwoHosts(text, schedule: quiet) { scene async throws in
            try await takeOver(scene)
            try await scene.otherHolds()
            try await scene.otherAnnounces()
            try await wait("the report") {
                await scene.ownership.snapshot().addresses.first?.foreignHolder == scene.stranger
            }
            // Asked for after five seconds, it answers: the report stands.
            let probes = await scene.ownership.snapshot().counters.probes
            try await wait("a question") { await scene.ownership.snapshot().counters.probes > probes }
            try await Task.sleep(for: .milliseconds(100))
            #expect(await scene.ownership.snapshot().addresses.first?.foreignHolder == scene.stranger)
            try await scene.otherLetsGo()
            try await wait("the end of the report") {
                await scene.ownership.snapshot().addresses.first?.foreignHolder == nil
            }
        }
    }

    @Test("clients that followed the other host come back to us")
    func clients() async throws {
        try await withTwoHosts("192.0.2.10/24", schedule: quiet) { scene async throws in
            try await takeOver(scene)
            let mac = try await scene.ours.session { session, _ throws in
                HardwareAddress(try #require(try session.link(named: "v0")).hardwareAddress)
            }
            let ours = try #require(mac).description
            // The other host's own cache stands for that of a client.
            try await scene.other.command("ping", "-c", "1", "-W", "2", "192.0.2.10")
            try await scene.other.script("ip neigh replace 192.0.2.10 lladdr 02:00:5e:00:00:77 dev v1 nud stale")
            try await scene.otherAnnounces()
            try await wait("our MAC at the client") {
                try await scene.other.command("ip", "neigh", "show", "192.0.2.10").contains(ours)
            }
        }
    }

    @Test("a planned hand-over is no conflict")
    func handOver() async throws {
        let handsOver = Mutex(false)
        try await withTwoHosts(
            "192.0.2.10/24", "2001:db8::10/64",
            hint: LeadHint(leads: true, handsOver: handsOver.withLock { $0 }), schedule: quiet
        ) { scene async throws in
            scene.lead()
            try await wait("both addresses") { await scene.ownership.snapshot().counters.announcements == 2 }
            handsOver.withLock { $0 = true }
            scene.ownership.kick()
            _ = await scene.ownership.snapshot()
            for _ in 0..<5 { try await scene.otherAnnounces() }
            try await Task.sleep(for: .milliseconds(600))
            let snapshot = await scene.ownership.snapshot()
            #expect(snapshot.counters.announcements == 2 && snapshot.counters.foreignClaims == 0)
        }
    }
}
