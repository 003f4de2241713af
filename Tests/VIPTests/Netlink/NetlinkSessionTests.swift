import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

@Suite("NetlinkSession on the real kernel")
struct NetlinkSessionTests {
    private let vip: VirtualAddress
    /// The kernel's timer is exact downwards and late upwards: see NetlinkSession.
    private static let plausibleLife: Range<Duration> = .milliseconds(900)..<(.milliseconds(2500))
    init() throws { vip = try VirtualAddress(parsing: "192.0.2.10/24") }

    @Test("an address that was set is tagged, global, never preferred, short-lived and without a route")
    func set() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, link throws in
                try session.set(vip, interface: link)
                let found = try #require(try session.addresses(interface: link).first { $0.matches(vip) })
                #expect(found.isTagged && found.isGlobal && !found.isSecondary)
                #expect(found.validLifetime <= 1)
                #expect(found.preferredLifetime == 0)
                #expect(found.flags & UInt32(IFA_F_NOPREFIXROUTE) != 0)
                #expect(found.flags & UInt32(IFA_F_PERMANENT) == 0)
                #expect(try session.reportsProtocolTags())
                #expect(try session.addresses().contains(found))
            }
            #expect(try await !namespace.command("ip", "-o", "address", "show", "dev", "v0").contains("brd"))
            #expect(try await namespace.command("ip", "-4", "route", "show").isEmpty)
        }
    }

    @Test("an address that is not refreshed vanishes by itself after about a second")
    func expiry() async throws {
        try await withVirtualEthernet { [vip] namespace in
            let monitor = try await namespace.run { try NetlinkMonitor() }
            let set = try await namespace.session { session, link throws in
                try session.set(vip, interface: link)
                return BootClock.now
            }
            try await removal(of: vip, seenBy: monitor)
            let life = set.duration(to: BootClock.now)
            #expect(Self.plausibleLife.contains(life), "\(life)")
        }
    }

    @Test("an address that is refreshed four times a second stays without a gap, and goes a second after the last")
    func refresh() async throws {
        try await withVirtualEthernet { [vip] namespace in
            let monitor = try await namespace.run { try NetlinkMonitor() }
            let last = try await namespace.session { session, link throws in
                var last = BootClock.now
                for _ in 0..<11 {
                    last = BootClock.now
                    try session.set(vip, interface: link)
                    pause(.milliseconds(250))
                }
                return last
            }
            try await removal(of: vip, seenBy: monitor)
            // Had it gone between two refreshes, this first removal would have been long before.
            let life = last.duration(to: BootClock.now)
            #expect(Self.plausibleLife.contains(life), "\(life)")
        }
    }

    @Test("the host's address of the same subnet and prefix length outlives deletion and expiry of ours")
    func sameSubnet() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { [vip] namespace in
            let routes = try await namespace.command("ip", "-4", "route", "show", "table", "main")
            #expect(routes.contains("192.0.2.0/24"))
            try await namespace.session { session, link throws in
                try session.set(vip, interface: link)
                #expect(try session.v4(link) == ["192.0.2.1/24", "192.0.2.10/24"])
                #expect(try session.addresses(interface: link).first { $0.matches(vip) }?.isSecondary == true)
                #expect(try session.delete(vip, interface: link))
                #expect(try session.v4(link) == ["192.0.2.1/24"])
            }
            let monitor = try await namespace.run { try NetlinkMonitor() }
            try await namespace.session { try $0.set(vip, interface: $1) }
            try await removal(of: vip, seenBy: monitor)
            #expect(try await namespace.session { try $0.v4($1) } == ["192.0.2.1/24"])
            #expect(try await namespace.command("ip", "-4", "route", "show", "table", "main") == routes)
        }
    }

    @Test("setting and removing changes no route of the main table, whatever the prefix length")
    func routes() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { namespace in
            try await namespace.script("ip route add default via 192.0.2.254")
            let main = try await namespace.command("ip", "-4", "route", "show", "table", "main")
            let local = try await namespace.command("ip", "-4", "route", "show", "table", "local")
            for text in ["192.0.2.10/24", "192.0.2.10/32", "192.0.2.10/16", "198.51.100.7/24"] {
                let address = try VirtualAddress(parsing: text)
                try await namespace.session { try $0.set(address, interface: $1) }
                #expect(try await namespace.command("ip", "-4", "route", "show", "table", "main") == main, "\(text)")
                #expect(try await namespace.session { try $0.delete(address, interface: $1) })
                #expect(try await namespace.command("ip", "-4", "route", "show", "table", "main") == main, "\(text)")
                #expect(try await namespace.command("ip", "-4", "route", "show", "table", "local") == local, "\(text)")
            }
        }
    }

    @Test("the connected route lets an interface without another address answer its subnet; without it, it cannot")
    func reachability() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await withNetworkNamespace { neighbour in
                try await namespace.command("ip", "link", "set", "v1", "netns", try await neighbour.threadIdentifier())
                try await neighbour.script(
                    """
                    ip link set v1 up
                    ip address add 192.0.2.1/24 dev v1
                    """)
                try await namespace.session { try $0.set(vip, interface: $1, validLifetime: 60) }
                _ = await #expect(throws: CommandFailure.self) {
                    try await neighbour.command("ping", "-c", "1", "-W", "1", "192.0.2.10")
                }
                try await namespace.session { session, link throws in
                    #expect(vip.needsPrefixRoute(among: try session.addresses(interface: link)))
                    try session.delete(vip, interface: link)
                    try session.set(vip, interface: link, validLifetime: 60, prefixRoute: true)
                }
                try await neighbour.command("ping", "-c", "1", "-W", "2", "192.0.2.10")
            }
        }
    }

    @Test("the connected route can be had for an interface without one")
    func prefixRoute() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { try $0.set(vip, interface: $1, validLifetime: 60, prefixRoute: true) }
            #expect(try await namespace.command("ip", "-4", "route", "show").contains("192.0.2.0/24 dev v0"))
            #expect(try await namespace.session { try $0.delete(vip, interface: $1) })
            #expect(try await namespace.command("ip", "-4", "route", "show").isEmpty)
        }
    }

    @Test("only the very prefix length is removed, and a second removal says that nothing was there")
    func exactDeletion() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.10/24") { [vip] namespace in
            let single = try VirtualAddress(parsing: "192.0.2.10/32")
            let other = try VirtualAddress(parsing: "192.0.2.11/24")
            try await namespace.session { session, link throws in
                #expect(try !session.delete(single, interface: link))
                #expect(try !session.delete(other, interface: link))
                try session.set(single, interface: link)
                #expect(try session.v4(link).sorted() == ["192.0.2.10/24", "192.0.2.10/32"])
                #expect(try session.delete(single, interface: link))
                #expect(try session.v4(link) == ["192.0.2.10/24"])
                #expect(try !session.delete(single, interface: link))
                #expect(try !session.delete(vip, interface: 4711))
            }
        }
    }

    @Test("an exclusive set refuses an address that is there, and leaves it as it was")
    func exclusive() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.10/24") { [vip] namespace in
            try await namespace.session { session, link throws in
                let error = #expect(throws: SystemError.self) { try session.set(vip, interface: link, exclusive: true) }
                #expect(error?.errno == EEXIST)
                #expect(error?.description.contains("192.0.2.10/24 on v0") == true)
                let found = try #require(try session.addresses(interface: link).first { $0.matches(vip) })
                #expect(found.validLifetime == .max && !found.isTagged)
            }
        }
    }

    @Test("without CAP_NET_ADMIN both orders fail with the remedy, and questions are answered")
    func unprivileged() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, link throws in
                guard clinux_drop_thread_capabilities() == 0 else { throw SystemError.last("drop capabilities") }
                for attempt in [
                    { try session.set(vip, interface: link) }, { _ = try session.delete(vip, interface: link) },
                ] {
                    let error = #expect(throws: SystemError.self) { try attempt() }
                    #expect(error?.errno == EPERM)
                    #expect(error?.description.contains("192.0.2.10/24") == true)
                    #expect(error?.remedy?.contains("it needs CAP_NET_ADMIN: run as root, or `setcap") == true)
                }
                #expect(try session.link(named: "v0")?.index == link)
                #expect(try session.v4(link).isEmpty)
            }
        }
    }

    @Test("errors name address and interface, and carry the kernel's own words")
    func errors() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, link throws in
                let gone = #expect(throws: SystemError.self) { try session.set(vip, interface: 4711) }
                #expect(gone?.errno == ENODEV)
                #expect(gone?.description.contains("192.0.2.10/24 on interface 4711") == true)
                let zero = #expect(throws: SystemError.self) {
                    try session.set(vip, interface: link, validLifetime: 0)
                }
                #expect(zero?.errno == EINVAL)
                #expect(zero?.remedy?.contains("the kernel says \"") == true, "\(String(describing: zero))")
            }
        }
    }

    @Test("links are found by name and alternative name, with MAC and state as they are")
    func links() async throws {
        try await withVirtualEthernet { namespace in
            try await namespace.script(
                """
                ip link property add dev v0 altname an-alternative-name-of-v0
                ip link set v0 address 02:00:5e:10:20:30
                ip link set v1 arp off
                """)
            try await namespace.session { session, index throws in
                let v0 = try #require(try session.link(named: "v0"))
                #expect(v0.hardwareAddress == [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30])
                #expect(v0.isUp && v0.hasCarrier && v0.isRunning && !v0.noARP && !v0.isLoopback)
                #expect(v0.hardwareType == UInt16(ARPHRD_ETHER))
                #expect(try session.link(named: "an-alternative-name-of-v0") == v0)
                #expect(try session.link(named: "v1")?.noARP == true)
                #expect(try session.link(named: "lo")?.isLoopback == true)
                for name in ["eth9", "", "v0\u{0}", String(repeating: "x", count: 200)] {
                    #expect(try session.link(named: name) == nil, "\(name)")
                }
                #expect(try session.links().map(\.name).sorted() == ["lo", "v0", "v1"])
                #expect(try session.addresses(interface: 4711).isEmpty)
            }
            try await namespace.script("ip link set v1 down")
            try await namespace.session { session, _ throws in
                let v0 = try #require(try session.link(named: "v0"))
                #expect(v0.isUp && !v0.hasCarrier && !v0.canSend)
            }
        }
    }

    @Test("an IPv6 address is set without duplicate detection, refreshed, and removed")
    func six() async throws {
        try await withVirtualEthernet(addresses: "fd00::1/64") { namespace in
            let address = try VirtualAddress(parsing: "fd00::10/64")
            try await namespace.session { session, link throws in
                for _ in 0..<2 { try session.set(address, interface: link) }
                let found = try #require(try session.addresses(interface: link).first { $0.matches(address) })
                #expect(found.isTagged && found.preferredLifetime == 0 && found.validLifetime <= 1)
                #expect(found.flags & UInt32(IFA_F_TENTATIVE) == 0)
                #expect(try session.delete(address, interface: link))
                #expect(try !session.delete(address, interface: link))
                #expect(try session.addresses(interface: link).contains { $0.address.description == "fd00::1" })
            }
        }
    }

    @Test("answers to an earlier request that nobody waited for are skipped")
    func staleAnswers() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { [vip] namespace in
            try await namespace.session { session, link throws in
                try session.socket.send(NetlinkRequest.dumpLinks.encode(sequence: 99))
                try session.socket.send(NetlinkRequest.deleteAddress(vip, interface: link).encode(sequence: 98))
                #expect(try session.v4(link) == ["192.0.2.1/24"])
            }
        }
    }

    @Test("a dump that is interrupted at each attempt gives what was found, and the monitor hears what interrupted it")
    func interruptedDump() async throws {
        try await withVirtualEthernet { namespace in
            let lasting = try (1...4000).map { try VirtualAddress(parsing: "10.0.\($0 / 200).\($0 % 200 + 1)/32") }
            let noise = try VirtualAddress(parsing: "10.9.9.9/32")
            let monitor = try await namespace.run { try NetlinkMonitor() }
            let heard = Task {
                for await event in monitor.events {
                    if case .addressRemoved(let found) = event, found.matches(noise) { return true }
                }
                return false
            }
            let partial = try await namespace.session { session, link throws -> [InterfaceAddress]? in
                for address in lasting { try session.set(address, interface: link, validLifetime: 600) }
                let isOver = Flag()
                for number in 1...2 {
                    try BlockingThread.start(named: "noise\(number)") {
                        guard let other = try? NetlinkSession() else { return }
                        while !isOver.isRaised {
                            try? other.set(noise, interface: link)
                            _ = try? other.delete(noise, interface: link)
                        }
                    }
                }
                defer { isOver.raise() }
                // With one attempt: ten in a row are interrupted too rarely for a test.
                let hasty = try NetlinkSession(dumpAttempts: 1)
                for _ in 0..<300 {
                    let reading = try hasty.presentAddresses()
                    if !reading.isWhole { return reading.found }
                }
                return nil
            }
            let found = Set(try #require(partial, "no reading was interrupted").map(\.address))
            // One is passed over at most for each change in the meantime.
            #expect(found.intersection(lasting.map(\.address)).count > 2000)
            #expect(await heard.value)
            monitor.stop()
        }
    }

    @Test("a dump of many addresses that change meanwhile misses none of those that stay")
    func disturbedDump() async throws {
        try await withVirtualEthernet { namespace in
            let lasting = try (1...400).map { try VirtualAddress(parsing: "10.0.\($0 / 200).\($0 % 200 + 1)/32") }
            try await namespace.session { session, link throws in
                for address in lasting { try session.set(address, interface: link, validLifetime: 600) }
                let noise = try VirtualAddress(parsing: "10.9.9.9/32")
                let isOver = Flag()
                try BlockingThread.start(named: "noise") {
                    guard let other = try? NetlinkSession() else { return }
                    while !isOver.isRaised {
                        try? other.set(noise, interface: link)
                        _ = try? other.delete(noise, interface: link)
                        pause(.milliseconds(1))
                    }
                }
                defer { isOver.raise() }
                for _ in 0..<20 {
                    let found = Set(try session.addresses(interface: link).map(\.address))
                    #expect(found.isSuperset(of: lasting.map(\.address)))
                }
            }
        }
    }
}
