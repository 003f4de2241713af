import CLinux
import Platform
import Testing

@testable import VIP

@Suite("ownership: neighbours are told one by one")
struct OwnershipCoreNeighbourTests {
    private let vip: VirtualAddress
    private let host: Neighbour

    init() throws {
        vip = try VirtualAddress(parsing: "192.0.2.10/24")
        host = Neighbour(
            interfaceIndex: 2, address: try #require(IPAddress("192.0.2.9")),
            hardwareAddress: HardwareAddress([2, 0, 0, 0, 0, 9]), state: UInt16(NUD_REACHABLE))
    }

    /// Holds the address since `OwnershipBench.start`.
    private func holder() -> OwnershipBench {
        var bench = OwnershipBench(tells: true)
        bench.neighbours = [host]
        bench.lease = Lease(term: 5, end: OwnershipBench.start.advanced(by: .seconds(60)))
        bench.run(.desired([vip]))
        return bench
    }

    @Test("behind the first broadcast, in time, and counted")
    func told() {
        var bench = holder()
        #expect(bench.core.counters.announcements == 1 && bench.core.counters.neighboursTold == 0)
        let due = OwnershipBench.start.advanced(by: .milliseconds(20))
        #expect(bench.core.nextWake(lease: bench.lease, now: bench.now) == due)
        bench.now = due
        #expect(bench.run().filter { $0.contains("ell") || $0.contains("read") } == ["read neighbours of 1", "tell 1"])
        #expect(bench.core.counters.neighboursTold == 1)
        #expect(bench.violations.isEmpty)
    }

    @Test("nobody is told without a lease, nor of an address that is not held any more")
    func lost() {
        var bench = holder()
        let notice = OwnershipDirective.tellNeighbours([NeighbourNotice(vip, to: host)])
        #expect(bench.core.permits(notice, lease: bench.lease, now: bench.now))
        #expect(!bench.core.permits(notice, lease: nil, now: bench.now))
        #expect(!bench.core.permits(notice, lease: bench.lease, now: OwnershipBench.start.advanced(by: .seconds(60))))
        bench.now = OwnershipBench.start.advanced(by: .milliseconds(10))
        bench.run(.desired([]))
        #expect(!bench.core.permits(notice, lease: bench.lease, now: bench.now))
        bench.now = OwnershipBench.start.advanced(by: .milliseconds(30))
        #expect(!bench.run().contains { $0.contains("tell") })
        #expect(bench.core.counters.neighboursTold == 0)
    }

    @Test("again after the link came back and after a partition healed")
    func again() {
        var bench = holder()
        bench.now = OwnershipBench.start.advanced(by: .seconds(5))
        bench.run()
        bench.now = OwnershipBench.start.advanced(by: .seconds(6))
        bench.run()
        let before = bench.core.counters.neighboursTold
        bench.run(.announceAgain)
        bench.now = bench.now.advanced(by: .milliseconds(20))
        bench.run()
        #expect(bench.core.counters.neighboursTold == before + 1)
    }
}

@Suite("neighbours on the real kernel", .serialized)
struct NeighbourKernelTests {
    @Test("the kernel's table of one interface, in both families")
    func table() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { namespace in
            try await namespace.script(
                """
                ip link add w0 type veth peer name w1
                ip link set w0 up
                ip neigh add 192.0.2.9 lladdr 02:00:5e:00:00:09 dev v0 nud stale
                ip neigh add 192.0.2.8 lladdr 02:00:5e:00:00:08 dev w0 nud stale
                ip -6 neigh add fe80::9 lladdr 02:00:5e:00:00:09 dev v0 nud reachable
                """)
            let (four, six) = try await namespace.session { session, index in
                (
                    try session.neighbours(.v4, interface: index).found,
                    try session.neighbours(.v6, interface: index).found
                )
            }
            let mac = HardwareAddress([2, 0, 0x5E, 0, 0, 9])
            #expect(four.filter(\.isHost).map(\.address) == [IPAddress("192.0.2.9")])
            #expect(four.first?.hardwareAddress == mac && four.first?.isFresh == false)
            let host = try #require(six.first { $0.address == IPAddress("fe80::9") })
            #expect(host.hardwareAddress == mac && host.isHost && host.isFresh)
            #expect(six.allSatisfy { $0.address == host.address || !$0.isHost }, "the rest are groups")
        }
    }

    @Test("a batch of 150 frames arrives whole and in order; a link that is down takes none and says so")
    func batch() async throws {
        try await withVirtualEthernet { namespace in
            try await namespace.session { session, _ throws in
                let capture = try PacketCapture(interface: "v1")
                let announcer = try AddressAnnouncer()
                let link = try #require(try session.link(named: "v0"))
                // More than one batch, and less than the queue of the capture.
                let vips = try (1...75).map { try VirtualAddress(parsing: "192.0.2.\($0)/24") }
                #expect(try announcer.announce(vips, on: link) == .sent)
                var seen: [IPAddress] = []
                while seen.count < 150, let (bytes, _) = try capture.next(within: .seconds(2)) {
                    let frame = try #require(ARPFrame(decoding: bytes))
                    #expect(frame.isGratuitous && frame.source == link.hardwareAddress)
                    seen.append(frame.senderAddress)
                }
                #expect(seen == vips.flatMap { [$0.address, $0.address] })
                _ = try runCommand(["ip", "link", "set", "v0", "down"])
                let error = #expect(throws: SystemError.self) { try announcer.announce(vips, on: link) }
                #expect(error?.errno == ENETDOWN)
            }
        }
    }

    @Test(
        "a host that heeds no gratuitous ARP learns where the address is all the same",
        .timeLimit(.minutes(1)))
    func deafNeighbour() async throws {
        try await withTwoHosts("192.0.2.10/24", neighbours: NeighbourSchedule()) { scene async throws in
            // The other host has talked with an earlier holder, and takes nothing that it has not asked for from everybody.
            try await scene.other.script(
                """
                sysctl -qw net.ipv4.conf.v1.drop_gratuitous_arp=1
                ip neigh replace 192.0.2.10 lladdr 02:00:5e:00:00:aa dev v1 nud stale
                """)
            try await scene.ours.command(
                "ip", "neigh", "replace", "192.0.2.2", "lladdr", "02:00:5e:00:00:09", "dev", "v0", "nud", "reachable")
            scene.lead()
            try await wait("the first round") { await scene.ownership.snapshot().counters.neighboursTold >= 1 }
            #expect(await scene.ownership.snapshot().counters.announcements >= 1)
            let ours = try await scene.ours.session { session, _ throws in
                try #require(try session.link(named: "v0")?.hardwareAddress)
            }
            let mac = try #require(HardwareAddress(ours)).description
            try await wait("the other host's entry") {
                try await scene.other.command("ip", "neigh", "show", "192.0.2.10").contains("lladdr \(mac)")
            }
        }
    }

    @Test("IPv6: the known hosts get the advertisement to their own address", .timeLimit(.minutes(1)))
    func six() async throws {
        try await withTwoHosts("2001:db8::10/64", neighbours: NeighbourSchedule()) { scene async throws in
            try await scene.ours.command(
                "ip", "-6", "neigh", "replace", "2001:db8::2", "lladdr", "02:00:5e:00:00:09", "dev", "v0", "nud",
                "stale")
            let capture = try await scene.other.run { try PacketCapture(interface: "v1", type: ETH_P_IPV6) }
            scene.lead()
            let frames = try await scene.other.run { () throws -> [NeighbourFrame] in
                var frames: [NeighbourFrame] = []
                while frames.count < 2, let frame = try capture.nextNeighbour(within: .seconds(3)) {
                    if frame.message != .solicitation, frame.linkAddress != nil { frames.append(frame) }
                }
                return frames
            }
            #expect(frames.first?.destinationAddress == NeighbourFrame.allNodes.address, "everybody comes first")
            #expect(frames.last?.destinationAddress == IPAddress("2001:db8::2"))
            #expect(frames.last?.destination == scene.stranger.bytes)
            #expect(frames.last?.target == scene.vip.address)
        }
    }
}
