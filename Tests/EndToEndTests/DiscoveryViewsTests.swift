import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    /// Formation with answers that differ from node to node, change and lie: what the simulation tries a thousand times,
    /// with real processes.
    @Suite("Inconsistent answers")
    struct ViewsTests {
        private static let nodes = 5
        private static let expect = 3

        /// What one node is told.
        private struct View: CustomStringConvertible {
            var join: [Int]
            /// The answers of its own name server, one after the other.
            var answers: [[Int]]

            var description: String { "--join \(join), DNS \(answers)" }

            /// Hosts 71...73 do not exist.
            init(using random: inout some RandomNumberGenerator) {
                func some(of hosts: ClosedRange<Int>, _ chance: Int) -> [Int] {
                    hosts.filter { _ in Int.random(in: 0..<100, using: &random) < chance }
                }
                join = some(of: 1...nodes, 25)
                answers = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                    (some(of: 1...nodes, 50) + some(of: 71...73, 15)).shuffled(using: &random)
                }
            }
        }

        @Test(
            "five nodes, three expected, each with a name server and a list of its own: always one cluster; 20 rounds")
        func rounds() async throws {
            let seed = UInt64.random(in: .min ... .max)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<4 {
                    group.addTask { try await self.lane(seed &+ UInt64(lane), rounds: 5) }
                }
                try await group.waitForAll()
            }
        }

        private func lane(_ seed: UInt64, rounds: Int) async throws {
            var random = Dice(seed: seed)
            try await withLab(nodes: Self.nodes) { lab in
                let servers = try lab.nodes.map { node in
                    let dns = try LabDNS(lab.network, number: node.number)
                    try lab.network.setResolver(ofNode: node.number, to: [dns.address])
                    return dns
                }
                for dns in servers { try await dns.start() }
                for round in 1...rounds {
                    let views = (0..<Self.nodes).map { _ in View(using: &random) }
                    let delays = (0..<Self.nodes).map { _ in Int.random(in: 0...800, using: &random) }
                    do {
                        try await self.round(lab, servers, views, delays)
                    } catch {
                        throw LabError("seed \(seed), round \(round), delays \(delays), views \(views): \(error)")
                    }
                }
            }
        }

        private func round(_ lab: LabCluster, _ servers: [LabDNS], _ views: [View], _ delays: [Int]) async throws {
            let seen = try await formedClusters(in: lab) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, view) in views.enumerated() {
                        let (node, dns) = (lab.nodes[index], servers[index])
                        group.addTask {
                            try await dns.set("nodes.lab", view.answers[0].map(Self.address))
                            // The delays are the very thing that is tried.
                            try await Task.sleep(for: .milliseconds(delays[index]))
                            try node.start(
                                .discovering("dns", config: #"{"name":"nodes.lab"}"#, expect: Self.expect).with {
                                    $0.join = view.join.map { "\(Self.address($0))" }
                                })
                            for answer in view.answers.dropFirst() {
                                try await Task.sleep(for: .milliseconds(300))
                                try await dns.set("nodes.lab", answer.map(Self.address))
                            }
                            try await Task.sleep(for: .milliseconds(300))
                            // In the end the truth, beside which one lie may stand.
                            try await dns.set("nodes.lab", (Array(1...Self.nodes) + [71]).map(Self.address))
                        }
                    }
                    try await group.waitForAll()
                }
                _ = try await lab.formation(within: .seconds(25), every: .milliseconds(100))
            }
            #expect(seen.count == 1, "formed clusters \(seen), views \(views), delays \(delays)")
            for node in lab.nodes {
                try await node.kill9()
                node.wipe()
            }
        }

        private static func address(_ host: Int) -> IPAddress { Network.address(ofNode: host) }
    }
}

/// SplitMix64: small, and the same sequence for the same seed.
private struct Dice: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
