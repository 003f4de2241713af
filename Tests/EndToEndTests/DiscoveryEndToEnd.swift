import FoundationEssentials
import Lab
import Platform
import Synchronization
import Testing

extension EndToEnd {
    /// Nodes that are told how to find each other, and not where: the shipped binary and the real servers.
    @Suite("Discovery")
    enum DiscoveryTests {}
}

/// A laboratory whose nodes ask one name server, which knows no names yet.
func withDNS(
    nodes count: Int, isRunning: Bool = true, _ body: (LabCluster, LabDNS) async throws -> Void
) async throws {
    try await withLab(nodes: count) { lab in
        let dns = try LabDNS(lab.network)
        for node in lab.nodes { try lab.network.setResolver(ofNode: node.number, to: [dns.address], search: "lab") }
        if isRunning { try await dns.start() }
        try await body(lab, dns)
    }
}

/// Runs the body for etcd and for Consul side by side, each in a laboratory of its own: most of the time they wait.
func onEachStore(
    nodes count: Int = 3, _ body: @escaping @Sendable (LabCluster, any LabStore) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for kind in StoreKind.allCases {
            group.addTask {
                do {
                    try await withLab(nodes: count) { lab in try await body(lab, try await kind.start(lab.network)) }
                } catch {
                    throw LabError("\(kind): \(error)")
                }
            }
        }
        try await group.waitForAll()
    }
}

extension LabCluster {
    /// Starts three nodes that find each other in the store, and gives them the VIP.
    func startCluster(in store: any LabStore) async throws -> Formation {
        for number in 1...3 { try self[number].start(.discovering(store, expect: 3)) }
        let formation = try await formation(of: [1, 2, 3])
        try await setVIP()
        try await store.isComplete(formation)
        return formation
    }
}

extension StartOptions {
    /// The default of --disco-key.
    static let defaultKey = "dqlite-vip"

    static func discovering(_ store: any LabStore, expect: Int? = nil) -> StartOptions {
        .discovering(store.mode, config: store.configuration, expect: expect)
    }

    func with(_ change: (inout StartOptions) -> Void) -> StartOptions {
        var options = self
        change(&options)
        return options
    }
}

/// A record of a node or of the leader, as it stands in a store.
struct StoreRecord: Decodable, Equatable {
    var id: String
    var addr: String
    var cluster_id: String?
}

extension LabStore {
    func leader(_ key: String = StartOptions.defaultKey) async throws -> StoreRecord? {
        guard let entry = try await get(path(key, "leader")) else { return nil }
        return try JSONDecoder().decode(StoreRecord.self, from: Data(entry.value.utf8))
    }

    /// The records of nodes, by the address in them.
    func nodes(_ key: String = StartOptions.defaultKey) async throws -> [String: StoreRecord] {
        let records = try await all(path(key, "nodes/")).values.map {
            try JSONDecoder().decode(StoreRecord.self, from: Data($0.value.utf8))
        }
        return Dictionary(records.map { ($0.addr, $0) }) { first, _ in first }
    }

    /// Waits until the store has a record of each member, and the leader key names the leader; all under a hold.
    func isComplete(
        _ formation: LabCluster.Formation, key: String = StartOptions.defaultKey, within limit: Duration = .seconds(15)
    ) async throws {
        try await eventually(
            "complete records in \(mode)", within: limit, every: .milliseconds(50),
            state: { "\((try? await self.all(self.path(key, ""))) ?? [:])" }
        ) {
            guard let leader = try await leader(key), leader.cluster_id == formation.clusterID,
                leader.id == formation.statuses[formation.leader]?.nodeID,
                try await get(path(key, "leader"))?.hold != nil
            else { return false }
            return try await nodes(key).keys.sorted() == formation.addresses
        }
    }
}

extension LabNode {
    /// Waits until the status of the node is as it is to be.
    @discardableResult
    func status(
        _ what: String, within limit: Duration = .seconds(10), _ condition: (NodeStatus) -> Bool
    ) async throws -> NodeStatus {
        let last = Mutex("")
        return try await eventually(
            "\(what) at node \(number)", within: limit, every: .milliseconds(50), state: { last.withLock { $0 } }
        ) {
            let status = try await self.status(within: .seconds(2))
            last.withLock {
                $0 = "\(status.state ?? ""), waits for \"\(status.waitingFor ?? "")\", \(status.discovery as Any)"
            }
            return condition(status) ? status : nil
        }
    }

    /// Waits until the node says that it waits for something that contains all the words.
    func waits(for words: String..., within limit: Duration = .seconds(10)) async throws {
        try await status("wait for \(words)", within: limit) { status in
            words.allSatisfy { status.waitingFor?.contains($0) == true }
        }
    }
}

/// Runs the body and looks at all nodes meanwhile: every cluster that a node said was formed.
func formedClusters(
    in lab: LabCluster, during body: () async throws -> Void
) async throws -> Set<String> {
    let seen = SeenClusters()
    let watch = Task {
        while !Task.isCancelled {
            await seen.look(at: lab)
            try? await Task.sleep(for: .milliseconds(200))
        }
    }
    defer { watch.cancel() }
    try await body()
    await seen.look(at: lab)
    return seen.ids.withLock { $0 }
}

private final class SeenClusters: Sendable {
    let ids = Mutex<Set<String>>([])

    func look(at lab: LabCluster) async {
        for node in lab.nodes where node.guardPID != nil {
            // A node that has only just been started does not answer yet.
            guard let status = try? await node.status(within: .seconds(1)), status.state == "formed",
                let id = status.clusterID
            else { continue }
            ids.withLock { _ = $0.insert(id) }
        }
    }
}
