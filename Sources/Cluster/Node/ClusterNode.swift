import Discovery
import Dqlite
import Logging
import NIOCore
import NIOPosix
import Platform
import ServiceLifecycle
import Synchronization

/// This node's life in its cluster: it finds the others, founds or joins, keeps the membership while it leads, and tells
/// who leads and what is configured.
///
/// What to do is `BootstrapCore`'s decision; this actor feeds it with what happens and does what it says, one directive
/// after the other. Membership, configuration and status stand in extensions beside.
public actor ClusterNode: Service {
    let settings: ClusterSettings
    let facts = NodeFacts()
    let store: ConfigurationStore
    let membership: Membership
    let peers: PeerClient
    let logger: Logger
    let discovery: any Discovery
    let data: DataDirectory
    private let group: MultiThreadedEventLoopGroup
    private let port: ClusterPort
    let onLeadership: @Sendable () -> Void
    private let onReturn: @Sendable () -> Void
    /// Why this node should not lead now, in words; nil when it can.
    let unfit: @Sendable () async -> String?
    /// Whether all addresses are set here now.
    let holdsAddresses: @Sendable () async -> Bool
    private let onListening: @Sendable () -> Void
    let reference = NodeReference()

    private var core: BootstrapCore
    private let events: AsyncStream<BootstrapEvent>
    private let input: AsyncStream<BootstrapEvent>.Continuation
    private let leaderships: AsyncStream<Void>
    private let leadershipInput: AsyncStream<Void>.Continuation
    private var pendingAnswers: [PeerReplyToken: CheckedContinuation<PeerReply, Never>] = [:]
    private var nextToken: PeerReplyToken = 0
    private var timer: Task<Void, Never>?
    /// A local node of this process has run.
    private var hasRunLocalNode = false
    /// So that what has not changed is not logged again.
    var lastLogged = Leadership()
    var lastDiscoveryError: String?

    /// What this node waits for, in words; empty when it is a member of a formed cluster.
    private(set) var waitingFor = ""
    private(set) var warnings: [String] = []
    /// The configuration as this node last saw it; current while it leads.
    var configuration = ReplicatedConfiguration()
    var watchers: [Int: AsyncStream<ConfigurationUpdate>.Continuation] = [:]
    var nextWatcher = 0
    /// For those who begin to watch later.
    var lastUpdate: ConfigurationUpdate?
    private(set) var isStopping = false
    /// A hand-over of the lead is under way: to be told when the successor has the addresses.
    var handingOver: AsyncStream<Void>.Continuation?
    /// The term for which this node has read what is configured, as its leader. Before that it answers and changes nothing: what it
    /// would have to write first must not stand in the way of that reading.
    var takenUpTerm: UInt64?
    /// This node has tried to give the lead away before it stops.
    var isRelieved = false
    /// libdqlite's own transfer of the lead. What nobody takes ends by itself after an election timeout, and until then there
    /// can be no other.
    var transferring: Task<Void, Never>?
    /// Whether the local node believes the members that its log lists; nil once that is known, or nothing can be wrong.
    var configurationWatch: ConfigurationWatch?
    /// Voters that take nothing from this leader.
    var stuckVoters = StuckVoters()
    /// Why no change is taken while this node leads; nil when changes are.
    var writesRefused: String?
    let refreshes = SerialQueue()
    var refreshing: Task<Void, Never>?
    var lastRoleFailure: String?
    /// What changes of address wait for, as logged last.
    var movesWaitFor: [DqliteNodeID: String] = [:]
    /// Members whose removal is under way.
    var removing: Set<DqliteNodeID> = []
    var hearing: Task<Void, Never>?
    /// It asks the others whether it still is a member, because somebody said that it is not.
    var isAskingStanding = false
    /// Why `--vip` was not taken; nil when it was, or when other addresses have been set meanwhile.
    var initialClash: AddressClash?

    /// - Parameters:
    ///   - data: the locked data directory.
    ///   - onListening: called when the cluster port is open.
    ///   - holdsAddresses: whether all addresses are set here now: then a successor may set them before they are taken off.
    ///   - unfit: says why this node should not be given the lead now, in words; nil when it can lead.
    ///   - onReturn: called when another node that could not be reached is connected again.
    ///   - onLeadership: called, on a thread of the node's own, whenever `leadershipProof` may be another than before,
    ///     which is many times a second on the leader; it must not block.
    /// - Throws: `DataDirectory.Failure` and `BootstrapCore.StartError`: the directory is not that of a sound node.
    public init(
        settings: ClusterSettings, discovery: any Discovery, data: DataDirectory, logger: Logger,
        onListening: @escaping @Sendable () -> Void = {},
        holdsAddresses: @escaping @Sendable () async -> Bool = { true },
        unfit: @escaping @Sendable () async -> String? = { nil },
        onReturn: @escaping @Sendable () -> Void = {}, onLeadership: @escaping @Sendable () -> Void
    ) throws {
        self.settings = settings
        self.discovery = discovery
        self.data = data
        self.logger = logger
        self.onLeadership = onLeadership
        self.onReturn = onReturn
        self.onListening = onListening
        self.unfit = unfit
        self.holdsAddresses = holdsAddresses
        core = try BootstrapCore(
            options: settings.bootstrapOptions, record: try data.loadRecord(), raftIsEmpty: data.raftIsEmpty)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        self.group = group
        group.next().execute { ThreadPriority.set(ThreadPriority.raised) }
        peers = PeerClient(group: group)
        store = ConfigurationStore(group: group)
        membership = Membership(
            group: group, store: store, policy: settings.rolePolicy, logger: logger)
        (events, input) = AsyncStream.makeStream()
        (leaderships, leadershipInput) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        port = ClusterPort(
            group: group, delegate: PortAnswers(facts: facts, settings: settings, node: reference), logger: logger)
        reference.set(self)
    }

    // MARK: - Life

    /// Runs until graceful shutdown, which hands leadership over and stops the local node.
    ///
    /// - Throws: what makes it impossible to go on: the port is taken, the disk fails, libdqlite does not start.
    public func run() async throws {
        facts.update {
            $0.clusterID = core.record.clusterID?.description
            $0.isSuspended = core.record.recovered != nil
        }
        try await port.listen(on: settings.listen)
        logger.info(
            "the cluster port is open",
            metadata: [
                "node.id": "\(core.record.nodeID)", "node.name": "\(settings.name)",
                "node.address": "\(settings.advertised)",
                "listen": "\(settings.listen)",
            ])
        onListening()
        announce()
        let input = self.input
        do {
            try await withGracefulShutdownHandler {
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    tasks.addTask { try await self.consumeEvents() }
                    tasks.addTask { await self.consumeLeaderships() }
                    tasks.addTask { try await self.watchLocalNode() }
                    tasks.addTask { await self.findMembers() }
                    tasks.addTask { await self.keepEntries() }
                    tasks.addTask {
                        await self.keepRoles()
                        try await Task.sleep(for: .seconds(1 << 40))
                    }
                    tasks.addTask { try await self.markStored() }
                    tasks.addTask { try await self.watchFormerCluster() }
                    tasks.addTask { [discovery] in
                        await discovery.run()
                        try await Task.sleep(for: .seconds(1 << 40))
                    }
                    try await tasks.next()
                    tasks.cancelAll()
                }
            } onGracefulShutdown: {
                input.finish()
            }
        } catch {
            await stop()
            throw error
        }
        await stop()
    }

    private func stop() async {
        isStopping = true
        timer?.cancel()
        // At once, and beside all else: nobody should be sent to a node that is on its way out.
        async let withdrawn: Void = discovery.withdraw()
        for (_, answer) in pendingAnswers { answer.resume(returning: .error("the node is stopping")) }
        pendingAnswers = [:]
        await handOver()
        if settings.membership.leavesOnShutdown { await leave() }
        await port.close()
        await store.use(nil)
        await membership.use(nil)
        await stopLocalNode()
        await withdrawn
        // The event loop goes on, with nothing left on it, until the process ends: questions to peers that nobody waits for any
        // more may still come to it, and one that has ended takes none without a crash in debug builds.
    }

    private func consumeEvents() async throws {
        input.yield(.start)
        for await event in events {
            for directive in core.step(event, now: BootClock.now) {
                try await perform(directive)
            }
        }
    }

    func report(_ event: BootstrapEvent) {
        input.yield(event)
    }

    /// Notes on disk that this node has left its cluster, after its last event.
    func persistLeft() async throws {
        if let record = core.left() { try await persist(record) }
    }

    var record: NodeRecord { core.record }

    // MARK: - Directives

    private func perform(_ directive: BootstrapDirective) async throws {
        switch directive {
        case .persist(let record):
            try await persist(record)
        case .send(let request, let target, let id, let within):
            send(request, to: target, id: id, within: within)
        case .respond(let reply, let token):
            pendingAnswers.removeValue(forKey: token)?.resume(returning: reply)
        case .lookUp:
            lookUp()
        case .startNode(let id, _):
            try await startLocalNode(id)
            report(.nodeStarted(dqliteID: id))
        case .createDatabase(let clusterID, let agreement):
            createDatabase(clusterID, agreement)
        case .admit(let member, let role, let clusterID):
            admitFounder(member, role, clusterID)
        case .commitFormed(let clusterID, let deadline):
            commitFormed(clusterID, before: deadline)
        case .claimFounding(let clusterID):
            claimFounding(clusterID)
        case .stopNode:
            await stopLocalNode()
        case .stopNodeAndWipeRaft:
            await stopLocalNode()
            try data.wipeRaft()
        case .becameMember(let clusterID, let formed):
            becameMember(clusterID, formed: formed)
        case .waiting(let reason):
            note(waitingFor: reason)
        case .warn(let warning):
            note(warning: "\(warning)")
        case .wake(let at):
            timer?.cancel()
            timer = Task { [input] in
                try? await BootClock().sleep(until: at)
                if !Task.isCancelled { input.yield(.tick) }
            }
        }
    }

    private func persist(_ record: NodeRecord) async throws {
        let data = self.data
        // An fsync can take long; the cooperative pool has two threads on a small machine.
        try await BlockingThread.run(named: "node.json") { try data.save(record) }
        facts.update { $0.clusterID = record.clusterID?.description }
        announce()
    }

    private func send(_ request: PeerRequest, to target: HostPort, id: PeerRequestID, within: Duration) {
        Task {
            do {
                let reply = try await peers.ask(
                    .peer(request, timing: settings.timingClaim), of: target, timeout: within)
                guard case .peer(let answer) = reply else {
                    throw PortFailure(reason: .malformed, text: "\(target) answered something else")
                }
                report(.reply(id, from: target, answer))
            } catch {
                if let failure = error as? PortFailure, failure.reason == .wrongNode || failure.reason == .otherTiming {
                    note(warning: failure.text)
                }
                report(.failed(id, from: target, reason: "\(error)"))
            }
        }
    }

    private func note(waitingFor reason: BootstrapWaiting?) {
        let text = reason.map { "\($0)" } ?? ""
        guard text != waitingFor else { return }
        waitingFor = text
        guard !text.isEmpty else { return }
        // Most reasons are over before anybody could read them.
        Task {
            try? await Task.sleep(for: .milliseconds(700))
            if waitingFor == text { logger.info("waiting", metadata: ["reason": "\(text)"]) }
        }
    }

    func note(warning: String) {
        guard !warnings.contains(warning) else { return }
        logger.warning("\(Logger.Message(stringLiteral: warning))")
        warnings.append(warning)
        if warnings.count > 20 { warnings.removeFirst() }
    }

    // MARK: - The local node

    private func startLocalNode(_ id: DqliteNodeID) async throws {
        if let local = facts.current.local {
            if local.dqliteID == id { return }
            await stopLocalNode()
        }
        let promises = try await outlastPromises()
        try data.prepareRaft(dqliteID: id)
        try await beginTermOfOnlyVoter(id)
        let newestAtStart = await newestEntry()
        let facts = self.facts
        let settings = self.settings
        let leadershipInput = self.leadershipInput
        let onLeadership = self.onLeadership
        let onReturn = self.onReturn
        let local = try await LocalNode.start(
            id: id, incarnation: facts.incarnation,
            closedUntil: promises.over(isFirst: !hasRunLocalNode, now: BootClock.now), address: settings.advertised,
            directory: data.raftDirectory, timing: settings.timing, group: group, places: { facts.places(of: $0) },
            handshake: { member in
                guard let clusterID = facts.current.clusterID else { return nil }
                return RaftHandshake(
                    clusterName: settings.clusterName, clusterID: clusterID, dqliteID: id,
                    address: settings.advertised.description, target: member,
                    timing: settings.timingClaim,
                    incarnation: facts.incarnation, relay: RaftRelay.version)
            },
            members: { facts.current.members }, logger: logger,
            onLeadership: {
                onLeadership()
                leadershipInput.yield()
            }, onLease: onLeadership,
            onTransfer: { successor in
                Self.tellsToStand(successor, facts)
            }, onReturn: onReturn, onConfiguration: { [weak self] in Task { await self?.configurationPassed() } })
        hasRunLocalNode = true
        try await BlockingThread.run(named: "raft") { [data] in try data.checkNothingWasPutAside() }
        configurationWatch = newestAtStart.map { ConfigurationWatch(local: local, newestAtStart: $0) }
        await store.use(local.socket)
        await membership.use(local.socket, id: id, sight: NodeSight(local: local, facts: facts, node: reference))
        // Before peers are let in: under which name libdqlite hears of one depends on who is where.
        await refreshMembers()
        facts.update { $0.local = local }
        // What it has become meanwhile was not seen.
        leadershipInput.yield()
        onLeadership()
        logger.info("the database node runs", metadata: ["node.dqlite_id": "\(id)"])
    }

    /// Notes how long this run's promises bind, once nothing binds any more that a run with a longer lease has promised.
    private func outlastPromises() async throws -> EarlierPromises {
        let (data, hold) = (data, settings.timing.hold)
        let earlier = try await BlockingThread.run(named: "lease") { try data.loadHold() }
        let promises = EarlierPromises(hold: hold, earlier: earlier, openedAt: data.openedAt, isNew: data.isNew)
        guard earlier != hold else { return promises }
        if let end = promises.longer, end > BootClock.now {
            logger.notice(
                "the lease is shorter than before: waiting until earlier promises are over",
                metadata: [
                    "lease.ms": "\(hold.inMilliseconds)", "lease.before.ms": "\(earlier?.inMilliseconds ?? 0)",
                ])
            try await BootClock().sleep(until: end)
        }
        try await BlockingThread.run(named: "lease") { try data.save(hold: hold) }
        return promises
    }

    /// libraft would let an only voter lead its old term again.
    private func beginTermOfOnlyVoter(_ id: DqliteNodeID) async throws {
        let directory = data.raftDirectory
        let term = try await BlockingThread.run(named: "raft") {
            try RaftMetadata.beginTerm(ofOnlyVoter: id, inDirectory: directory)
        }
        guard let term else { return }
        logger.debug("the only voter begins a new term", metadata: ["raft.term": "\(term)"])
    }

    /// The index of the last entry in the log on disk; nil when there is none, or it cannot be told.
    private func newestEntry() async -> UInt64? {
        let directory = data.raftDirectory
        let last = try? await BlockingThread.run(named: "raft") { () -> UInt64 in
            var tail = RaftLogTail()
            return try tail.lastIndex(inDirectory: directory)
        }
        return last == 0 ? nil : last
    }

    private func stopLocalNode() async {
        let local = facts.current.local
        facts.update {
            $0.local = nil
            $0.members = []
            $0.isFormed = false
            $0.roster = nil
        }
        guard let local else { return }
        // Nothing is proven any more.
        onLeadership()
        configurationWatch = nil
        await store.use(nil)
        await membership.use(nil)
        do {
            try await local.stop()
        } catch {
            logger.warning("the database node did not stop cleanly", metadata: ["error": "\(error)"])
        }
        facts.update { $0.past = $0.past + LeadCounters(local.relayFacts.current) }
    }

    private func becameMember(_ clusterID: ClusterID, formed: Bool) {
        let wasFormed = facts.current.isFormed
        facts.update {
            $0.clusterID = clusterID.description
            $0.isFormed = formed
        }
        announce()
        guard formed, !wasFormed else { return }
        logger.notice("this node belongs to a formed cluster", metadata: ["cluster.id": "\(clusterID)"])
        // They were about the way here.
        warnings = []
        onLeadership()
        leadershipInput.yield()
    }

    // MARK: - Peers

    /// Answers a request that came in on the cluster port.
    func answer(_ request: PortRequest, from peer: PortPeer) async -> PortReply {
        switch request {
        case .peer(let request, let timing):
            // Giving up an old proposal is harmless, and keeps nobody bound.
            if let difference = timing.flatMap(settings.timingClaim.difference), !request.isAbort {
                note(warning: difference.text)
                return .failed(difference)
            }
            if case .join(let join) = request, facts.current.isFormed { return .peer(await admit(join)) }
            if case .hello(let view) = request { meet(view) }
            guard !isStopping else { return .peer(.error("the node is stopping")) }
            let token = nextToken
            nextToken += 1
            return .peer(
                await withCheckedContinuation { continuation in
                    pendingAnswers[token] = continuation
                    report(.request(request, token: token))
                })
        case .write(let change, let clusterID):
            return await sameCluster(clusterID) { await ofMember(peer) { await answer(write: change, of: peer) } }
        case .read(let clusterID):
            return await sameCluster(clusterID) { await answerRead() }
        case .changed(let configuration, let clusterID):
            return await sameCluster(clusterID) {
                guard isLeader(peer) else { return unknownLeader() }
                heard(configuration)
                await refreshMembers()
                return .written
            }
        case .handOver(let offer):
            return await sameCluster(offer.clusterID) { await answer(offer, from: peer) }
        case .tookOver(let term, let clusterID):
            return await sameCluster(clusterID) { await answer(tookOver: term, from: peer) }
        case .failOver(let wanted, let clusterID):
            return await sameCluster(clusterID) { await ofMember(peer) { await answer(failOverTo: wanted) } }
        case .roster(let roster):
            return await sameCluster(roster.clusterID) { answer(roster, from: peer) }
        case .removeNode(let order, let clusterID):
            return await sameCluster(clusterID) { await ofMember(peer) { await answer(order) } }
        case .dismissed(let removal, let clusterID):
            return await sameCluster(clusterID) { await answer(dismissal: removal, from: peer) }
        case .standing(let id, let clusterID):
            return await sameCluster(clusterID) { await answer(standingOf: id) }
        case .raft:
            return .failed(PortFailure(reason: .malformed, text: "raft is not a question"))
        }
    }

    /// An address that one cluster still lists may belong to a node of another by now, which must not serve the first.
    private func sameCluster(_ clusterID: String, _ body: () async -> PortReply) async -> PortReply {
        guard clusterID == facts.current.clusterID else {
            return .failed(
                PortFailure(
                    reason: .otherCluster,
                    text: "\(settings.advertised) belongs to another cluster than the one that was named, or to none"))
        }
        return await body()
    }

    private func consumeLeaderships() async {
        // What counts is the state when it is dealt with: a report can be overtaken by the next change.
        for await _ in leaderships {
            await leadershipChanged(facts.current.local?.monitor.current ?? Leadership())
        }
    }
}

extension PeerRequest {
    fileprivate var isAbort: Bool { if case .abort = self { true } else { false } }
}

/// A reference to the node that does not keep it alive.
final class NodeReference: Sendable {
    private struct Weak: Sendable { weak var node: ClusterNode? }
    private let reference = Mutex(Weak())

    func set(_ node: ClusterNode) { reference.withLock { $0.node = node } }
    var node: ClusterNode? { reference.withLock { $0.node } }
}
