import API
import Cluster
import Dqlite
import Platform

/// The members, and their removal.
extension DaemonControl {
    func nodes() async -> NodesReport {
        let status = await cluster.status()
        return NodesReport(
            nodes: Self.members(status), failuresSurvived: status.failuresSurvived, summary: Self.summary(status),
            removed: (status.configuration.removed ?? []).map(Self.report))
    }

    func removeNode(_ target: String, force: Bool) async throws -> RemovedNodeReport {
        do {
            return Self.report(try await cluster.removeNode(target, force: force))
        } catch let refused as ClusterNode.RemovalRefused {
            let kind: ControlError.Kind =
                switch refused.kind {
                case .invalid: .invalid
                case .notFound: .notFound
                case .conflict: .conflict
                case .unavailable: .unavailable
                }
            throw ControlError(kind, refused.description)
        }
    }

    /// In the order of their ids.
    static func members(_ status: ClusterStatus) -> [ClusterMember] {
        let entries = Dictionary(
            status.configuration.nodes.map { ($0.dqliteID, $0) }, uniquingKeysWith: { first, _ in first })
        return status.members.map { member in
            let entry = entries[member.id]
            return ClusterMember(
                id: member.id, address: status.places[member.id] ?? member.address,
                configuredAddress: status.places[member.id].map { _ in member.address },
                role: API.MemberRole(rawValue: "\(member.role)"),
                nodeID: entry?.nodeID, name: entry?.name, labels: entry?.labels,
                isReachable: status.goneSince.map { $0[member.id] == nil },
                unreachableSince: status.goneSince?[member.id],
                isNonVoter: entry?.isNonVoter == true ? true : nil, failureDomain: entry?.failureDomain)
        }.sorted { $0.id < $1.id }
    }

    /// How much more the cluster can bear, for a person; empty while nobody knows.
    static func summary(_ status: ClusterStatus) -> String {
        guard status.goneSince != nil else { return "" }
        let voters = status.members.count { $0.role == .voter }
        guard let failures = status.failuresSurvived else {
            return "too few voters can be reached for a change: start those that are down"
        }
        if failures > 0 { return "\(failures) more \(failures == 1 ? "voter" : "voters") may fail" }
        return switch voters {
        case 1: "no failure is survived: there is one voter only; three survive the failure of one"
        case 2: "no failure is survived: both voters are needed; three survive the failure of one"
        default: "no further failure is survived until a voter is back or replaced"
        }
    }

    private static func report(_ removal: RemovedNode) -> RemovedNodeReport {
        RemovedNodeReport(
            id: removal.dqliteID, address: removal.address, nodeID: removal.nodeID.isEmpty ? nil : removal.nodeID,
            name: removal.name.isEmpty ? nil : removal.name, reason: removal.reason.rawValue, at: removal.at)
    }
}
