public import Platform

/// Where other nodes may be found: a list on the command line, DNS, a key-value store, multicast.
///
/// An implementation answers with candidates; it never decides who founds a cluster. It is asked again and again while
/// this node looks for its cluster, so each look-up must be bounded in time and cheap.
public protocol Discovery: Sendable, CustomStringConvertible {
    /// The addresses of cluster ports that are known now: distinct, in a stable order, possibly with our own among them.
    ///
    /// An empty answer is no failure: nobody has registered yet.
    ///
    /// - Throws: `DiscoveryError` when not a single source could be asked. A partial failure is recorded in `statistics`.
    func lookUp() async throws -> [HostPort]

    /// Makes this node known to others and keeps it known until the process ends. Repeated calls replace the record.
    ///
    /// - Throws: `DiscoveryError` when the store could not be written. Backends without a store do nothing.
    func register(_ node: DiscoveryRecord) async throws

    /// Makes the leader known. Only the leader calls it: on each change of leadership and periodically.
    ///
    /// - Throws: `DiscoveryError` when the store could not be written or holds the record of another cluster.
    func reportLeader(_ leader: LeaderRecord) async throws

    /// What the status of this node shows about discovery.
    var statistics: DiscoveryStatistics { get }
}

extension Discovery {
    public func register(_ node: DiscoveryRecord) async throws {}
    public func reportLeader(_ leader: LeaderRecord) async throws {}
}

/// One node as it registers itself.
public struct DiscoveryRecord: Hashable, Sendable, Codable {
    /// The node's UUID, as on its disk.
    public var nodeID: String
    /// Where peers reach its cluster port.
    public var address: HostPort
    /// The cluster it belongs to; nil before it has one.
    public var clusterID: String?
    /// The configured name of the cluster.
    public var clusterName: String

    public init(nodeID: String, address: HostPort, clusterID: String?, clusterName: String) {
        self.nodeID = nodeID
        self.address = address
        self.clusterID = clusterID
        self.clusterName = clusterName
    }

    private enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case address
        case clusterID = "cluster_id"
        case clusterName = "cluster_name"
    }
}

/// The leader of a formed cluster as it reports itself.
public struct LeaderRecord: Hashable, Sendable, Codable {
    /// The leader's UUID.
    public var nodeID: String
    /// Where peers reach its cluster port.
    public var address: HostPort
    public var clusterID: String
    public var clusterName: String
    /// The raft term of its leadership: a record of a lower term is older.
    public var term: UInt64

    public init(nodeID: String, address: HostPort, clusterID: String, clusterName: String, term: UInt64) {
        self.nodeID = nodeID
        self.address = address
        self.clusterID = clusterID
        self.clusterName = clusterName
        self.term = term
    }

    private enum CodingKeys: String, CodingKey {
        case nodeID = "node_id"
        case address
        case clusterID = "cluster_id"
        case clusterName = "cluster_name"
        case term
    }
}

/// What became of the look-ups so far.
public struct DiscoveryStatistics: Hashable, Sendable {
    /// The name of the backend: "static", "dns", ...
    public var mode: String
    /// When a look-up last gave an answer; nil before the first.
    public var lastContact: WallTime?
    /// The last answer.
    public var lastAddresses: [HostPort]
    /// What went wrong in the last look-up, also when others of its sources answered; nil when nothing did.
    public var lastError: String?

    public init(
        mode: String, lastContact: WallTime? = nil, lastAddresses: [HostPort] = [], lastError: String? = nil
    ) {
        self.mode = mode
        self.lastContact = lastContact
        self.lastAddresses = lastAddresses
        self.lastError = lastError
    }
}

/// A look-up, registration or report that failed.
public struct DiscoveryError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// A name has no address, or its name server did not answer.
        case unresolvable
        /// No answer within the limit of time.
        case timedOut
        /// The host could not do the work: no thread, no memory.
        case system
    }

    public var code: Code
    /// What failed, with which value, and what to do; for a person.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
