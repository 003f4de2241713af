import API
import Platform
import Synchronization

/// A control plane whose answers a test chooses, and which remembers what it was asked.
final class FakeControlPlane: ControlPlane {
    struct State: Sendable {
        var addresses: [String] = []
        var calls: [String] = []
        var error: ControlError?
        var health = HealthReport(isAlive: true)
        var readiness = ReadinessReport(isReady: true)
        var status = StatusReport.example
    }

    let state = Mutex(State())
    /// How long `setVirtualAddresses` takes, whether it is cancelled or not.
    let hangs: Duration?

    init(hangs: Duration? = nil) {
        self.hangs = hangs
    }

    var calls: [String] { state.withLock { $0.calls } }

    func change(_ body: @Sendable (inout State) -> Void) { state.withLock { body(&$0) } }

    func status() async -> StatusReport { state.withLock { $0.status } }

    func virtualAddresses() async throws -> [String] {
        try state.withLock { state in
            if let error = state.error { throw error }
            return state.addresses
        }
    }

    func setVirtualAddresses(_ texts: [String], ifOneOf present: [[String]]?) async throws {
        if let hangs {
            // Deaf to cancellation on purpose.
            await Task.detached { try? await Task.sleep(for: hangs) }.value
        }
        try state.withLock { state in
            if let error = state.error { throw error }
            let condition = present.map { " if \($0)" } ?? ""
            state.calls.append((texts.isEmpty ? "clear" : "set \(texts.joined(separator: " and "))") + condition)
            state.addresses = texts
        }
    }

    func failOver(to successor: String?) async throws -> HandOverReport {
        try state.withLock { state in
            if let error = state.error { throw error }
            state.calls.append("failover \(successor ?? "-")")
            return HandOverReport(leaderID: 2, leaderAddress: "192.0.2.2:8800", isSeamless: true, tookMilliseconds: 9)
        }
    }

    func nodes() async -> NodesReport {
        state.withLock { state in
            NodesReport(nodes: state.status.clusterMembers, failuresSurvived: 1, summary: "1 more voter may fail")
        }
    }

    func removeNode(_ target: String, force: Bool) async throws -> RemovedNodeReport {
        try state.withLock { state in
            if let error = state.error { throw error }
            state.calls.append("remove \(target)\(force ? " by force" : "")")
            return RemovedNodeReport(
                id: 3, address: "192.0.2.3:8800", nodeID: "uuid-3", name: "three", reason: "removed",
                at: WallTime(milliseconds: 0))
        }
    }

    func backup() async throws -> BackupDocument {
        try state.withLock { state in
            if let error = state.error { throw error }
            return BackupDocument(
                createdAt: WallTime(milliseconds: 0), createdBy: "0.1.0", cluster: .init(name: "c", id: "uuid-c"),
                configuration: .init(addresses: state.addresses), nodes: state.status.clusterMembers)
        }
    }

    func restore(_ configuration: BackupDocument.Configuration) async throws {
        try await setVirtualAddresses(configuration.addresses, ifOneOf: nil)
    }

    func databaseFile() async throws -> [UInt8] {
        try state.withLock { state in
            if let error = state.error { throw error }
            return [0, 1, 255]
        }
    }

    func health() async -> HealthReport { state.withLock { $0.health } }
    func readiness() async -> ReadinessReport { state.withLock { $0.readiness } }
}

extension StatusReport {
    static let example = StatusReport(
        id: 12_345_678_901_234_567_890, leaderID: 1, isLeader: false,
        clusterMembers: [
            ClusterMember(id: 1, address: "192.0.2.1:8800", role: .voter, nodeID: "uuid-1", name: "one"),
            ClusterMember(id: 12_345_678_901_234_567_890, address: "192.0.2.2:8800", role: .standBy),
            ClusterMember(id: 3, address: "192.0.2.3:8800", role: .spare),
        ],
        nodeID: "uuid-2", name: "two", address: "192.0.2.2:8800", clusterID: "uuid-c", clusterName: "dqlite-vip",
        state: .formed, term: 7, vip: "192.0.2.10/24", holdsVIP: false,
        addresses: [
            AddressReport(address: "192.0.2.10/24", state: "not held", since: WallTime(milliseconds: 0), detail: "")
        ],
        discovery: DiscoveryReport(
            mode: "static+etcd-kv", key: "prod/web", lastAddresses: ["192.0.2.1:8800"], isRegistered: true),
        version: "0.1.0", uptimeSeconds: 61, warnings: [])
}
