import Dqlite
import Glibc
import Lease
import Logging
import NIOCore
import Platform

/// The libdqlite node of this process with what belongs to it: the relay to its peers and the watch over its leadership.
///
/// One lives from the moment this node takes part in raft until it stops; after its raft state was thrown away another
/// may follow, under another id.
final class LocalNode: Sendable {
    let dqliteID: DqliteNodeID
    let socket: DqliteAddress
    let monitor: LeadershipMonitor
    let observer: RaftObserver
    /// What the relay knows of leases.
    let relayFacts: RelayFacts
    private let node: DqliteNode
    private let relay: NIOLoopBound<RaftRelay>
    private let dialer: RaftDialer
    private let watch: SilenceWatch
    private let loop: any EventLoop
    private let incarnation: UInt64

    private init(
        dqliteID: DqliteNodeID, incarnation: UInt64, node: DqliteNode, socket: DqliteAddress,
        monitor: LeadershipMonitor,
        observer: RaftObserver, relay: NIOLoopBound<RaftRelay>, relayFacts: RelayFacts, dialer: RaftDialer,
        watch: SilenceWatch, loop: any EventLoop
    ) {
        self.dqliteID = dqliteID
        self.incarnation = incarnation
        self.node = node
        self.socket = socket
        self.monitor = monitor
        self.observer = observer
        self.relay = relay
        self.relayFacts = relayFacts
        self.dialer = dialer
        self.watch = watch
        self.loop = loop
    }

    /// Starts libdqlite on a directory and begins to watch it.
    ///
    /// - Parameters:
    ///   - closedUntil: when all is over that an earlier process, or an earlier local node, can have promised to leaders; nil when
    ///     there was none.
    ///   - onLeadership: called at each change of leadership, on a thread that must not be blocked.
    ///   - onReturn: called when a peer that could not be reached is connected again.
    ///   - onTransfer: called when the node is about to tell another voter to stand, its lease being over with that.
    ///   - onLease: called when the proof of leadership has another end, many times a second; it must not block.
    /// - Throws: `DqliteError`, `SystemError`.
    static func start(
        id: DqliteNodeID, incarnation: UInt64, closedUntil: BootInstant?, address: HostPort, directory: String,
        timing: Timing,
        group: any EventLoopGroup, places: @escaping OutboundLink.Places, handshake: @escaping OutboundLink.Handshake,
        members: @escaping @Sendable () -> [DqliteMember], logger: Logger,
        onLeadership: @escaping @Sendable () -> Void, onLease: @escaping @Sendable () -> Void,
        onTransfer: @escaping @Sendable (DqliteNodeID?) -> Void, onReturn: @escaping @Sendable () -> Void,
        onConfiguration: @escaping @Sendable () -> Void
    ) async throws -> LocalNode {
        let observer = RaftObserver()
        let loop = group.next()
        let facts = RelayFacts(own: id, hold: timing.hold)
        let metadata = RaftMetadata.read(inDirectory: directory)
        let relay = try await loop.submit {
            NIOLoopBound(
                RaftRelay(
                    own: id, metadata: metadata, closedUntil: closedUntil, raftDirectory: directory, loop: loop,
                    settings: .init(timing), facts: facts,
                    observer: observer, members: members, logger: logger, onLead: onLeadership, onLease: onLease,
                    onTransfer: onTransfer, onReturn: onReturn, onConfiguration: onConfiguration),
                eventLoop: loop)
        }.get()
        let dialer = RaftDialer(
            relay: relay, loop: loop, group: group, timeout: timing.electionTimeout, places: places,
            handshake: handshake)
        let node = DqliteNode(
            configuration: .init(
                id: id, address: address.description, directory: directory, networkLatency: timing.latency,
                // The configuration is small and changes rarely: a short log keeps directory and memory small.
                snapshotThreshold: 256, snapshotTrailing: 256,
                // With the heartbeat that waits for it still within a lease: nobody's query may cost the lead.
                statementLimit: timing.hold / 2, readableTables: Schema.readableTables, connect: { dialer.dial($0) }))
        try await node.start()
        let socket = try node.bindAddress
        let monitor = try LeadershipMonitor(
            node: id, socket: socket, raftDirectory: directory,
            settings: .init(
                // Not less: on a busy machine the answer takes its time, and a sole voter has no other proof.
                timeout: max(timing.electionTimeout / 2, .milliseconds(150)), proofTime: timing.electionTimeout),
            logger: logger, observedTerm: { observer.highestTerm },
            isSteady: { leadership in
                let now = BootClock.now
                return leadership.isLeader
                    ? facts.lease(now: now)?.term == leadership.term
                    : observer.isSteady(leadership, within: timing.heartbeat * 2, now: now)
            }, onProof: onLease, onChange: { _ in onLeadership() })
        observer.follow(monitor)
        try monitor.start()
        let watch = try SilenceWatch(monitor, logger: logger)
        return LocalNode(
            dqliteID: id, incarnation: incarnation, node: node, socket: socket, monitor: monitor, observer: observer,
            relay: relay, relayFacts: facts, dialer: dialer, watch: watch, loop: loop)
    }

    func stop() async throws {
        watch.stop()
        monitor.stop()
        try await node.stop()
        try await loop.submit { [relay] in relay.value.close() }.get()
    }

    // MARK: - The relay

    /// Lets the raft stream of a peer in.
    var admission: RaftAdmission {
        RaftEntrance(dqliteID: dqliteID, incarnation: incarnation, relay: relay, socket: socket, loop: loop).admission
    }

    /// The proof that this node leads: its lease.
    ///
    /// A sole voter sends nothing that could be acknowledged, and nobody can be elected without it; and where a stream
    /// cannot be read there are no leases: then it is the answer of the local node itself, which raft's step-down bounds.
    func proof(members: [DqliteMember]) -> (term: UInt64, end: BootInstant)? {
        if let lease = relayFacts.lease(now: BootClock.now) {
            // A sole voter's never ends; the guard is told a time that is near.
            return (lease.term, min(lease.end, BootClock.now.advanced(by: .seconds(1))))
        }
        guard let proof = monitor.proof, proof.end > BootClock.now else { return nil }
        let relay = relayFacts.current
        let voters = members.filter { $0.role == .voter }
        let isSole = voters.map(\.id) == [dqliteID] && relay.lease.term < proof.term
        return isSole || relay.unreadable > 0 ? proof : nil
    }

    /// How far each peer has stored the log, as it last said.
    func storedIndexes() async -> [DqliteNodeID: UInt64] {
        (try? await loop.submit { [relay] in relay.value.storedIndexes }.get()) ?? [:]
    }

    /// Tells the relay who votes, as read after this node began to lead `term`; and connects to all members.
    func learnt(_ members: [DqliteMember], by reading: RelayCore.Reading) {
        let voters = members.filter { $0.role == .voter }.map(\.id)
        loop.execute { [relay] in relay.value.learnt(voters: voters, by: reading) }
    }

    /// Asks the hosts of leaders whose process ended; what they answer is in `relayFacts` when `onAnswer` is called.
    func inquire(_ onAnswer: @escaping @Sendable () -> Void) {
        loop.execute { [relay] in relay.value.inquire(onAnswer) }
    }

    /// The successor has the addresses: they are kept no longer.
    func letsGo() { loop.execute { [relay] in relay.value.letsGo() } }

    /// A client of libdqlite was told that the disk has failed: nothing more is stored through it.
    func diskFailed() { loop.execute { [relay] in relay.value.diskFailed() } }

    func warm(_ members: [DqliteMember]) {
        dialer.warm(members.filter { $0.id != dqliteID })
    }

    /// A member was found somewhere: connects there at once.
    func found(_ member: DqliteNodeID) { dialer.found(member) }

    /// Those of the members to which there is no connection.
    func unreachable(of members: [DqliteMember]) async -> [DqliteNodeID] {
        (try? await loop.submit { [relay] in relay.value.unreachable(of: members) }.get()) ?? []
    }

    /// The voters, this node not among them, that have acknowledged what it sent as the leader within so long.
    func responsive(within window: Duration) async -> Set<DqliteNodeID> {
        (try? await loop.submit { [relay] in relay.value.responsive(within: window) }.get()) ?? []
    }
}
