import Glibc
import Lab
import Platform
import Testing

extension EndToEnd {
    /// The servers of discovery without the product: what the other suites rely on.
    @Suite("Laboratory: services")
    struct LabServicesTests {
        private func network(_ nodes: Int = 1) throws -> LabCluster {
            try LabCluster(nodes: nodes, binary: "/bin/true")
        }

        /// What the C library of a node says, which asks the name server of the node's own resolv.conf.
        private func addresses(_ name: String, at node: LabNode) async throws -> [String] {
            let result = try await offloading {
                try ToolCommand.run(["getent", "ahosts", name], in: node.namespace)
            }
            let lines = result.output.split(separator: "\n").filter { $0.contains("STREAM") }
            return lines.compactMap { $0.split(separator: " ").first.map(String.init) }.sorted()
        }

        @Test("records come and go while the name server runs, and each node asks its own server")
        func dns() async throws {
            let lab = try network(2)
            defer { lab.close() }
            let (first, second) = (try LabDNS(lab.network), try LabDNS(lab.network, number: 1))
            try lab.network.setResolver(ofNode: 1, to: [first.address], search: "lab")
            try lab.network.setResolver(ofNode: 2, to: [second.address])
            try await first.start()
            try await second.start()
            #expect(try await addresses("nodes.lab", at: lab[1]) == [])
            try await first.set("nodes.lab", [lab[1].address, lab[2].address])
            #expect(try await addresses("nodes.lab", at: lab[1]) == ["10.42.0.1", "10.42.0.2"])
            #expect(try await addresses("nodes", at: lab[1]) == ["10.42.0.1", "10.42.0.2"])
            #expect(try await addresses("nodes.lab", at: lab[2]) == [])
            try await first.setAlias("other.lab", of: "nodes.lab")
            #expect(try await addresses("other.lab", at: lab[1]) == ["10.42.0.1", "10.42.0.2"])
            try await first.set("nodes.lab", [])
            #expect(try await addresses("nodes.lab", at: lab[1]) == [])
            try await second.set("nodes.lab", [lab[2].address])
            #expect(try await addresses("nodes.lab", at: lab[2]) == ["10.42.0.2"])
            try await second.stop()
            #expect(try await addresses("nodes.lab", at: lab[2]) == [])

            let files = "/etc/netns/\(lab[1].namespace.name)"
            #expect(access(files, F_OK) == 0)
            lab.close()
            #expect(access(files, F_OK) != 0)
        }

        @Test("three members of etcd keep a key while one is down, and lose all when wiped")
        func etcd() async throws {
            let lab = try network()
            defer { lab.close() }
            let etcd = try LabEtcd(lab.network, members: 3)
            try await etcd.start()
            let lease = try await etcd.openHold(seconds: 600)
            try await etcd.put("a/1", "one")
            try await etcd.put("a/2", "two", hold: lease)
            try await etcd.put("b", "three")
            try await etcd.kill(member: 0)
            #expect(try await etcd.all("a/").mapValues(\.value) == ["a/1": "one", "a/2": "two"])
            #expect(try await etcd.get("a/2")?.hold == lease)
            try await etcd.start(member: 0)
            try await etcd.delete("a/1")
            #expect(try await etcd.get("a/1") == nil)
            try await etcd.kill()
            etcd.wipe()
            try await etcd.start()
            #expect(try await etcd.all("").isEmpty)
        }

        @Test("etcd with passwords and certificates lets nobody else in")
        func etcdClosed() async throws {
            let lab = try network()
            defer { lab.close() }
            let certificates = try LabCertificates(lab.network)
            let etcd = try LabEtcd(lab.network, certificates: certificates, requiresClientCertificate: true)
            try await etcd.start()
            try await etcd.requirePassword("secret", prefix: "mine/")
            try await etcd.put("mine/1", "x")
            func curl(_ options: [String], path: String, _ body: String) async throws -> CommandResult {
                let namespace = lab[1].namespace
                return try await offloading {
                    try ToolCommand.run(
                        ["curl", "-sS", "-m", "5", "-d", body, "\(etcd.endpoints[0])/v3/\(path)"] + options,
                        in: namespace)
                }
            }
            let trust = ["--cacert", certificates.authority]
            let identity = ["--cert", certificates.clientCertificate, "--key", certificates.clientKey]
            let login = #"{"name":"vip","password":"secret"}"#
            let answer = try await curl(trust + identity, path: "auth/authenticate", login)
            #expect(answer.output.contains("token"), "\(answer.text)")
            let refused = try await curl(trust + identity, path: "kv/range", #"{"key":"YQ=="}"#)
            #expect(refused.output.contains("user"), "\(refused.text)")
            #expect(try await !curl(trust, path: "auth/authenticate", login).isSuccess)
            let stranger = ["--cacert", certificates.strangeAuthority]
            #expect(try await !curl(stranger + identity, path: "auth/authenticate", login).isSuccess)
        }

        @Test("Consul keeps keys over a restart, drops those of an ended session, and asks for a token")
        func consul() async throws {
            let lab = try network()
            defer { lab.close() }
            let consul = try LabConsul(lab.network, accessControl: true)
            try await consul.start()
            let session = try await consul.openHold(seconds: 600)
            try await consul.put("mine/leader", "one", hold: session)
            try await consul.put("mine/other", "two")
            let token = try await consul.createToken(
                rules: #"key_prefix "mine/" { policy = "write" } session_prefix "" { policy = "write" }"#)
            try await consul.kill()
            try await consul.start()
            #expect(try await consul.all("mine/").mapValues(\.value) == ["mine/leader": "one", "mine/other": "two"])
            #expect(try await consul.get("mine/leader")?.hold == session)
            try await consul.destroySession(session)
            #expect(try await consul.get("mine/leader") == nil)
            func status(_ path: String, _ token: String) async throws -> Int {
                try await HTTPExchange.request(
                    "GET", path, headers: ["X-Consul-Token": token],
                    at: try HostPort(parsing: consul.address), in: lab[1].namespace
                ).status
            }
            #expect(try await status("/v1/kv/mine/other", token) == 200)
            #expect(try await status("/v1/kv/other", token) != 200)
            try await consul.deleteToken(secret: token)
            #expect(try await status("/v1/kv/mine/other", token) == 403)
            try await consul.kill()
            consul.wipe()
            try await consul.start()
            #expect(try await consul.all("mine/").isEmpty)
        }
    }
}
