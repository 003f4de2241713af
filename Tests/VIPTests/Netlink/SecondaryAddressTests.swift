import Platform
import Testing
import VIP

/// What `promote_secondaries` decides, as NetlinkSession's comment tells it.
@Suite("secondary addresses on the real kernel")
struct SecondaryAddressTests {
    private let vip: VirtualAddress
    init() throws { vip = try VirtualAddress(parsing: "192.0.2.10/24") }

    private func promotion(_ isOn: Bool, in namespace: NetworkNamespace) async throws {
        for name in ["all", "v0"] {
            try await namespace.command("sysctl", "-qw", "net.ipv4.conf.\(name).promote_secondaries=\(isOn ? 1 : 0)")
        }
    }

    @Test(
        "the loss of the host's primary takes our address along, unless secondaries are promoted",
        arguments: [false, true])
    func primaryGoes(isOn: Bool) async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { [vip] namespace in
            try await promotion(isOn, in: namespace)
            try await namespace.session { try $0.set(vip, interface: $1, validLifetime: 60) }
            try await namespace.command("ip", "address", "delete", "192.0.2.1/24", "dev", "v0")
            let left = try await namespace.session { try $0.v4($1) }
            #expect(left == (isOn ? ["192.0.2.10/24"] : []))
        }
    }

    @Test(
        "our address, there first, takes the host's along when it expires, unless promoted", arguments: [false, true])
    func oursGoes(isOn: Bool) async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await promotion(isOn, in: namespace)
            let monitor = try await namespace.run { try NetlinkMonitor() }
            try await namespace.session { try $0.set(vip, interface: $1) }
            try await namespace.command("ip", "address", "add", "192.0.2.1/24", "dev", "v0")
            try await removal(of: vip, seenBy: monitor)
            let left = try await namespace.session { try $0.v4($1) }
            #expect(left == (isOn ? ["192.0.2.1/24"] : []))
        }
    }

    @Test("a /32 has no secondaries and is none")
    func single() async throws {
        try await withVirtualEthernet { namespace in
            try await promotion(false, in: namespace)
            let single = try VirtualAddress(parsing: "192.0.2.10/32")
            try await namespace.session { try $0.set(single, interface: $1, validLifetime: 60) }
            try await namespace.command("ip", "address", "add", "192.0.2.1/24", "dev", "v0")
            try await namespace.session { session, link throws in
                #expect(try session.addresses(interface: link).allSatisfy { !$0.isSecondary })
                #expect(try session.delete(single, interface: link))
                #expect(try session.v4(link) == ["192.0.2.1/24"])
            }
        }
    }

    @Test("promotion is read from the interface and from all, and turned on for the interface")
    func setting() async throws {
        try await withVirtualEthernet { namespace in
            try await promotion(false, in: namespace)
            try await namespace.run { () throws in
                #expect(try !SecondaryPromotion.isOn(interface: "v0"))
                try SecondaryPromotion.enable(interface: "v0")
                #expect(try SecondaryPromotion.isOn(interface: "v0"))
                #expect(try !SecondaryPromotion.isOn(interface: "v1") || SecondaryPromotion.isOn(interface: "all"))
                let error = #expect(throws: SystemError.self) { try SecondaryPromotion.enable(interface: "eth9") }
                #expect(error?.remedy?.contains("sysctl -w net/ipv4/conf/eth9/promote_secondaries=1") == true)
            }
            try await namespace.command("sysctl", "-qw", "net.ipv4.conf.v0.promote_secondaries=0")
            try await namespace.command("sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1")
            #expect(try await namespace.run { try SecondaryPromotion.isOn(interface: "v0") })
        }
    }
}
