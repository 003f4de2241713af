import Testing
import VIP

@Suite("support: network namespaces")
struct NetworkNamespaceTests {
    @Test("namespaces are empty, apart from each other, and commands run inside them")
    func isolation() async throws {
        try await withNetworkNamespace { first in
            try await withNetworkNamespace { second in
                try await first.script("ip link add v0 type veth peer name v1")
                let names: @Sendable () throws -> [String] = { try NetlinkSession().links().map(\.name).sorted() }
                #expect(try await first.run(names) == ["lo", "v0", "v1"])
                #expect(try await second.run(names) == ["lo"])
                #expect(try await first.command("ip", "-o", "link").contains("v0@v1"))
            }
        }
    }

    @Test("a command that fails says so")
    func failure() async throws {
        try await withNetworkNamespace { namespace in
            _ = await #expect(throws: CommandFailure.self) {
                try await namespace.command("ip", "link", "set", "none", "up")
            }
        }
    }
}
