import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    @Suite("etcd")
    struct EtcdTests {
        @Test("a member of etcd dies while the cluster forms: the others are asked, in the order that is given")
        func memberKilled() async throws {
            try await withLab(nodes: 3) { lab in
                let etcd = try LabEtcd(lab.network, members: 3)
                try await etcd.start()
                for number in 1...2 { try lab[number].start(.discovering(etcd, expect: 3)) }
                for number in 1...2 { try await lab[number].waits(for: "2 of 3 nodes found") }
                // The first of the list, which all of them talk to.
                try await etcd.kill(member: 0)
                try lab[3].start(.discovering(etcd, expect: 3))
                let formation = try await lab.formation()
                try await etcd.isComplete(formation)
                try await etcd.start(member: 0)
                // Without a majority of its members it takes no writes, but nobody is told that it is gone.
                try await etcd.kill(member: 1)
                try await etcd.kill(member: 2)
                for node in lab.nodes {
                    try await node.status("message of the outage", within: .seconds(40)) {
                        $0.discovery?.announceError != nil
                    }
                }
                #expect(try await lab.formation().clusterID == formation.clusterID)
            }
        }

        @Test(
            "passwords and TLS with client certificates: only who has all of it is let in; no secret is shown anywhere")
        func closedStore() async throws {
            try await withLab(nodes: 3) { lab in
                let certificates = try LabCertificates(lab.network)
                let etcd = try LabEtcd(lab.network, certificates: certificates, requiresClientCertificate: true)
                try await etcd.start()
                let (password, wrong) = ("open sesame", "open barley")
                try await etcd.requirePassword(password, prefix: etcd.path(StartOptions.defaultKey, ""))
                let identity = (certificates.clientCertificate, certificates.clientKey)
                let named = (certificates.namedClientCertificate, certificates.namedClientKey)
                func start(
                    _ number: Int, password: String, authority: String, identity: (String, String)?
                ) async throws {
                    let files = identity.map { #","cert_file":"\#($0.0)","key_file":"\#($0.1)""# } ?? ""
                    let config = """
                        {"endpoints":\(etcd.endpoints),"username":"vip","password":"${STORE_PASSWORD}",
                         "ca_file":"\(authority)"\(files)}
                        """
                    try await lab[number].kill9()
                    try lab[number].start(
                        .discovering("etcd-kv", config: config, expect: 3), environment: ["STORE_PASSWORD": password])
                }
                try await start(1, password: password, authority: certificates.authority, identity: identity)
                try await start(2, password: wrong, authority: certificates.authority, identity: identity)
                try await start(3, password: password, authority: certificates.strangeAuthority, identity: identity)
                try await lab[1].status("registration") { $0.discovery?.isRegistered == true }
                try await lab[2].status("refusal of the password") {
                    $0.discovery?.lastError?.contains("vip") == true
                        && $0.discovery?.lastError?.contains("password") == true
                }
                try await lab[3].status("refusal of the server's certificate") {
                    $0.discovery?.lastError?.contains("certificate") == true
                }
                try await start(3, password: password, authority: certificates.authority, identity: nil)
                try await lab[3].status("refusal for want of a client certificate") {
                    $0.discovery?.lastError?.contains("certificate") == true
                }
                // etcd's own rule for its gateway, in its own words.
                try await start(3, password: password, authority: certificates.authority, identity: named)
                try await lab[3].status("refusal of a client certificate with a name") {
                    $0.discovery?.lastError?.contains("CommonName") == true
                }
                #expect(try await etcd.nodes().count == 1)
                try await start(2, password: password, authority: certificates.authority, identity: identity)
                try await start(3, password: password, authority: certificates.authority, identity: identity)
                let formation = try await lab.formation()
                try await etcd.isComplete(formation)

                // A restarted etcd knows the password and not the tokens that it gave.
                try await etcd.kill()
                try await etcd.start()
                let began = try #require(try await etcd.get(etcd.path(StartOptions.defaultKey, "leader"))).modifiedAt
                try await lab[formation.leader].kill9()
                let after = try await lab.formation(
                    of: (1...3).filter { $0 != formation.leader }, memberCount: 3)
                try await eventually("leader key of the new leader", within: .seconds(30), every: .milliseconds(50)) {
                    try await etcd.leader()?.addr == "\(lab[after.leader].clusterAddress)"
                }
                #expect(
                    try #require(try await etcd.get(etcd.path(StartOptions.defaultKey, "leader"))).modifiedAt > began)
                for node in lab.nodes {
                    for secret in [password, wrong] {
                        #expect(!node.logText.contains(secret))
                        if node.guardPID != nil {
                            #expect(!(try await node.request("GET", "/status").text).contains(secret))
                        }
                    }
                }
            }
        }
    }
}
