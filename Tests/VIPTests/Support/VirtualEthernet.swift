import CLinux
import Platform
import Testing
import VIP

/// A namespace with the two ends of a cable, `v0` and `v1`, both up; `v0` may have addresses already.
func withVirtualEthernet<Result: Sendable>(
    addresses: String..., body: (NetworkNamespace) async throws -> Result
) async throws -> Result {
    try await withNetworkNamespace { namespace in
        try await namespace.script(
            """
            ip link add v0 type veth peer name v1
            ip link set v1 up
            ip link set v0 up
            """)
        for address in addresses { try await namespace.command("ip", "address", "add", address, "dev", "v0") }
        return try await body(namespace)
    }
}

extension NetworkNamespace {
    /// Runs `body` on the namespace's thread with a session of its own and the index of `v0`.
    func session<Result: Sendable>(
        _ body: @escaping @Sendable (NetlinkSession, UInt32) throws -> Result
    ) async throws -> Result {
        try await run {
            let session = try NetlinkSession()
            let link = try #require(try session.link(named: "v0"))
            return try body(session, link.index)
        }
    }
}

extension NetlinkSession {
    /// All addresses of an interface in the form `192.0.2.10/24`.
    func all(_ interface: UInt32) throws -> Set<String> {
        Set(try addresses(interface: interface).map { "\($0.address)/\($0.prefixLength)" })
    }

    /// The IPv4 addresses of an interface in the form `192.0.2.10/24`.
    func v4(_ interface: UInt32) throws -> [String] {
        try addresses(interface: interface).filter { $0.address.family == .v4 }
            .map { "\($0.address)/\($0.prefixLength)" }
    }
}
