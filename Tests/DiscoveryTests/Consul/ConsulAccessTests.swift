import Curl
import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

@testable import Discovery

/// What a real agent lets pass: tokens and TLS.
@Suite("Consul: access", .timeLimit(.minutes(3)), .serialized)
struct ConsulAccessTests {
    private func store(_ port: UInt16, _ change: (inout ConsulConfiguration) -> Void) throws -> ConsulStore {
        var configuration = ConsulConfiguration()
        configuration.address = .network(host: "127.0.0.1", port: port)
        change(&configuration)
        return try ConsulStore(configuration, key: "vip", environment: [:])
    }

    private func error(_ body: () async throws -> Void) async -> DiscoveryError? {
        await #expect(throws: DiscoveryError.self) { try await body() }
    }

    private static let enough = "key_prefix \"vip/\" { policy = \"write\" } session_prefix \"\" { policy = \"write\" }"

    @Test("a token with the rights that messages name is enough; who has less is told what is missing")
    func tokens() async throws {
        let agent = try await ConsulAgent(ConsulAgent.withACLs)
        let token = try await agent.makeToken(Self.enough)
        let good = try store(agent.http) { $0.token = token }
        let hold = try await good.openHold()
        #expect(try await good.putNode("a", [1], under: hold))
        #expect(try await good.putLeader([1], replacing: nil, under: hold))
        #expect(try await good.renew(hold))
        #expect(try await good.read().nodes == ["a": [1]])

        let anonymous = try store(agent.http) { _ in }
        let without = await error { _ = try await anonymous.openHold() }
        #expect(without?.code == .refused)
        #expect(without?.message.contains("Permission denied") == true, "\(String(describing: without))")
        #expect(without?.message.contains(Self.enough) == true, "\(String(describing: without))")
        #expect(without?.message.contains("\"token\"") == true, "\(String(describing: without))")

        let sessionsOnly = try await agent.makeToken("session_prefix \"\" { policy = \"write\" }")
        let poor = try store(agent.http) { $0.token = sessionsOnly }
        let poorHold = try await poor.openHold()
        for error in [
            await error { _ = try await poor.putNode("a", [2], under: poorHold) },
            await error { _ = try await poor.putLeader([2], replacing: nil, under: poorHold) },
            await error { _ = try await poor.putLeader([2], replacing: 1, under: poorHold) },
        ] {
            #expect(error?.code == .refused)
            #expect(error?.message.contains(Self.enough) == true, "\(String(describing: error))")
            #expect(error?.message.contains("vip/") == true)
            #expect(error?.message.contains(sessionsOnly) == false)
        }

        let wrong = "11111111-2222-3333-4444-555555555555"
        let stranger = try store(agent.http) { $0.token = wrong }
        let unknown = await error { _ = try await stranger.read() }
        #expect(unknown?.code == .refused)
        #expect(unknown?.message.contains("ACL not found") == true)
        #expect(unknown?.message.contains(wrong) == false)
        try await good.release(hold)
    }

    @Test("a token in a file is read anew when the file changes, and kept while there is none in it")
    func tokenFile() async throws {
        let agent = try await ConsulAgent(ConsulAgent.withACLs)
        let first = try await agent.makeToken(Self.enough)
        let path = agent.directory + "/token"
        try DurableFile.write(Array((first + "\n").utf8), to: path)
        let store = try store(agent.http) { $0.tokenFile = path }
        let hold = try await store.openHold()
        #expect(try await store.putNode("a", [1], under: hold))

        try DurableFile.write([], to: path)
        #expect(try await store.renew(hold))
        unlink(path)
        #expect(try await store.renew(hold))

        let second = try await agent.makeToken(Self.enough)
        try DurableFile.write(Array(second.utf8), to: path)
        #expect(try await store.read().nodes == ["a": [1]])
        try DurableFile.write(Array("11111111-2222-3333-4444-555555555555".utf8), to: path)
        let error = await error { _ = try await store.renew(hold) }
        #expect(error?.code == .refused)
        #expect(error?.message.contains(path) == true, "\(String(describing: error))")
        try DurableFile.write(Array(second.utf8), to: path)
        #expect(try await store.renew(hold))
    }

    @Test("files that cannot be read are named when the store is made")
    func missingFiles() async throws {
        let changes: [(String, (inout ConsulConfiguration) -> Void)] = [
            ("token_file", { $0.tokenFile = "/nowhere/token" }),
            ("ca_file", { $0.tls.authorityFile = "/nowhere/ca" }),
            ("ca_path", { $0.tls.authorityDirectory = "/nowhere" }),
            ("ca_path", { $0.tls.authorityDirectory = "/var/empty" }),
            ("cert_file", { $0.tls.certificateFile = "/nowhere/cert" }),
            (
                "key_file",
                {
                    $0.tls.certificateFile = "/etc/hostname"
                    $0.tls.keyFile = "/nowhere/key"
                }
            ),
        ]
        for (field, change) in changes {
            let error = #expect(throws: DiscoveryError.self) {
                try store(1) {
                    $0.scheme = .https
                    change(&$0)
                }
            }
            #expect(error?.code == .system)
            #expect(error?.message.contains(field) == true, "\(field): \(String(describing: error))")
        }
    }

    private func configure(_ files: Certificates, _ name: String) -> String {
        """
        {"ca_file": "\(files.path("authority.pem"))", "cert_file": "\(files.path(name + ".pem"))", \
        "key_file": "\(files.path(name + ".key"))", "verify_incoming_https": true}
        """
    }

    @Test("over TLS both sides are verified, with files, texts and directories as rqlite's configuration has them")
    func tls() async throws {
        let files = try Certificates()
        try files.makeAuthority("authority")
        try files.makeCertificate("server", for: "IP:127.0.0.1", by: "authority")
        try files.makeCertificate("client", for: "DNS:client", by: "authority")
        let agent = try await ConsulAgent(configure(files, "server"), hasTLS: true)
        mkdir(files.path("authorities"), 0o700)
        try ToolCommand.check(["cp", files.path("authority.pem"), files.path("authorities/any-name.txt")])

        func read(_ tls: String) async throws {
            let text = """
                {"scheme": "https", "address": "127.0.0.1:\(agent.https)", "tls_config": {\(tls)}}
                """
            guard case .object(let object) = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)) else {
                return
            }
            var fields = ConfigurationFields(object)
            let configuration = ConsulConfiguration(from: &fields)
            fields.finish()
            #expect(fields.faults.isEmpty, "\(fields.faults)")
            let store = try ConsulStore(configuration, key: "vip", environment: [:])
            #expect(try await store.read() == StoreSnapshot())
        }
        func base64(_ name: String) throws -> String { Data(try files.bytes(name)).base64EncodedString() }
        let ours = "\"cert_file\": \"\(files.path("client.pem"))\", \"key_file\": \"\(files.path("client.key"))\""
        let theirs = "\"ca_file\": \"\(files.path("authority.pem"))\""
        try await read("\(theirs), \(ours)")
        try await read("\"ca_path\": \"\(files.path("authorities"))\", \(ours)")
        try await read("\"insecure_skip_verify\": true, \(ours)")
        try await read(
            """
            "ca_pem": "\(try base64("authority.pem"))", "cert_pem": "\(try base64("client.pem"))", \
            "key_pem": "\(try base64("client.key"))"
            """)

        let untrusted = await error { try await read(ours) }
        #expect(untrusted?.code == .refused)
        #expect(untrusted?.message.contains("give the authority") == true, "\(String(describing: untrusted))")
        let anonymous = await error { try await read(theirs) }
        #expect(anonymous?.code == .refused)
        #expect(anonymous?.message.contains("give cert_file and key_file") == true, "\(String(describing: anonymous))")
        let named = await error { try await read("\(theirs), \(ours), \"address\": \"consul.example:8501\"") }
        #expect(named?.message.contains("consul.example") == true, "\(String(describing: named))")

        let plain = try store(agent.https) { _ in }
        let plainError = await error { _ = try await plain.read() }
        #expect(plainError?.message.contains("\"scheme\": \"https\"") == true, "\(String(describing: plainError))")
        let secure = try store(agent.http) { $0.scheme = .https }
        let secureError = await error { _ = try await secure.read() }
        #expect(secureError?.message.contains("HTTPS port") == true, "\(String(describing: secureError))")
    }

    @Test("the server's name for TLS may be another than the address")
    func serverName() async throws {
        let files = try Certificates()
        try files.makeAuthority("authority")
        try files.makeCertificate("server", for: "DNS:consul.example", by: "authority")
        try files.makeCertificate("client", for: "DNS:client", by: "authority")
        let agent = try await ConsulAgent(configure(files, "server"), hasTLS: true)
        let store = try store(agent.https) {
            $0.scheme = .https
            $0.tls.serverName = "consul.example"
            $0.tls.authorityFile = files.path("authority.pem")
            $0.tls.certificateFile = files.path("client.pem")
            $0.tls.keyFile = files.path("client.key")
        }
        #expect(try await store.read() == StoreSnapshot())
    }

    @Test("an open connection is not used for requests that trust less or show another certificate")
    func connections() async throws {
        let files = try Certificates()
        try files.makeAuthority("authority")
        try files.makeCertificate("server", for: "IP:127.0.0.1", by: "authority")
        try files.makeCertificate("client", for: "DNS:client", by: "authority")
        let agent = try await ConsulAgent(configure(files, "server"), hasTLS: true)
        let client = CurlClient()
        func status(_ tls: CurlRequest.TLS) async throws -> Int {
            try await client.send(
                CurlRequest("GET", "https://127.0.0.1:\(agent.https)/v1/status/leader", tls: tls)
            ).status
        }
        var tls = CurlRequest.TLS(
            certificate: .file(files.path("client.pem")), key: .file(files.path("client.key")), verifiesServer: false)
        #expect(try await status(tls) == 200)
        tls.verifiesServer = true
        let untrusted = await #expect(throws: CurlFailure.self) { try await status(tls) }
        #expect(untrusted?.code == .tls)
        let anonymous = await #expect(throws: CurlFailure.self) { try await status(.init(verifiesServer: false)) }
        #expect(anonymous?.code == .tls)
    }
}
