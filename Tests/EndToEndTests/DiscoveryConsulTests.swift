import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    @Suite("Consul")
    struct ConsulTests {
        /// What DOC/DISCOVERY.md tells operators to allow.
        private static let rules = """
            key_prefix "dqlite-vip/" { policy = "write" }
            session_prefix "" { policy = "write" }
            """

        @Test("access control and TLS: a token with the documented rules is enough, and a replaced file is read again")
        func closedStore() async throws {
            try await withLab(nodes: 3) { lab in
                let certificates = try LabCertificates(lab.network, names: ["consul.lab"])
                let consul = try LabConsul(
                    lab.network, accessControl: true, certificates: certificates, requiresClientCertificate: true)
                try await consul.start()
                let token = try await consul.createToken(rules: Self.rules)
                let narrow = try await consul.createToken(rules: #"key_prefix "other/" { policy = "write" }"#)
                func write(_ token: String, for node: LabNode) throws {
                    try DurableFile.write(Array("\(token)\n".utf8), to: "\(node.directory)/token")
                }
                let config = """
                    {"address":"\(consul.address)","scheme":"https","token_file":"token","tls_config":{
                     "address":"consul.lab","ca_file":"\(certificates.authority)",
                     "cert_file":"\(certificates.clientCertificate)","key_file":"\(certificates.clientKey)"}}
                    """
                for node in lab.nodes {
                    try write(node.number == 3 ? narrow : token, for: node)
                    try node.start(.discovering("consul-kv", config: config, expect: 3))
                }
                for number in 1...2 { try await lab[number].waits(for: "2 of 3 nodes found") }
                try await lab[3].status("refusal of the token") {
                    $0.discovery?.announceError?.contains("token") == true
                }
                // Without a restart of anything: the file is read again.
                try write(token, for: lab[3])
                let formation = try await lab.formation(within: .seconds(30))
                try await consul.isComplete(formation)

                let next = try await consul.createToken(rules: Self.rules)
                for node in lab.nodes { try write(next, for: node) }
                try await consul.deleteToken(secret: token)
                try await consul.kill()
                try await consul.start()
                try await consul.isComplete(formation, within: .seconds(40))
                for node in lab.nodes {
                    try await node.status("registration", within: .seconds(40)) {
                        $0.discovery?.isRegistered == true && $0.discovery?.announceError == nil
                    }
                    for secret in [token, narrow, next] {
                        #expect(!node.logText.contains(secret))
                        #expect(!(try await node.request("GET", "/status").text).contains(secret))
                    }
                }
            }
        }

        @Test("a session that ends, as by expiry, takes its records with it; they come back under a new one")
        func endedSessions() async throws {
            try await withLab(nodes: 3) { lab in
                let consul = try LabConsul(lab.network)
                try await consul.start()
                let formation = try await lab.startCluster(in: consul)
                let before = try await consul.sessions()
                #expect(before.count == 3)
                for session in before { try await consul.destroySession(session) }
                #expect(try await consul.nodes().isEmpty)
                try await consul.isComplete(formation, within: .seconds(30))
                #expect(Set(try await consul.sessions()).isDisjoint(with: before))
                #expect(try await lab.formation().leaderID == formation.leaderID)
            }
        }
    }
}
