import Discovery
import Dqlite
import Glibc
import Logging
import Platform
import Testing

@testable import Cluster

/// Whatever is asked for is right here; what the daemon lets pass is a matter of its own tests.
struct AnyAddresses: AddressRules {
    func fault(in addresses: [String]) -> String? { nil }
}

/// Three founders in this process, with real libdqlite, on loopback addresses of their own. Here a test can do what a leader
/// does, and stop between any two steps.
final class Trio: Sendable {
    let nodes: [ClusterNode]
    private let runs: [Task<Void, any Error>]
    private let configured: [Task<Void, Never>]

    private init(in directory: String) throws {
        let net = "127.\(Int.random(in: 1...254)).\(Int.random(in: 1...254))"
        let addresses = (1...3).map { HostPort(host: "\(net).\($0)", port: 8800) }
        var quiet = Logger(label: "trio")
        quiet.logLevel = .critical
        let logger = quiet
        nodes = try addresses.enumerated().map { index, address in
            try ClusterNode(
                settings: ClusterSettings(
                    clusterName: "trio", bootstrapExpect: 3, search: .discovery, voters: 3, listen: address,
                    advertised: address, name: "n\(index + 1)", addressRules: AnyAddresses()),
                discovery: StaticDiscovery(addresses), data: DataDirectory("\(directory)/\(index + 1)"), logger: logger,
                onLeadership: {})
        }
        runs = nodes.map { node in Task { try await node.run() } }
        // As the daemon does once it has taken up what is configured.
        configured = nodes.map { node in
            Task {
                for await update in await node.configurations() {
                    if let term = update.term { node.tookUp(term: term) }
                }
            }
        }
    }

    static func run(_ body: (Trio) async throws -> Void) async throws {
        var template = Array("/tmp/dqlite-vip-trio.XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let trio = try Trio(in: directory)
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(trio))
        } catch {
            outcome = .failure(error)
        }
        for index in trio.nodes.indices { await trio.stop(index) }
        for index in 1...3 {
            for name in ["/raft", ""] { try Directory.removeWithFiles("\(directory)/\(index)\(name)") }
        }
        try Directory.removeWithFiles(directory)
        try outcome.get()
    }

    /// Who leads, once all of them know that the cluster is formed.
    func formed() async throws -> Int {
        _ = try await eventually("formed nodes", within: .seconds(20)) { () -> Bool? in
            for node in nodes where await !node.facts.current.isFormed { return nil }
            return true
        }
        return try await leader()
    }

    func stop(_ index: Int) async {
        runs[index].cancel()
        _ = await runs[index].result
        configured[index].cancel()
    }

    func id(_ index: Int) async throws -> DqliteNodeID {
        let local = await nodes[index].facts.current.local
        return try #require(local).dqliteID
    }

    /// Who leads with a proof, once those that count have three members, or as many as are given.
    func leader(voters: Int = 3, within limit: Duration = .seconds(20)) async throws -> Int {
        try await eventually("leader of \(voters) voters", within: limit) {
            for (index, node) in nodes.enumerated() where node.leadershipProof != nil {
                let members = try? await node.membership.members()
                if members?.count(where: { $0.role == .voter }) == voters { return index }
            }
            return nil
        }
    }
}

func eventually<Value>(
    _ what: String, within limit: Duration, _ look: () async throws -> Value?
) async throws -> Value {
    let deadline = BootClock.now.advanced(by: limit)
    while true {
        if let value = try await look() { return value }
        try #require(BootClock.now < deadline, "\(what): not within \(limit)")
        try await Task.sleep(for: .milliseconds(10))
    }
}
