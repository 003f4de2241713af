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

    /// Says what others are to find of this node from now on; nil: nothing. Returns at once; `run` sees to it.
    func announce(_ announcement: DiscoveryAnnouncement?)

    /// Whether `claimFounding` can be asked: there is a store with check-and-set.
    var canClaimFounding: Bool { get }

    /// Asks for the right to found the cluster, which the store gives to one node at a time: by check-and-set on the
    /// leader key while it is unset. Asked again by its holder it is prolonged.
    ///
    /// - Parameter clusterID: the cluster that is being founded; nil before there is one.
    /// - Throws: `DiscoveryError` when the store could not be asked; the key may be ours all the same.
    func claimFounding(of clusterID: String?) async throws -> FoundingClaim

    /// Keeps what was announced findable: renews, makes anew what was lost, tries again what failed, until its task is
    /// cancelled. Nothing that happens to a store ends it.
    func run() async

    /// Takes away what was announced, as far as that is done within a second. For an orderly stop, after `run`.
    func withdraw() async

    /// What the status of this node shows about discovery.
    var statistics: DiscoveryStatistics { get }
}

extension Discovery {
    public func announce(_ announcement: DiscoveryAnnouncement?) {}
    public var canClaimFounding: Bool { false }
    public func claimFounding(of clusterID: String?) async throws -> FoundingClaim {
        throw DiscoveryError(.unsupported, "\(self) has no store in which the right to found could be claimed")
    }
    public func run() async { try? await Task.sleep(for: .seconds(1 << 40)) }
    public func withdraw() async {}
}

/// What others are to find of a node.
public struct DiscoveryAnnouncement: Hashable, Sendable {
    public var node: NodeRecord
    /// Set while this node leads a formed cluster.
    public var leader: LeaderRecord?

    public init(node: NodeRecord, leader: LeaderRecord? = nil) {
        self.node = node
        self.leader = leader
    }

    /// One node as it registers itself. The first three fields have the names that rqlite gives them.
    public struct NodeRecord: Hashable, Sendable, Codable {
        /// The node's UUID, as on its disk.
        public var nodeID: String
        /// Where its API listens.
        public var apiAddress: HostPort?
        /// Where peers reach its cluster port.
        public var address: HostPort
        /// The node's name for people.
        public var name: String
        /// The cluster it belongs to; nil before it has one.
        public var clusterID: String?
        /// The configured name of the cluster.
        public var clusterName: String

        public init(
            nodeID: String, apiAddress: HostPort?, address: HostPort, name: String, clusterID: String?,
            clusterName: String
        ) {
            self.nodeID = nodeID
            self.apiAddress = apiAddress
            self.address = address
            self.name = name
            self.clusterID = clusterID
            self.clusterName = clusterName
        }

        private enum CodingKeys: String, CodingKey {
            case nodeID = "id"
            case apiAddress = "api_addr"
            case address = "addr"
            case name
            case clusterID = "cluster_id"
            case clusterName = "cluster_name"
        }
    }

    /// The leader of a formed cluster as it reports itself; or, without a cluster id, a node that claims to found one.
    public struct LeaderRecord: Hashable, Sendable, Codable {
        /// The leader's UUID.
        public var nodeID: String
        public var apiAddress: HostPort?
        /// Where peers reach the leader's cluster port.
        public var address: HostPort
        /// nil while the cluster is not founded yet, and in records that rqlite wrote.
        public var clusterID: String?
        public var clusterName: String?
        /// The raft term of its leadership: a record of a lower term is older. 0 before there is one.
        public var term: UInt64?

        public init(
            nodeID: String, apiAddress: HostPort?, address: HostPort, clusterID: String?, clusterName: String?,
            term: UInt64?
        ) {
            self.nodeID = nodeID
            self.apiAddress = apiAddress
            self.address = address
            self.clusterID = clusterID
            self.clusterName = clusterName
            self.term = term
        }

        private enum CodingKeys: String, CodingKey {
            case nodeID = "id"
            case apiAddress = "api_addr"
            case address = "addr"
            case clusterID = "cluster_id"
            case clusterName = "cluster_name"
            case term
        }
    }
}

/// What became of a claim to found the cluster.
public enum FoundingClaim: Hashable, Sendable {
    /// The leader key is this node's until then, unless it claims again.
    case held(until: BootInstant)
    /// The leader key names another node.
    case taken(by: DiscoveryAnnouncement.LeaderRecord)
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
    /// Whether this node can be found in the store; nil when the mode has none.
    public var isRegistered: Bool?
    /// Why what was announced is not, or not all, in the store; nil when it is.
    public var announceError: String?

    public init(
        mode: String, lastContact: WallTime? = nil, lastAddresses: [HostPort] = [], lastError: String? = nil,
        isRegistered: Bool? = nil, announceError: String? = nil
    ) {
        self.mode = mode
        self.lastContact = lastContact
        self.lastAddresses = lastAddresses
        self.lastError = lastError
        self.isRegistered = isRegistered
        self.announceError = announceError
    }
}

/// A look-up or a claim that failed.
public struct DiscoveryError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// A name has no address, or its name server did not answer.
        case unresolvable
        /// No answer within the limit of time.
        case timedOut
        /// No connection to the server.
        case unreachable
        /// The server refused: credentials, permissions.
        case refused
        /// The server answered what cannot be understood.
        case malformed
        /// The host could not do the work: no thread, no memory, a file that cannot be read.
        case system
        /// The backend cannot do it.
        case unsupported
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
