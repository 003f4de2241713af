import Glibc
import Lab
import Platform
import Testing

@testable import Discovery

@Suite("etcd: users and passwords", .etcd(.init(arguments: ["--auth-token-ttl", "1"])), .serialized)
struct EtcdUserTests {
    private static let password = "pass word"
    private let user: [String: JSONValue] = ["username": .string("node"), "password": .string(password)]

    /// All in one, since the server goes through it in this order.
    @Test(
        "credentials: needed, wrong, right, without permission; the token is fetched again when it is old or forgotten")
    func users() async throws {
        let bench = try EtcdBench("users")
        let servers = bench.servers
        let root = "--user=root:root"
        for command in [
            ["user", "add", "root", "--new-user-password=root"], ["user", "grant-role", "root", "root"],
            ["role", "add", "app"], ["role", "grant-permission", "app", "readwrite", "--prefix", "/test/users/"],
            ["user", "add", "node", "--new-user-password=\(Self.password)"], ["user", "grant-role", "node", "app"],
        ] {
            let result = try await tool(servers.etcdctl(command))
            try #require(result.isSuccess, "\(result.text)")
        }
        // Asked before and after it wants credentials, the store learns of the change.
        let store = try bench.store(user, timeToLive: 60)
        _ = try await store.read()
        try await servers.control("auth", "enable")
        let hold = try await store.openHold()
        #expect(try await store.putNode("n1", [1], under: hold))
        #expect(try await store.renew(hold))
        #expect(try await store.putLeader([1], replacing: nil, under: hold))

        try await refused(bench.store(), "it wants a user: give username and password in --disco-config")
        try await refused(
            bench.store(["username": .string("node"), "password": .string("hunter2")]),
            "correct username and password in --disco-config")
        let elsewhere = try EtcdStore(servers.configuration(user), key: "else where")
        try await refused(
            elsewhere, "`etcdctl role grant-permission ROLE readwrite --prefix '/else where/'`", "the user \"node\"")

        // Twice as long as a token lives that nobody uses.
        try await Task.sleep(for: .milliseconds(2500))
        #expect(try await store.read().nodes.keys.sorted() == ["n1"])
        // A token of this kind is in the memory of the members alone.
        try await servers.killAndWait(0)
        try servers.start(0)
        try await servers.serves()
        #expect(try await store.read().nodes.keys.sorted() == ["n1"])
        #expect(try await store.renew(hold))
        try await store.release(hold)

        let result = try await tool(servers.etcdctl([root, "auth", "disable"]))
        try #require(result.isSuccess, "\(result.text)")
        #expect(try await store.read() == StoreSnapshot())
    }

    private func refused(_ store: EtcdStore, _ parts: String...) async throws {
        let error = await #expect(throws: DiscoveryError.self) { try await store.read() }
        #expect(error?.code == .refused)
        for part in parts { #expect(error?.message.contains(part) == true, "\(error?.message ?? "")") }
        #expect(error?.message.contains("hunter2") != true)
    }
}

@Suite("etcd: TLS", .etcd(try .tls()))
struct EtcdTLSTests {
    private func fields(_ authority: TestAuthority) -> [String: JSONValue] {
        [
            "ca_file": .string(authority.file), "cert_file": .string(authority.client.certificate),
            "key_file": .string(authority.client.key),
        ]
    }

    @Test("with an authority, a certificate and a key the store works, also by a name that the certificate bears")
    func works() async throws {
        let bench = try EtcdBench()
        let fields = fields(try #require(bench.servers.authority))
        let store = try bench.store(fields)
        let hold = try await store.openHold()
        #expect(try await store.putNode("n1", [1], under: hold))
        #expect(try await store.renew(hold))
        #expect(try await store.read().nodes["n1"] == [1])
        let named = try bench.store(fields.merging(["server_name": .string("etcd.test")]) { $1 })
        #expect(try await named.read().nodes["n1"] == [1])
        // The command for the way out knows the files.
        let result = try await tool(["sh", "-c", store.deleteLeaderCommand])
        #expect(result.isSuccess, "\(result.text)")
    }

    @Test("without verification any certificate is taken, though not any client")
    func unverified() async throws {
        let bench = try EtcdBench()
        var fields = fields(try #require(bench.servers.authority))
        fields["ca_file"] = nil
        fields["insecure_skip_verify"] = .bool(true)
        #expect(try await bench.store(fields).read() == StoreSnapshot())
    }

    @Test("errors say which check failed: unknown authority, wrong name, no certificate of ours, no TLS at all")
    func errors() async throws {
        let bench = try EtcdBench()
        let authority = try #require(bench.servers.authority)
        let all = fields(authority)
        let plain = bench.servers.endpoints.map { JSONValue.string("http" + $0.dropFirst("https".count)) }
        for (change, parts) in [
            (["ca_file": .null], ["signed by an authority of this host (or give ca_file)"]),
            (["server_name": .string("other.test")], ["made for \"other.test\" (server_name)"]),
            (["cert_file": .null, "key_file": .null], ["does it want one of ours (cert_file)?"]),
            (
                ["cert_file": .null, "key_file": .null, "ca_file": .null, "endpoints": .array(plain)],
                ["Write https:// where it has TLS"]
            ),
        ] as [([String: JSONValue], [String])] {
            let store = try bench.store(all.merging(change) { $1 })
            let error = await #expect(throws: DiscoveryError.self) { try await store.read() }
            for part in parts { #expect(error?.message.contains(part) == true, "\(error?.message ?? "")") }
        }
    }
}

extension EtcdServers.Options {
    static func tls() throws -> EtcdServers.Options {
        var template = Array("/tmp/dqlite-vip-tls-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let authority = try TestAuthority(in: directory)
        return EtcdServers.Options(
            arguments: ["--client-cert-auth", "--trusted-ca-file", authority.file], authority: authority)
    }
}
