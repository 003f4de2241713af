import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    @Suite("Multicast")
    struct MulticastTests {
        @Test("a command line that names no address at all forms a cluster, and a fourth node joins it")
        func noAddress() async throws {
            try await withLab(nodes: 4) { lab in
                let options = StartOptions.discovering("multicast", expect: 3)
                #expect(!options.arguments.joined().contains("10.42"))
                for number in 1...3 { try lab[number].start(options) }
                let three = try await lab.formation(of: [1, 2, 3])
                #expect(three.voters == 3)
                #expect(three.statuses[1]?.discovery?.mode == "multicast")
                try lab[4].start(options)
                #expect(try await lab.formation().clusterID == three.clusterID)
            }
        }

        @Test("with a secret, who has another is not found, and both sides say so; who has it is")
        func secrets() async throws {
            try await withLab(nodes: 4) { lab in
                func options(_ secret: String) -> StartOptions {
                    .discovering("multicast", config: #"{"secret":"\#(secret)"}"#, expect: 3)
                }
                try lab[1].start(options("correct horse"))
                try lab[2].start(options("correct horse"))
                try lab[3].start(options("battery staple"))
                for number in 1...2 {
                    try await lab[number].waits(for: "2 of 3 nodes found")
                    try await lab[number].status("wrong secret") {
                        $0.discovery?.lastError?.contains("secret") == true
                            && $0.discovery?.lastError?.contains("\(lab[3].address)") == true
                    }
                }
                try await lab[3].waits(for: "1 of 3 nodes found")
                try await lab[3].status("wrong secret") { $0.discovery?.lastError?.contains("secret") == true }
                try lab[4].start(options("correct horse"))
                #expect(try await lab.formation(of: [1, 2, 4]).voters == 3)
                for node in lab.nodes {
                    for secret in ["correct horse", "battery staple"] {
                        #expect(!node.logText.contains(secret))
                        #expect(!(try await node.request("GET", "/status").text).contains(secret))
                    }
                }
            }
        }

        @Test("two keys on one LAN are two clusters")
        func keys() async throws {
            try await withLab(nodes: 4) { lab in
                for node in lab.nodes {
                    try node.start(
                        .discovering("multicast", expect: 2).with { $0.discoKey = node.number <= 2 ? "one" : "two" })
                }
                let one = try await lab.formation(of: [1, 2])
                let two = try await lab.formation(of: [3, 4])
                #expect(one.clusterID != two.clusterID)
            }
        }
    }
}
