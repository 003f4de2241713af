import CDqlite
import Platform
import Synchronization

/// One libdqlite node in this process.
///
/// It has one owner, who starts it once and stops it once. Dropping a running node leaves it running until the
/// process ends: libdqlite has no way to stop without blocking.
///
/// libdqlite 1.11 cannot be trusted after a failure: a second `dqlite_node_create` in the same process crashes.
/// So the first failure of a create or start closes a latch for the process, and later nodes are refused.
public final class DqliteNode: Sendable {
    public struct Configuration: Sendable {
        /// Opens a stream socket to the node with this address, blocking; the node owns the descriptor then.
        ///
        /// It is called on libdqlite's threads and must return by itself: `stop()` waits for a pending call.
        public typealias Connect = @Sendable (String) -> Result<Int32, SystemError>

        /// Not 0. 1 and 0x2dc171858c3155be found a cluster when the directory is empty.
        public var id: DqliteNodeID
        /// What the other nodes dial. With `connect` it is only a name.
        public var address: String
        /// The data directory; it must exist, and belong to this node alone.
        public var directory: String
        /// Sets raft's timers: heartbeat 1.5 times, election time-out 15 times this. Whole milliseconds, 1 ms...1 h.
        public var networkLatency: Duration
        /// Told by `DqliteClient.describe`; nothing in libdqlite acts on it.
        public var failureDomain: UInt64
        /// Log entries between snapshots; nil for libdqlite's 1024. Set both or neither.
        public var snapshotThreshold: UInt32?
        /// Log entries kept behind a snapshot; nil for libdqlite's 8192. Set both or neither.
        public var snapshotTrailing: UInt32?
        /// How long one SQL statement may use libdqlite's only thread, where an endless one would cost the leadership; nil: SQL is not
        /// guarded at all. It is the same for all nodes of a process: the last one started sets it.
        public var statementLimit: Duration?
        /// What clients from outside may read, names in lower case. It is the same for all nodes of a process: the first one
        /// with a `statementLimit` sets it.
        public var readableTables: Set<String>
        /// nil for libdqlite's own, which dials IPv4 literals and has no time limit.
        public var connect: Connect?

        public init(
            id: DqliteNodeID, address: String, directory: String, networkLatency: Duration = .milliseconds(20),
            failureDomain: UInt64 = 0, snapshotThreshold: UInt32? = nil, snapshotTrailing: UInt32? = nil,
            statementLimit: Duration? = nil, readableTables: Set<String> = [], connect: Connect? = nil
        ) {
            self.id = id
            self.address = address
            self.directory = directory
            self.networkLatency = networkLatency
            self.failureDomain = failureDomain
            self.snapshotThreshold = snapshotThreshold
            self.snapshotTrailing = snapshotTrailing
            self.statementLimit = statementLimit
            self.readableTables = readableTables
            self.connect = connect
        }
    }

    private enum State {
        case idle
        case busy(String)
        case running(NodeHandle, DqliteAddress)
        case ended(String)
    }

    public let configuration: Configuration
    private let state = Mutex(State.idle)

    public init(configuration: Configuration) {
        self.configuration = configuration
    }

    public var networkLatency: Duration { configuration.networkLatency }

    /// Where the running node listens: an automatic name in the abstract namespace, for this process only.
    ///
    /// - Throws: `misuse` unless the node is running.
    public var bindAddress: DqliteAddress {
        get throws(DqliteError) {
            let address: DqliteAddress? = state.withLock {
                if case .running(_, let address) = $0 { address } else { nil }
            }
            guard let address else { throw DqliteError(.misuse, "node \(configuration.id) is not running") }
            return address
        }
    }

    /// Creates and starts the node; returns when it answers on `bindAddress`.
    ///
    /// - Throws: `misuse`, `nodeCreate` or `nodeStart`. After the latter two, when they come from libdqlite, the
    ///   process should end: no further node can be created in it.
    public func start() async throws(DqliteError) {
        try state.withLock { state throws(DqliteError) in
            switch state {
            case .idle: state = .busy("starting")
            case .busy(let what): throw misuse("it is \(what)")
            case .running: throw misuse("it is running")
            case .ended(let why): throw misuse("it \(why); make a new DqliteNode")
            }
        }
        let configuration = configuration
        let result = await onOwnThread { () -> Result<(NodeHandle, DqliteAddress), DqliteError> in
            // libdqlite's threads inherit it.
            ThreadPriority.set(ThreadPriority.raised)
            do throws(DqliteError) {
                return .success(try NodeHandle.start(configuration))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success((let handle, let address)):
            state.withLock { $0 = .running(handle, address) }
        case .failure(let error):
            state.withLock { $0 = .ended("failed to start") }
            throw error
        }
    }

    /// Stops the node and frees it. Give leadership away first (`DqliteClient.transfer`): a stop does not.
    ///
    /// It waits for requests in flight and for a pending `Configuration.connect`.
    ///
    /// - Throws: `misuse` unless it is running, `nodeStop`.
    public func stop() async throws(DqliteError) {
        let handle = try state.withLock { state throws(DqliteError) -> NodeHandle in
            switch state {
            case .running(let handle, _):
                state = .busy("stopping")
                return handle
            case .idle: throw misuse("it was never started")
            case .busy(let what): throw misuse("it is \(what)")
            case .ended(let why): throw misuse("it \(why)")
            }
        }
        let failure = await onOwnThread { handle.stopAndDestroy() }
        state.withLock { $0 = .ended(failure == nil ? "is stopped" : "failed to stop") }
        if let failure { throw failure }
    }

    private func misuse(_ reason: String) -> DqliteError {
        DqliteError(.misuse, "node \(configuration.id): \(reason)")
    }
}

/// Runs blocking work on a thread made for it, so that the cooperative pool keeps its threads.
private func onOwnThread<T: Sendable>(_ work: @escaping @Sendable () -> T) async -> T {
    do {
        return try await BlockingThread.run(named: "dqlite-node", work)
    } catch {
        // Without a thread (EAGAIN: a limit of the system) it is better to block a pool thread than to do nothing.
        return work()
    }
}
