import Platform
import Testing
import VIP

@Suite("HostAddress")
struct HostAddressTests {
    private func found(_ namespace: NetworkNamespace, excluding: String...) async throws -> String {
        let excluded = Set(excluding.compactMap { IPAddress($0) })
        return try await namespace.run { try HostAddress.firstGlobalIPv4(of: "v0", excluding: excluded).description }
    }

    /// Sets an address as the product does; the `ip` of Debian 12 cannot tag.
    private func setVirtual(_ text: String, in namespace: NetworkNamespace) async throws {
        try await namespace.run {
            let session = try NetlinkSession()
            let link = try #require(try session.link(named: "v0"))
            try session.set(try VirtualAddress(parsing: text), interface: link.index, validLifetime: 600)
        }
    }

    @Test("the first global IPv4 address is chosen, past virtual, excluded, link-only and IPv6 ones")
    func choice() async throws {
        try await withNetworkNamespace { namespace in
            try await namespace.script("ip link add v0 type veth peer name v1")
            try await setVirtual("10.3.0.5/24", in: namespace)
            try await namespace.script(
                """
                ip link set v0 up
                ip address add 169.254.3.3/16 scope link dev v0
                ip address add fd00::7/64 nodad dev v0
                ip address add 10.1.0.9/24 dev v0
                ip address add 10.2.0.9/24 dev v0
                """)
            #expect(try await found(namespace) == "10.1.0.9")
            #expect(try await found(namespace, excluding: "10.1.0.9", "10.9.9.9") == "10.2.0.9")
        }
    }

    @Test("an interface that does not exist is answered with those that do")
    func missing() async throws {
        try await withNetworkNamespace { namespace in
            try await namespace.script("ip link add v0 type veth peer name v1")
            let error = await #expect(throws: HostAddress.LookupError.self) {
                try await namespace.run { try HostAddress.firstGlobalIPv4(of: "eth9") }
            }
            #expect(error?.description.contains("there is no network interface \"eth9\": this host has lo, ") == true)
            #expect(error?.description.contains("v0") == true)
        }
    }

    @Test("an interface without an address of the host says which were passed over, and why")
    func none() async throws {
        try await withNetworkNamespace { namespace in
            try await namespace.script("ip link add v0 type veth peer name v1")
            let bare = await #expect(throws: HostAddress.LookupError.self) { try await found(namespace) }
            #expect(bare == .noAddress("v0", left: []))
            try await setVirtual("10.3.0.5/24", in: namespace)
            try await namespace.script("ip address add 169.254.3.3/16 scope link dev v0")
            let error = await #expect(throws: HostAddress.LookupError.self) { try await found(namespace) }
            let message = error?.description ?? ""
            #expect(message.contains("10.3.0.5 is a virtual address"), "\(message)")
            #expect(message.contains("169.254.3.3 is valid on this link"), "\(message)")
        }
    }
}
