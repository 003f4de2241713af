import CLinux
import Platform
import Testing

@testable import VIP

@Suite("AddressProber on the real kernel")
struct AddressProberTests {
    private let vip: VirtualAddress
    private let stranger: HardwareAddress

    init() throws {
        vip = try VirtualAddress(parsing: "192.0.2.10/24")
        stranger = try #require(HardwareAddress([2, 0, 0x5E, 0, 0, 9]))
    }

    /// What has come in, after all that was sent arrived: veth delivers within the sender's call, or soon after it.
    private static func heard(_ prober: AddressProber) -> [AddressSighting] {
        pause(.milliseconds(20))
        return prober.received()
    }

    @Test("a Linux host that has the address answers, also when it is deprecated; another address is not answered for")
    func answer() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { [vip, stranger] ours in
            try await withNetworkNamespace { other in
                try await ours.command("ip", "link", "set", "v1", "netns", try await other.threadIdentifier())
                try await other.script(
                    """
                    ip link set v1 address 02:00:5e:00:00:09
                    ip link set v1 up
                    ip address add 192.0.2.2/24 dev v1
                    ip address add 192.0.2.10/24 dev v1 valid_lft 60 preferred_lft 0
                    """)
                try await ours.session { session, index throws in
                    while try session.link(named: "v0")?.canSend != true { pause(.milliseconds(1)) }
                    let link = try #require(try session.link(named: "v0"))
                    let prober = AddressProber(interface: index, own: [link])
                    try prober.probe(vip, on: link)
                    let sighting = try #require(Self.heard(prober).first)
                    #expect(sighting.address == vip.address && sighting.claimant == .holder)
                    #expect(sighting.hardwareAddress == stranger)
                    let free = try VirtualAddress(parsing: "192.0.2.11/24")
                    try prober.probe(free, on: link)
                    #expect(Self.heard(prober).isEmpty)
                    // The first address is still listened for.
                    try prober.probe(vip, on: link)
                    #expect(Self.heard(prober).map(\.address) == [vip.address])
                }
            }
        }
    }

    @Test(
        "announcements and probes of others are heard; our own MACs, clients and other addresses are not",
        arguments: [1, 300])
    func filter(addresses: Int) async throws {
        try await withVirtualEthernet { [vip, stranger] namespace in
            try await namespace.session { session, index throws in
                func link(_ name: String, mac: [UInt8]? = nil) throws -> LinkState {
                    var link = try #require(try session.link(named: name))
                    if let mac { link.hardwareAddress = mac }
                    return link
                }
                let ours = try link("v0")
                let prober = AddressProber(interface: index, own: try session.links())
                try prober.probe(vip, on: ours)
                for number in 1..<addresses {
                    try prober.probe(
                        VirtualAddress(parsing: "198.51.\(100 + number / 250).\(1 + number % 250)/32"), on: ours)
                }
                _ = Self.heard(prober)

                let announcer = try AddressAnnouncer()
                _ = try announcer.announce(vip, on: try link("v1", mac: stranger.bytes))
                let announced = Self.heard(prober)
                #expect(announced.map(\.claimant) == [.holder, .holder])
                #expect(announced.allSatisfy { $0.address == vip.address && $0.hardwareAddress == stranger })

                let rival = AddressProber(interface: try link("v1").index, own: [])
                try rival.probe(vip, on: try link("v1", mac: stranger.bytes))
                #expect(Self.heard(prober).map(\.claimant) == [.rival])

                // v1 is an interface of this host too.
                _ = try announcer.announce(vip, on: try link("v1"))
                #expect(Self.heard(prober).isEmpty)
                if addresses == 1 {
                    let other = try VirtualAddress(parsing: "192.0.2.77/24")
                    _ = try announcer.announce(other, on: try link("v1", mac: stranger.bytes))
                    #expect(Self.heard(prober).isEmpty)
                }
            }
        }
    }

    @Test("an IPv6 holder answers to all nodes; another address is not answered for")
    func answerIPv6() async throws {
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { [stranger] ours in
            try await withNetworkNamespace { other in
                try await ours.command("ip", "link", "set", "v1", "netns", try await other.threadIdentifier())
                try await other.script(
                    """
                    ip link set v1 address 02:00:5e:00:00:09
                    ip link set v1 up
                    ip address add 2001:db8::10/64 dev v1 nodad valid_lft 60 preferred_lft 0
                    """)
                try await ours.session { session, index throws in
                    while try session.link(named: "v0")?.canSend != true { pause(.milliseconds(1)) }
                    let link = try #require(try session.link(named: "v0"))
                    let prober = AddressProber(interface: index, own: [link])
                    try prober.probe(six, on: link)
                    #expect(
                        Self.heard(prober) == [
                            AddressSighting(address: six.address, hardwareAddress: stranger, claimant: .holder)
                        ])
                    try prober.probe(try VirtualAddress(parsing: "2001:db8::11/64"), on: link)
                    #expect(Self.heard(prober).isEmpty)
                }
            }
        }
    }

    @Test(
        "IPv6: advertisements, probes and solicitations of others are heard, and what is said of other addresses is not",
        arguments: [1, 300])
    func filterIPv6(addresses: Int) async throws {
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { [stranger] namespace in
            try await namespace.session { session, index throws in
                func link(_ name: String, mac: [UInt8]? = nil) throws -> LinkState {
                    var link = try #require(try session.link(named: name))
                    if let mac { link.hardwareAddress = mac }
                    return link
                }
                let prober = AddressProber(interface: index, own: try session.links())
                var listened: Set<IPAddress> = [six.address]
                for number in 1..<addresses {
                    listened.insert(try VirtualAddress(parsing: "2001:db8::1:\(number)/64").address)
                }
                try prober.listen(for: listened)
                _ = Self.heard(prober)

                let announcer = try AddressAnnouncer()
                let elsewhere = try link("v1", mac: stranger.bytes)
                _ = try announcer.announce(six, on: elsewhere)
                #expect(Self.heard(prober).map(\.claimant) == [.holder])
                let rival = AddressProber(interface: elsewhere.index, own: [])
                try rival.probe(six, on: elsewhere)
                let asked = Self.heard(prober)
                #expect(asked.map(\.claimant) == [.rival])
                #expect(asked.first?.hardwareAddress == stranger)

                _ = try announcer.announce(six, on: try link("v1"))
                _ = try announcer.announce(VirtualAddress(parsing: "2001:db8::77/64"), on: elsewhere)
                #expect(Self.heard(prober).isEmpty)
                // Not listened for any more.
                try prober.listen(for: [])
                _ = try announcer.announce(six, on: elsewhere)
                #expect(Self.heard(prober).isEmpty)
            }
        }
    }

    @Test("what is said on a VLAN for which this host has no interface is not of this LAN; a priority alone is no VLAN")
    func otherLAN() async throws {
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { [vip, stranger] namespace in
            try await namespace.session { session, index throws in
                let prober = AddressProber(interface: index, own: [])
                try prober.listen(for: [vip.address, six.address])
                let other = try #require(try session.link(named: "v1"))
                let socket = try PacketSocket(for: "a test")
                let frames = [
                    try #require(ARPFrame(announcing: vip.address, at: stranger.bytes, as: .reply)).bytes,
                    try #require(NeighbourFrame(announcing: six.address, at: stranger.bytes, isRouter: false)).bytes,
                ]
                /// With a tag of IEEE 802.1Q: three bits of priority, then twelve of the VLAN.
                func send(tag: [UInt8]) throws {
                    for frame in frames {
                        try socket.send(frame[..<12] + [0x81, 0] + tag + frame[12...], interface: other.index)
                    }
                }
                try send(tag: [0, 5])
                #expect(Self.heard(prober).isEmpty)
                try send(tag: [0xE0, 0])
                #expect(Set(Self.heard(prober).map(\.address)) == [vip.address, six.address])
            }
        }
    }

    @Test(
        "what another device of this host was sent through the interface is not of its LAN, as with the device of a VLAN"
    )
    func otherDevice() async throws {
        // A macvlan takes the way of a VLAN's device: the frame goes round again with that as its device, and comes to the
        // sockets of the one below, too (`another_round` in net/core/dev.c).
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { [vip, stranger] namespace in
            try await namespace.script(
                """
                ip link add link v0 name m0 address 02:00:5e:00:00:77 type macvlan mode private
                ip link set m0 up
                """)
            try await namespace.session { session, index throws in
                let (ours, above) = (
                    AddressProber(interface: index, own: []),
                    AddressProber(interface: try #require(try session.link(named: "m0")).index, own: [])
                )
                for prober in [ours, above] { try prober.listen(for: [vip.address, six.address]) }
                let other = try #require(try session.link(named: "v1"))
                let socket = try PacketSocket(for: "a test")
                let frames = [
                    try #require(ARPFrame(announcing: vip.address, at: stranger.bytes, as: .reply)).bytes,
                    try #require(NeighbourFrame(announcing: six.address, at: stranger.bytes, isRouter: false)).bytes,
                ]
                func send(to destination: [UInt8]) throws {
                    for frame in frames { try socket.send(destination + frame[6...], interface: other.index) }
                }
                try send(to: [2, 0, 0x5E, 0, 0, 0x77])
                #expect(Self.heard(ours).isEmpty)
                #expect(Set(Self.heard(above).map(\.address)) == [vip.address, six.address])
                try send(to: try #require(try session.link(named: "v0")).hardwareAddress)
                #expect(Set(Self.heard(ours).map(\.address)) == [vip.address, six.address])
                #expect(Self.heard(above).isEmpty)
            }
        }
    }

    @Test("on a bridge, whose ports take the frames in, they are heard")
    func bridge() async throws {
        try await withVirtualEthernet { [vip, stranger] namespace in
            try await namespace.script(
                """
                ip link add b0 type bridge stp_state 0 forward_delay 0
                ip link set v0 master b0
                ip link set b0 up
                """)
            try await namespace.session { session, _ throws in
                let bridge = try #require(try session.link(named: "b0"))
                let prober = AddressProber(interface: bridge.index, own: [])
                try prober.listen(for: [vip.address])
                var other = try #require(try session.link(named: "v1"))
                other.hardwareAddress = stranger.bytes
                _ = try AddressAnnouncer().announce(vip, on: other)
                #expect(Self.heard(prober).map(\.hardwareAddress) == [stranger, stranger])
            }
        }
    }

    @Test(
        "where there is a device for a VLAN, its LAN is heard on that device and not on the one below",
        .enabled(if: Kernel.hasVLANs, "this kernel has no 8021q: the way of a VLAN's frames cannot be tried here"))
    func otherVLAN() async throws {
        let six = try VirtualAddress(parsing: "2001:db8::10/64")
        try await withVirtualEthernet { [vip, stranger] namespace in
            try await namespace.script(
                """
                ip link add link v0 name v0.5 type vlan id 5
                ip link set v0.5 up
                """)
            try await namespace.session { session, index throws in
                let below = AddressProber(interface: index, own: [])
                let device = try #require(try session.link(named: "v0.5"))
                let above = AddressProber(interface: device.index, own: [])
                for prober in [below, above] { try prober.listen(for: [vip.address, six.address]) }
                let other = try #require(try session.link(named: "v1"))
                let socket = try PacketSocket(for: "a test")
                for frame in [
                    try #require(ARPFrame(announcing: vip.address, at: stranger.bytes, as: .reply)).bytes,
                    try #require(NeighbourFrame(announcing: six.address, at: stranger.bytes, isRouter: false)).bytes,
                ] {
                    try socket.send(frame[..<12] + [0x81, 0, 0, 5] + frame[12...], interface: other.index)
                }
                #expect(Self.heard(below).isEmpty)
                #expect(Set(Self.heard(above).map(\.address)) == [vip.address, six.address])
            }
        }
    }

    @Test("a flood that the queue cannot take is told of, until the queue has been emptied")
    func flood() async throws {
        try await withVirtualEthernet { [vip, stranger] namespace in
            try await namespace.session { session, index throws in
                let prober = AddressProber(interface: index, own: [])
                try prober.listen(for: [vip.address])
                _ = prober.received()
                #expect(!prober.hasMissed)
                let other = try #require(try session.link(named: "v1"))
                let frame = try #require(ARPFrame(announcing: vip.address, at: stranger.bytes, as: .reply)).bytes
                let socket = try PacketSocket(for: "a test")
                try socket.send(frame, interface: other.index)
                #expect(Self.heard(prober).count == 1 && !prober.hasMissed)
                for _ in 0..<200 {
                    _ = try? socket.send([[UInt8]](repeating: frame, count: 64), interface: other.index)
                }
                #expect(!Self.heard(prober).isEmpty && prober.hasMissed)
                while !prober.received().isEmpty {}
                #expect(!prober.hasMissed)
                try socket.send(frame, interface: other.index)
                #expect(Self.heard(prober).count == 1 && !prober.hasMissed)
            }
        }
    }

    @Test("a link that is down and missing rights are errors with the remedy")
    func errors() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, index throws in
                let link = try #require(try session.link(named: "v0"))
                let prober = AddressProber(interface: index, own: [])
                try prober.probe(vip, on: link)
                _ = try runCommand(["ip", "link", "set", "v0", "down"])
                let down = #expect(throws: SystemError.self) { try prober.probe(vip, on: link) }
                #expect(down?.errno == ENETDOWN)
                #expect(down?.description.contains("cannot ask for 192.0.2.10/24 on v0") == true)
                #expect(prober.received().isEmpty)
            }
        }
        try await withNetworkNamespace { [vip] namespace in
            try await namespace.run { () throws in
                guard clinux_drop_thread_capabilities() == 0 else { throw SystemError.last("drop capabilities") }
                let prober = AddressProber(interface: 1, own: [])
                let error = #expect(throws: SystemError.self) { try prober.listen(for: [vip.address]) }
                #expect(error?.errno == EPERM)
                #expect(error?.remedy?.contains("CAP_NET_RAW") == true)
            }
        }
    }

    @Test("the frame of a probe: RFC 5227 section 2.1.1")
    func frame() throws {
        let frame = try #require(ARPFrame(probing: vip.address, from: [2, 0, 0x5E, 0x10, 0x20, 0x30]))
        #expect(
            frame.bytes
                == hex(
                    """
                    ffffffffffff 02005e102030 0806   // to all, from us, ARP
                    0001 0800 06 04 0001             // Ethernet, IPv4, request
                    02005e102030 00000000            // sender: our MAC, no address
                    000000000000 c000020a            // target: unknown MAC, 192.0.2.10
                    """))
        #expect(ARPFrame(decoding: frame.bytes) == frame)
        #expect(ARPFrame(probing: try #require(IPAddress("fd00::1")), from: frame.source) == nil)
        #expect(ARPFrame(probing: vip.address, from: [1, 2, 3]) == nil)
    }

    @Test("what a packet says: its sender has his address, or asks for another's when he has none")
    func sightings() throws {
        let mac: [UInt8] = [2, 0, 0x5E, 0, 0, 9]
        let probe = try #require(ARPFrame(probing: vip.address, from: mac))
        #expect(AddressSighting(probe)?.claimant == .rival)
        for operation in ARPFrame.Operation.allCases {
            let announcement = try #require(ARPFrame(announcing: vip.address, at: mac, as: operation))
            #expect(AddressSighting(announcement)?.claimant == .holder)
            #expect(AddressSighting(announcement)?.hardwareAddress == stranger)
        }
        // A reply without a sender address says nothing.
        var bytes = probe.bytes
        bytes[21] = 2
        #expect(AddressSighting(try #require(ARPFrame(decoding: bytes))) == nil)
        #expect(stranger.description == "02:00:5e:00:00:09")
    }
}
