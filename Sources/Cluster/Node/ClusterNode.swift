import Discovery
import Dqlite
import Logging
import NIOCore
import NIOPosix
import Platform
import ServiceLifecycle

/// This node's life in its cluster: it finds the others, founds or joins, keeps the membership when it leads, and tells
/// who leads and what is configured.
///
/// Decisions of bootstrap are `BootstrapCore`'s; this actor feeds it with what happens and does what it says, one
/// directive after the other.
public actor ClusterNode: Service {
    let settings: ClusterSettings
    let facts = NodeFacts()
    let store: ConfigurationStore
    let membership: Membership
    let peers: PeerClient
    let logger: Logger
    private let discovery: any Discovery
    private let data: DataDirectory
    private let group: MultiThreadedEventLoopGroup
    private let port: ClusterPort
    private let onLeadership: @Sendable () -> Void

    private var core: BootstrapCore
    private var record: NodeRecord
    private let events: AsyncStream<BootstrapEvent>
    private let input: AsyncStream<BootstrapEvent>.Continuation
    private let leaderships: AsyncStream<Leadership>
    private let leadershipInput: AsyncStream<Leadership>.Continuation
    private var pendingAnswers: [Int: CheckedContinuation<PeerReply, Never>] = [:]
    private var nextToken = 0
    private var timer: Task<Void, Never>?

    /// What this node waits for, in words; empty when it is a member of a formed cluster.
    private(set) var waitingFor = ""
    private var warnings: [String] = []
    /// The configuration as this node last saw it; current while it leads.
    var configuration = ReplicatedConfiguration()
    private var configurationWatchers: [Int: AsyncStream<ReplicatedConfiguration?>.Continuation] = [:]
    private var nextWatcher = 0

    /// - Parameters:
    ///   - data: the locked data directory.
    ///   - onLeadership: called, on a thread of the node's own, at each change of leadership; it must not block.
    /// - Throws: what loading `node.json` throws.
    public init(
        settings: ClusterSettings, discovery: any Discovery, data: DataDirectory, logger: Logger,
        onLeadership: @escaping @Sendable () -> Void
    ) throws {
        self.settings = settings
        self.discovery = discovery
        self.data = data
        self.logger = logger
        self.onLeadership = onLeadership
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        self.group = group
        peers = PeerClient(group: group)
        store = ConfigurationStore(group: group)
        membership = Membership(
            group: group, store: store, clusterName: settings.clusterName, voters: settings.voters, logger: logger)
        (events, input) = AsyncStream.makeStream()
        (leaderships, leadershipInput) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(64))
        let box = WeakNode()
        port = ClusterPort(
            group: group, delegate: PortAnswers(facts: facts, settings: settings, node: { box.node }), logger: logger)
        core = BootstrapCore()
        record = NodeRecord()
        box.set(self)
    }
}
