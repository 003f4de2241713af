import Dqlite
import Logging
import NIOCore
import Platform
import Synchronization

/// The libdqlite node of this process with what belongs to it: its dialler and the watch over its leadership.
///
/// One lives from the moment this node takes part in raft until it stops; after its raft state was thrown away another
/// may follow, under another id.
final class LocalNode: Sendable {
    let dqliteID: DqliteNodeID
    let socket: DqliteAddress
    let monitor: LeadershipMonitor
    private let node: DqliteNode
    let observer: RaftObserver

    private init(
        dqliteID: DqliteNodeID, node: DqliteNode, socket: DqliteAddress, monitor: LeadershipMonitor,
        observer: RaftObserver
    ) {
        self.dqliteID = dqliteID
        self.node = node
        self.socket = socket
        self.monitor = monitor
        self.observer = observer
    }

    /// Starts libdqlite on a directory and begins to watch it.
    ///
    /// - Throws: `DqliteError`, `SystemError`.
    static func start(
        id: DqliteNodeID, address: HostPort, directory: String, timing: Timing, group: any EventLoopGroup,
        handshake: @escaping @Sendable (_ address: String) -> RaftHandshake?, logger: Logger,
        onLeadership: @escaping @Sendable (Leadership) -> Void
    ) async throws -> LocalNode {
        let observer = RaftObserver()
        let dialer = RaftDialer(
            group: group, timeout: timing.electionTimeout, handshake: handshake,
            tap: { observer.makeTap(direction: .outbound) }, logger: logger)
        let node = DqliteNode(
            configuration: .init(
                id: id, address: address.description, directory: directory, networkLatency: timing.latency,
                // The configuration is small and changes rarely: a short log keeps directory and memory small.
                snapshotThreshold: 256, snapshotTrailing: 256,
                // Well below the election timeout: nobody's query may cost the lead.
                statementLimit: timing.electionTimeout / 3, connect: { dialer.dial($0) }))
        try await node.start()
        let socket = try node.bindAddress
        let monitor = try LeadershipMonitor(
            node: id, socket: socket, raftDirectory: directory,
            settings: .init(timeout: timing.electionTimeout / 2, proofTime: timing.electionTimeout),
            logger: logger, observedTerm: { observer.highestTerm }, onChange: onLeadership)
        observer.follow(monitor)
        try monitor.start()
        return LocalNode(dqliteID: id, node: node, socket: socket, monitor: monitor, observer: observer)
    }

    func stop() async throws {
        monitor.stop()
        try await node.stop()
    }
}
