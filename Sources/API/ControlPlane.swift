/// What the API can ask of the daemon, and all that it knows of it.
///
/// Every function may be called from any node at any time, concurrently, and must answer or throw within the request's
/// limit of time (10 s): what it has not answered by then is answered with 503, and its task is cancelled.
public protocol ControlPlane: Sendable {
    func status() async -> StatusReport
    /// The virtual addresses as `address/prefix length`, in the order in which they were set.
    ///
    /// - Throws: `ControlError`.
    func virtualAddresses() async throws -> [String]
    /// Checks the virtual addresses and puts them in the place of those that are set; returns when the change is committed by
    /// the cluster.
    ///
    /// - Parameters:
    ///   - texts: what the user sent, unchecked; none takes all away, which is no error when none is set.
    ///   - present: only if they are one of these lists now; nil: whatever they are.
    /// - Throws: `ControlError`: `changed` when they are none of those.
    func setVirtualAddresses(_ texts: [String], ifOneOf present: [[String]]?) async throws
    /// Gives the lead, and the addresses with it, to another voter; returns when it has them.
    ///
    /// - Parameter successor: id, node id, name or address; nil for whoever is ready soonest.
    /// - Throws: `ControlError`: `invalid` when the successor is none, `conflict` when nobody can take it now.
    func failOver(to successor: String?) async throws -> HandOverReport
    /// The members of the cluster, and those that were removed from it.
    func nodes() async -> NodesReport
    /// Takes a node out of the cluster; returns when that is committed.
    ///
    /// - Parameters:
    ///   - target: id, node id, name or address.
    ///   - force: also when the cluster loses its quorum with it.
    /// - Throws: `ControlError`: `notFound` when there is no such node, `conflict` when it would do harm.
    func removeNode(_ target: String, force: Bool) async throws -> RemovedNodeReport
    /// What the cluster has configured, as the leader knows it.
    ///
    /// - Throws: `ControlError`.
    func backup() async throws -> BackupDocument
    /// Checks the configuration of a backup and puts it in the place of the present one, all at once; returns when that is
    /// committed.
    ///
    /// - Throws: `ControlError`, which names the place in the backup.
    func restore(_ configuration: BackupDocument.Configuration) async throws
    /// The replicated database of this node, as one SQLite file.
    ///
    /// - Throws: `ControlError`.
    func databaseFile() async throws -> [UInt8]
    func health() async -> HealthReport
    func readiness() async -> ReadinessReport
}

/// A request that the daemon cannot or will not do.
public struct ControlError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        /// The request is wrong whatever the state of the cluster: 400.
        case invalid
        /// There is no such thing: 404.
        case notFound
        /// It contradicts the present state: 409.
        case conflict
        /// What was to be changed is not any more what the asker has seen: 412.
        case changed
        /// Not now: no quorum, no leader, not formed yet: 503.
        case unavailable
        /// A fault of the daemon or of its host: 500.
        case failed
    }

    public var kind: Kind
    /// For a person: what is wrong, with which value, and what to do.
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }
}
