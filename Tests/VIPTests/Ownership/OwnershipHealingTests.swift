import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: healing, on the kernel", .serialized)
struct OwnershipHealingTests {
    /// No burst: what is announced after the take-over has a reason of its own.
    private let quiet = AnnounceSchedule(burst: [.zero], refresh: .seconds(60))

    private func takeOver(_ scene: TwoHosts) async throws {
        scene.lead()
        try await wait("all addresses") {
            await scene.ownership.snapshot().counters.announcements >= UInt64(scene.addresses.count)
        }
    }

    /// The MACs from which an announcement of each address arrives at the other host, as soon as all have come.
    private func announced(_ scene: TwoHosts, during body: () async throws -> Void) async throws
        -> [IPAddress: HardwareAddress]
    {
        let captures = try await scene.other.run {
            (try PacketCapture(interface: "v1"), try PacketCapture(interface: "v1", type: ETH_P_IPV6))
        }
        try await body()
        return try await scene.other.run { [addresses = scene.addresses] in
            var found: [IPAddress: HardwareAddress] = [:]
            let end = BootClock.now.advanced(by: .seconds(5))
            while found.count < addresses.count, BootClock.now < end {
                if let (bytes, _) = try captures.0.next(within: .milliseconds(5)),
                    let frame = ARPFrame(decoding: bytes), frame.isGratuitous
                {
                    found[frame.senderAddress] = HardwareAddress(frame.senderHardwareAddress)
                }
                if let frame = try captures.1.nextNeighbour(within: .milliseconds(5)), frame.message != .solicitation {
                    found[frame.target] = HardwareAddress(frame.linkAddress ?? [])
                }
            }
            return found
        }
    }

    @Test("addresses of both families come and go as one")
    func dualStack() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64", "192.0.2.11/32") { scene async throws in
            try await takeOver(scene)
            for address in scene.addresses { #expect(try await scene.carried(address) != nil) }
            scene.lose()
            try await wait("the end of all", within: .milliseconds(500)) {
                await scene.ownership.snapshot().addresses.allSatisfy { $0.state == .released }
            }
            for address in scene.addresses { #expect(try await scene.carried(address) == nil) }
        }
    }

    @Test(
        "deleted by hand: back within 100 ms, without a question to the LAN",
        arguments: ["192.0.2.10/24", "2001:db8::10/64"])
    func deleted(text: String) async throws {
        try await withTwoHosts(text) { scene async throws in
            try await takeOver(scene)
            let probes = await scene.ownership.snapshot().counters.probes
            for _ in 0..<3 {
                let begin = BootClock.now
                try await scene.ours.command("ip", "address", "del", text, "dev", "v0")
                let gone = try await scene.witness.next(0, isSet: false, after: begin)
                let back = try await scene.witness.next(0, isSet: true, after: gone)
                print("deleted by hand: back after", gone.duration(to: back))
                #expect(gone.duration(to: back) < .milliseconds(100))
            }
            #expect(await scene.ownership.snapshot().counters.probes == probes)
            #expect(await scene.ownership.snapshot().counters.reinstated == 3)
        }
    }

    @Test("a network manager flushes the interface: all are back, IPv4 with the route that the host's address brought")
    func flushed() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64") { scene async throws in
            try await takeOver(scene)
            try await scene.ours.command("ip", "address", "flush", "dev", "v0")
            for address in scene.addresses {
                try await wait("\(address) again") { try await scene.carried(address) != nil }
            }
            try await wait("the route of the subnet") {
                try await scene.ours.command("ip", "route", "show", "dev", "v0").contains("192.0.2.0/24")
            }
            // Clients of both subnets are answered, also after some refreshes.
            try await scene.other.script("ip address add 2001:db8::2/64 dev v1 nodad")
            for _ in 0..<2 {
                try await scene.other.command("ping", "-c", "1", "-W", "2", "192.0.2.10")
                try await scene.other.command("ping", "-6", "-c", "1", "-W", "5", "2001:db8::10")
                try await Task.sleep(for: .milliseconds(600))
            }
        }
    }

    @Test("the host's address goes alone: the VIP brings the route of the subnet, and clients are answered")
    func hostLeaves() async throws {
        try await withTwoHosts("192.0.2.10/24") { scene async throws in
            try await takeOver(scene)
            try await scene.ours.command("ip", "address", "del", "192.0.2.1/24", "dev", "v0")
            try await wait("the route of the subnet") {
                try await scene.ours.command("ip", "route", "show", "dev", "v0").contains("192.0.2.0/24")
            }
            try await scene.other.command("ping", "-c", "1", "-W", "2", "192.0.2.10")
            #expect(await scene.ownership.snapshot().counters.reinstated <= 1)
        }
    }

    @Test("the VIP is there first, then the host's address: that becomes the first again, and stays when the VIP goes")
    func firstOfTheSubnet() async throws {
        try await withTwoHosts("198.51.100.10/24") { scene async throws in
            // As distributions other than those of systemd have it.
            try await scene.ours.command("sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=0")
            #expect(try await scene.ours.run { try SecondaryPromotion.isOn(interface: "v0") })
            try await takeOver(scene)
            try await scene.ours.command("ip", "address", "add", "198.51.100.1/24", "dev", "v0")
            try await wait("the VIP behind the host's address") {
                try await scene.carried()?.isSecondary == true
            }
            let routes = try await scene.ours.command("ip", "route", "show", "198.51.100.0/24")
            #expect(routes.contains("src 198.51.100.1") && !routes.contains("198.51.100.10"), "\(routes)")
            let lost = scene.lose()
            _ = try await scene.witness.next(0, isSet: false, after: lost)
            let left = try await scene.ours.session { try $0.v4($1) }
            #expect(left == ["192.0.2.1/24", "198.51.100.1/24"])
            var told: [OwnershipEvent] = []
            for await event in scene.ownership.events {
                told.append(event)
                if case .released = event { break }
            }
            #expect(told.contains(.reseated(scene.vip, withRoute: false)))
            #expect(!told.contains(.reinstated(scene.vip)))
        }
    }

    @Test("a new MAC is announced for each address")
    func newMAC() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64", schedule: quiet) { scene async throws in
            try await takeOver(scene)
            let found = try await announced(scene) {
                try await scene.ours.script("ip link set v0 address 02:00:5e:44:44:44")
            }
            for address in scene.addresses {
                #expect(found[address.address]?.description == "02:00:5e:44:44:44", "\(found)")
            }
        }
    }

    @Test("the link goes down and up: each address is there and is announced")
    func linkFlap() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64", schedule: quiet) { scene async throws in
            try await takeOver(scene)
            try await scene.ours.script("ip link set v0 down")
            // The kernel takes IPv6 addresses from a link that goes down.
            try await wait("the report of the link") { await !scene.ownership.snapshot().isLinkUp }
            let found = try await announced(scene) {
                try await scene.ours.script("ip link set v0 up")
                try await carrier(of: scene.ours)
            }
            #expect(Set(found.keys) == Set(scene.addresses.map(\.address)))
            for address in scene.addresses {
                let carried = try #require(try await scene.carried(address))
                #expect(!carried.isUnusable)
            }
            // It serves a client at once.
            try await scene.other.script("ip address add 2001:db8::2/64 dev v1 nodad")
            try await scene.other.command("ping", "-6", "-c", "1", "-W", "5", "2001:db8::10")
        }
    }

    @Test("the carrier goes and comes: each address is announced")
    func carrierFlap() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64", schedule: quiet) { scene async throws in
            try await takeOver(scene)
            try await scene.other.script("ip link set v1 down")
            try await wait("the report of the link") { await !scene.ownership.snapshot().isLinkUp }
            let found = try await announced(scene) { try await scene.other.script("ip link set v1 up") }
            #expect(Set(found.keys) == Set(scene.addresses.map(\.address)))
        }
    }

    @Test("a healed partition is announced when it is told")
    func healed() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64", schedule: quiet) { scene async throws in
            try await takeOver(scene)
            let found = try await announced(scene) { scene.ownership.announceAgain() }
            #expect(Set(found.keys) == Set(scene.addresses.map(\.address)))
        }
    }

    @Test("the interface is deleted and made anew: all addresses are held on the new one")
    func interfaceAnew() async throws {
        try await withTwoHosts("192.0.2.10/24", "2001:db8::10/64") { scene async throws in
            try await takeOver(scene)
            let old = try await scene.ours.session { _, index in index }
            try await scene.ours.script("ip link del v0")
            try await wait("the end of the hold") {
                await scene.ownership.snapshot().addresses.allSatisfy { $0.state == .error }
            }
            try await scene.ours.script(
                """
                ip link add v0 type veth peer name v1
                ip link set v1 up
                ip link set v0 up
                """)
            for address in scene.addresses {
                try await wait("\(address) on the new interface") { try await scene.carried(address) != nil }
            }
            #expect(try await scene.ours.session { _, index in index } != old)
        }
    }

    @Test("IPv6 is switched off and on again on the interface: the error says so, and the address comes back")
    func switchedOff() async throws {
        try await withTwoHosts("2001:db8::10/64") { scene async throws in
            try await takeOver(scene)
            let begin = BootClock.now
            try await scene.ours.command("sysctl", "-qw", "net.ipv6.conf.v0.disable_ipv6=1")
            let gone = try await scene.witness.next(0, isSet: false, after: begin)
            try await wait("the error") {
                await scene.ownership.snapshot().addresses.first?.detail?.contains("disable_ipv6=0") == true
            }
            try await scene.ours.command("sysctl", "-qw", "net.ipv6.conf.v0.disable_ipv6=0")
            _ = try await scene.witness.next(0, isSet: true, after: gone)
        }
    }

    /// Sets the address with our tag, but with duplicate address detection.
    private func setWithDetection(_ address: VirtualAddress, in namespace: NetworkNamespace) async throws {
        try await namespace.session { _, index throws in
            var message = NetlinkRequest.setAddress(
                .init(
                    address: address, interface: index, validLifetime: .max, preferredLifetime: .max, exclusive: true,
                    prefixRoute: true)
            ).encode(sequence: 1)
            // The attribute IFA_FLAGS: its header, then the flags.
            let flags = try #require(message.firstRange(of: [8, 0, UInt8(IFA_FLAGS), 0])).upperBound
            message[flags] &= ~UInt8(IFA_F_NODAD)
            let socket = try NetlinkSocket()
            try socket.send(message)
            var buffer = [UInt8](repeating: 0, count: NetlinkSocket.receiveCapacity)
            #expect(try socket.receive(into: &buffer).map(\.content) == [.acknowledgement])
        }
    }

    @Test(
        "an address of ours on which duplicate address detection failed is removed, and claimed when the other is gone")
    func detectionFailed() async throws {
        try await withTwoHosts("2001:db8::10/64") { scene async throws in
            // Not wanted yet, so that it is left alone until the detection has failed.
            await scene.ownership.setDesired([])
            try await scene.otherHolds()
            try await setWithDetection(scene.vip, in: scene.ours)
            try await wait("the failure of the detection") {
                let flags = try await scene.carried()?.flags ?? 0
                return flags & UInt32(IFA_F_DADFAILED) != 0
            }
            let begin = scene.lead()
            await scene.ownership.setDesired([scene.vip])
            _ = try await scene.witness.next(0, isSet: false, after: begin)
            try await scene.otherLetsGo()
            try await wait("an address that serves") {
                let carried = try await scene.carried()
                return carried.map { !$0.isUnusable && $0.flags & UInt32(IFA_F_NODAD) != 0 } ?? false
            }
            #expect(await scene.ownership.snapshot().addresses.first?.state == .held)
        }
    }
}
