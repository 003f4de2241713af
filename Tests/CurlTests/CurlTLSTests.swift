import Curl
import Glibc
import Lab
import Platform
import Testing

@Suite("libcurl: TLS", .timeLimit(.minutes(2)))
struct CurlTLSTests {
    private typealias TLS = CurlRequest.TLS

    private let files: Certificates

    init() throws {
        files = try Certificates()
        try files.makeAuthority("authority")
        try files.makeCertificate("server", for: "IP:127.0.0.1", by: "authority")
    }

    private var authority: TLS.Material { .file(files.path("authority.pem")) }

    private func status(_ server: TLSServer, _ tls: TLS) async throws -> Int {
        try await CurlClient().send(CurlRequest("GET", server.url, tls: tls, proxy: .none)).status
    }

    private func failure(_ server: TLSServer, _ tls: TLS) async -> CurlFailure? {
        await #expect(throws: CurlFailure.self) { try await status(server, tls) }
    }

    @Test("a server is trusted whose authority is given as a file, a text or a directory")
    func authorities() async throws {
        let server = try await TLSServer(files, "server")
        #expect(try await status(server, TLS(authorities: authority)) == 200)
        #expect(try await status(server, TLS(authorities: .pem(files.bytes("authority.pem")))) == 200)
        let directory = files.path("authorities")
        mkdir(directory, 0o700)
        try ToolCommand.check(["cp", files.path("authority.pem"), directory])
        try ToolCommand.check(["openssl", "rehash", directory])
        #expect(try await status(server, TLS(authorityDirectory: directory)) == 200)
    }

    @Test("a server is refused whose authority is not known, and the reason told")
    func unknownAuthority() async throws {
        let server = try await TLSServer(files, "server")
        try files.makeAuthority("stranger")
        let settings = [
            TLS(), TLS(authorities: .file(files.path("stranger.pem"))),
            TLS(authorities: .pem(try files.bytes("stranger.pem"))), TLS(authorityDirectory: "/var/empty"),
        ]
        for tls in settings {
            let failure = await failure(server, tls)
            #expect(failure?.code == .tls, "\(String(describing: failure))")
            #expect(failure?.text.contains("certificate") == true, "\(String(describing: failure))")
        }
        #expect(try await status(server, TLS(verifiesServer: false)) == 200)
    }

    @Test("a server of another name is refused, unless that name is asked for; it is what the server is told, too")
    func names() async throws {
        try files.makeCertificate("other", for: "DNS:vault.example", by: "authority")
        let other = try await TLSServer(files, "other")
        let failure = await failure(other, TLS(authorities: authority))
        #expect(failure?.code == .tls)
        #expect(failure?.text.contains("127.0.0.1") == true, "\(String(describing: failure))")
        #expect(try await status(other, TLS(authorities: authority, serverName: "vault.example")) == 200)
        #expect(await self.failure(other, TLS(authorities: authority, serverName: "vault2.example"))?.code == .tls)

        // Shows the certificate of that name only to who asks for the name.
        let both = try await TLSServer(
            files, "server",
            ["-servername", "vault.example", "-cert2", files.path("other.pem"), "-key2", files.path("other.key")])
        #expect(try await status(both, TLS(authorities: authority)) == 200)
        #expect(try await status(both, TLS(authorities: authority, serverName: "vault.example")) == 200)
    }

    @Test("a server's name for TLS changes neither the host that is asked nor the one in the request")
    func hostStays() async throws {
        let server = try HTTPServer()
        defer { server.stop() }
        let answer = try await CurlClient().send(
            CurlRequest("GET", server.url + "/echo", tls: TLS(serverName: "vault.example"), proxy: .none))
        #expect(String(decoding: answer.body, as: UTF8.self).contains("Host: 127.0.0.1:\(server.port)\r\n"))
    }

    @Test("a server that wants a certificate gets ours, from files or texts")
    func clientCertificate() async throws {
        let server = try await TLSServer(
            files, "server", ["-Verify", "1", "-verify_return_error", "-CAfile", files.path("authority.pem")])
        try files.makeCertificate("client", for: "DNS:client", by: "authority")
        let certificate = try files.bytes("client.pem")
        let key = try files.bytes("client.key")
        try DurableFile.write(certificate + key, to: files.path("both.pem"))
        let good = [
            TLS(
                authorities: authority, certificate: .file(files.path("client.pem")),
                key: .file(files.path("client.key"))),
            TLS(authorities: authority, certificate: .pem(certificate), key: .pem(key)),
            TLS(authorities: authority, certificate: .file(files.path("client.pem")), key: .pem(key)),
            TLS(authorities: authority, certificate: .pem(certificate), key: .file(files.path("client.key"))),
            TLS(authorities: authority, certificate: .file(files.path("both.pem"))),
            TLS(authorities: authority, certificate: .pem(certificate + key)),
        ]
        for tls in good { #expect(try await status(server, tls) == 200) }

        try files.makeAuthority("stranger")
        try files.makeCertificate("unknown", for: "DNS:client", by: "stranger")
        let bad = [
            TLS(authorities: authority),
            TLS(
                authorities: authority, certificate: .file(files.path("unknown.pem")),
                key: .file(files.path("unknown.key"))),
        ]
        for tls in bad {
            let failure = await failure(server, tls)
            #expect(failure?.code == .tls, "\(String(describing: failure))")
            #expect(failure?.text.contains("alert") == true, "\(String(describing: failure))")
        }
    }

    @Test("a certificate or key that cannot be used is named")
    func badFiles() async throws {
        let server = try await TLSServer(files, "server")
        try files.makeCertificate("client", for: "DNS:client", by: "authority")
        try DurableFile.write(Array("no PEM".utf8), to: files.path("garbage.pem"))
        try ToolCommand.check(
            [
                "openssl", "ec", "-in", files.path("client.key"), "-aes128", "-passout", "pass:secret", "-out",
                files.path("encrypted.key"),
            ])
        let certificate = TLS.Material.file(files.path("client.pem"))
        let cases: [(TLS, String?)] = [
            (TLS(authorities: .file(files.path("missing.pem"))), "missing.pem"),
            (TLS(authorities: .file(files.path("garbage.pem"))), "garbage.pem"),
            (TLS(authorities: .pem(Array("no PEM".utf8))), nil),
            (TLS(authorities: .pem([])), nil),
            (TLS(authorities: authority, certificate: .file(files.path("absent.pem"))), "absent.pem"),
            (TLS(authorities: authority, certificate: certificate, key: .file(files.path("absent.key"))), "absent.key"),
            (TLS(authorities: authority, certificate: certificate, key: .file(files.path("server.key"))), "server.key"),
            (
                TLS(authorities: authority, certificate: certificate, key: .file(files.path("encrypted.key"))),
                "encrypted.key"
            ),
            (TLS(authorities: authority, certificate: .pem([]), key: .pem([])), nil),
        ]
        for (tls, name) in cases {
            let failure = await failure(server, tls)
            #expect(failure?.code == .badCertificate, "\(String(describing: failure))")
            if let name { #expect(failure?.text.contains(files.path(name)) == true, "\(String(describing: failure))") }
        }
    }

    @Test("an authority's file is read anew for each connection")
    func changedFile() async throws {
        let server = try await TLSServer(files, "server")
        try files.makeAuthority("stranger")
        let path = files.path("current.pem")
        let client = CurlClient()
        let request = CurlRequest("GET", server.url, tls: TLS(authorities: .file(path)), proxy: .none)
        try DurableFile.write(try files.bytes("authority.pem"), to: path)
        #expect(try await client.send(request).status == 200)
        try DurableFile.write(try files.bytes("stranger.pem"), to: path)
        let failure = await #expect(throws: CurlFailure.self) { try await client.send(request) }
        #expect(failure?.code == .tls)
        try DurableFile.write(try files.bytes("authority.pem"), to: path)
        #expect(try await client.send(request).status == 200)
    }
}
