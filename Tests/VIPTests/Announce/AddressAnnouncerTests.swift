import CLinux
import Platform
import Testing

@testable import VIP

@Suite("AddressAnnouncer on the real kernel")
struct AddressAnnouncerTests {
    private let vip: VirtualAddress
    init() throws { vip = try VirtualAddress(parsing: "192.0.2.10/24") }

    @Test("the peer sees the request form and the reply form, byte for byte, from the MAC of that moment")
    func frames() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.script("ip link set v0 address 02:00:5e:10:20:30")
            try await namespace.session { session, _ throws in
                let capture = try PacketCapture(interface: "v1")
                let announcer = try AddressAnnouncer()
                let link = try #require(try session.link(named: "v0"))
                #expect(try announcer.announce(vip, on: link) == .sent)
                #expect(try capture.next(within: .seconds(2))?.bytes == ARPFrameTests.requestForm)
                #expect(try capture.next(within: .seconds(2))?.bytes == ARPFrameTests.replyForm)
                #expect(try capture.next(within: .milliseconds(50)) == nil)

                _ = try runCommand(["ip", "link", "set", "v0", "address", "02:00:5e:77:77:77"])
                let changed = try #require(try session.link(named: "v0"))
                #expect(try announcer.announce(vip, on: changed) == .sent)
                let frame = try #require(try capture.next(within: .seconds(2)).flatMap { ARPFrame(decoding: $0.bytes) })
                #expect(frame.source == [0x02, 0x00, 0x5E, 0x77, 0x77, 0x77])
                #expect(frame.senderHardwareAddress == frame.source)
            }
        }
    }

    @Test("IPv6: the peer sees one advertisement, byte for byte; on a router it says so")
    func advertisement() async throws {
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { namespace in
            try await namespace.script("ip link set v0 address 02:00:5e:10:20:30")
            try await namespace.session { session, _ throws in
                let capture = try PacketCapture(interface: "v1", type: ETH_P_IPV6)
                func seen() throws -> [UInt8]? {
                    while let (bytes, _) = try capture.next(within: .milliseconds(500)) {
                        if bytes.count > 54, bytes[54] == 136 { return bytes }
                    }
                    return nil
                }
                let announcer = try AddressAnnouncer()
                let link = try #require(try session.link(named: "v0"))
                #expect(try announcer.announce(six, on: link) == .sent)
                #expect(try seen() == NeighbourFrameTests.advertisement)
                #expect(try seen() == nil)
                _ = try runCommand(["sysctl", "-qw", "net.ipv6.conf.v0.forwarding=1"])
                #expect(try announcer.announce(six, on: link) == .sent)
                let frame = try #require(try seen().flatMap(NeighbourFrame.init(decoding:)))
                #expect(frame.message == .advertisement(isRouter: true, isSolicited: false, overrides: true))
            }
        }
    }

    @Test("IPv6: a Linux neighbour that just spoke with the previous holder takes the new MAC")
    func neighbourIPv6() async throws {
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { namespace in
            try await withNetworkNamespace { neighbour in
                try await namespace.command("ip", "link", "set", "v1", "netns", try await neighbour.threadIdentifier())
                try await neighbour.script(
                    """
                    ip link set v1 up
                    ip address add 2001:db8::1/64 dev v1 nodad
                    """)
                try await namespace.script("ip link set v0 address 02:00:5e:00:00:01")
                try await namespace.session { try $0.set(six, interface: $1, validLifetime: 60, prefixRoute: true) }
                try await neighbour.command("ping", "-6", "-c", "1", "-W", "5", "2001:db8::10")
                #expect(try await neighbour.command("ip", "neigh", "show").contains("02:00:5e:00:00:01"))
                try await namespace.session { session, _ throws in
                    var link = try #require(try session.link(named: "v0"))
                    link.hardwareAddress = [2, 0, 0x5E, 0, 0, 2]
                    #expect(try AddressAnnouncer().announce(six, on: link) == .sent)
                }
                let neighbours = try await neighbour.command("ip", "neigh", "show")
                #expect(neighbours.contains("2001:db8::10 dev v1 lladdr 02:00:5e:00:00:02"), "\(neighbours)")
            }
        }
    }

    @Test("on the wire the default burst has repeats more than a second apart")
    func spacing() async throws {
        try await withVirtualEthernet { [vip] namespace in
            let times = try await namespace.session { session, _ throws in
                let capture = try PacketCapture(interface: "v1")
                let announcer = try AddressAnnouncer()
                let link = try #require(try session.link(named: "v0"))
                var schedule = AnnounceSchedule()
                var times: [BootInstant] = []
                schedule.claimed(now: BootClock.now)
                while times.count < 5, let next = schedule.next {
                    pause(max(.zero, BootClock.now.duration(to: next)))
                    guard schedule.due(now: BootClock.now) else { continue }
                    #expect(try announcer.announce(vip, on: link) == .sent)
                    for _ in ARPFrame.Operation.allCases {
                        let (bytes, time) = try #require(try capture.next(within: .seconds(2)))
                        let frame = try #require(ARPFrame(decoding: bytes))
                        #expect(frame.senderAddress == vip.address)
                        if frame.operation == .request { times.append(time) }
                    }
                }
                return times
            }
            let gaps = zip(times, times.dropFirst()).map { $0.duration(to: $1) }
            for (gap, planned) in zip(gaps, AnnounceSchedule.defaultBurst.dropFirst()) {
                #expect(gap > planned - .milliseconds(20) && gap < planned + .milliseconds(500), "\(gaps)")
            }
            #expect(gaps.count == 4)
            #expect(gaps.filter { $0 > .milliseconds(1050) }.count == 3)
        }
    }

    @Test("a Linux neighbour that just spoke with the previous holder takes the new MAC", .timeLimit(.minutes(1)))
    func neighbour() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.2/24") { [vip] namespace in
            try await withNetworkNamespace { neighbour in
                try await namespace.command("ip", "link", "set", "v1", "netns", try await neighbour.threadIdentifier())
                try await neighbour.script(
                    """
                    ip link set v1 up
                    ip address add 192.0.2.1/24 dev v1
                    """)
                try await namespace.script("ip link set v0 address 02:00:5e:00:00:01")
                try await namespace.session { try $0.set(vip, interface: $1, validLifetime: 60) }
                // The previous holder answers.
                try await neighbour.command("ping", "-c", "1", "-W", "2", "192.0.2.10")
                #expect(try await neighbour.command("ip", "neigh", "show").contains("02:00:5e:00:00:01"))
                // The next holder has another MAC and announces.
                try await namespace.script("ip link set v0 address 02:00:5e:00:00:02")
                try await namespace.session { session, _ throws in
                    let link = try #require(try session.link(named: "v0"))
                    #expect(try AddressAnnouncer().announce(vip, on: link) == .sent)
                }
                let neighbours = try await neighbour.command("ip", "neigh", "show")
                #expect(neighbours.contains("192.0.2.10 dev v1 lladdr 02:00:5e:00:00:02"), "\(neighbours)")
            }
        }
    }

    @Test("interfaces without ARP are passed over with the reason")
    func skipped() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.script("ip link set v0 arp off")
            try await namespace.session { session, _ throws in
                let announcer = try AddressAnnouncer()
                let loopback = try #require(try session.link(named: "lo"))
                #expect(try announcer.announce(vip, on: loopback) == .skipped(reason: "lo is a loopback interface"))
                let silent = try #require(try session.link(named: "v0"))
                #expect(try announcer.announce(vip, on: silent) == .skipped(reason: "v0 does not use ARP (NOARP)"))
                let tunnel = LinkState(index: 9, name: "tun0", hardwareType: 65534, hardwareAddress: [], flags: 1)
                #expect(
                    try announcer.announce(vip, on: tunnel)
                        == .skipped(reason: "tun0 is no Ethernet interface (hardware type 65534)"))
                let nameless = LinkState(index: 9, name: "e0", hardwareType: 1, hardwareAddress: [], flags: 1)
                #expect(try announcer.announce(vip, on: nameless) == .skipped(reason: "e0 has no MAC of 6 bytes"))
            }
        }
    }

    @Test("a link that is down or gone is an error with address, interface and remedy")
    func errors() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, _ throws in
                let announcer = try AddressAnnouncer()
                let link = try #require(try session.link(named: "v0"))
                _ = try runCommand(["ip", "link", "set", "v0", "down"])
                let down = #expect(throws: SystemError.self) { try announcer.announce(vip, on: link) }
                #expect(down?.errno == ENETDOWN)
                #expect(down?.description.contains("cannot announce 192.0.2.10/24 on v0: ") == true)
                #expect(down?.remedy?.contains("ip link set v0 up") == true)
                _ = try runCommand(["ip", "link", "delete", "v0"])
                let gone = #expect(throws: SystemError.self) { try announcer.announce(vip, on: link) }
                #expect(gone?.errno == ENXIO || gone?.errno == ENODEV)
                #expect(gone?.remedy?.contains("the interface is gone") == true)
            }
        }
    }

    @Test("without CAP_NET_RAW there is no announcer, and the error says what to do")
    func unprivileged() async throws {
        try await withNetworkNamespace { namespace in
            try await namespace.run { () throws in
                guard clinux_drop_thread_capabilities() == 0 else { throw SystemError.last("drop capabilities") }
                let error = #expect(throws: SystemError.self) { try AddressAnnouncer() }
                #expect(error?.errno == EPERM)
                #expect(error?.remedy?.contains("it needs CAP_NET_RAW: run as root, or `setcap") == true)
            }
        }
    }
}
