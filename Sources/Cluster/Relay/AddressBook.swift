import Dqlite
import Platform
import Synchronization

/// Where members were met last, which is not where raft's configuration says when they have moved.
///
/// A hint where to try, and no more: whoever connects says which member it means, and a node that is another refuses. So a
/// wrong entry costs an attempt, and never makes one node count as another.
final class AddressBook: Sendable {
    /// More than any cluster has; strangers cannot make it grow.
    static let most = 64

    /// From how many addresses one member may come.
    static let mostSources = 4

    private let entries = Mutex<[DqliteNodeID: HostPort]>([:])
    private let comesFrom = Mutex<[DqliteNodeID: [IPAddress]]>([:])

    subscript(_ id: DqliteNodeID) -> HostPort? { entries.withLock { $0[id] } }

    /// Takes note of where a member says, or was found, to be.
    ///
    /// - Returns: whether that is news.
    @discardableResult
    func learn(_ id: DqliteNodeID, at address: HostPort) -> Bool {
        entries.withLock { entries in
            guard entries[id] != address, entries[id] != nil || entries.count < Self.most else { return false }
            entries[id] = address
            return true
        }
    }

    /// Takes note of where a raft stream of a member comes from; the last ones count.
    func learn(_ id: DqliteNodeID, from source: IPAddress) {
        comesFrom.withLock { sources in
            guard sources[id] != nil || sources.count < Self.most else { return }
            let others = (sources[id] ?? []).filter { $0 != source }
            sources[id] = others.suffix(Self.mostSources - 1) + [source]
        }
    }

    /// The addresses that streams of a member have come from.
    func sources(of id: DqliteNodeID) -> [IPAddress] { comesFrom.withLock { $0[id] ?? [] } }

    /// Where to try, the likeliest first: where it was met last, then what the configuration says.
    func places(of member: DqliteMember) -> [HostPort] {
        let configured = try? HostPort(parsing: member.address)
        guard let met = self[member.id] else { return configured.map { [$0] } ?? [] }
        guard let configured, configured != met else { return [met] }
        return [met, configured]
    }

    /// Forgets everybody else.
    func keep(only ids: some Sequence<DqliteNodeID>) {
        let ids = Set(ids)
        entries.withLock { $0 = $0.filter { ids.contains($0.key) } }
        comesFrom.withLock { $0 = $0.filter { ids.contains($0.key) } }
    }
}
