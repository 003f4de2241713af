import CLinux
import Dqlite
import Glibc
import Logging
import Platform
import Synchronization

/// Watches who leads by asking the local node through its unix socket, on a thread of its own.
///
/// It asks every `interval`, or every `steadyInterval` while raft's own traffic shows that nothing changes, and at once when
/// `kick` says that it hints at a change. Each answer "I lead"
/// proves leadership until `proofTime` after the question was sent; a question that is not answered in time, or not
/// at all, proves nothing, and the node counts as not leading.
final class LeadershipMonitor: Sendable {
    struct Settings: Sendable {
        /// Between two questions when nothing hints at a change, and nothing shows that there is none.
        var interval: Duration = .milliseconds(40)
        /// Between two questions while raft's traffic shows that the leader is the one that is known.
        var steadyInterval: Duration = .milliseconds(250)
        /// How long an answer is waited for.
        var timeout: Duration = .milliseconds(150)
        /// How long an answer proves leadership, from the moment it was asked for.
        var proofTime: Duration = .milliseconds(300)
    }

    private struct State {
        var leadership = Leadership()
        var provenUntil: BootInstant?
        var isStopped = false
        var subscribers: [Int: AsyncStream<Leadership>.Continuation] = [:]
        var nextSubscriber = 0
        var unanswered: UInt64 = 0
        var lastAnswer = BootClock.now
        var observedTerm: UInt64 = 0
    }

    private let node: DqliteNodeID
    private let socket: DqliteAddress
    private let raftDirectory: String
    private let settings: Settings
    private let logger: Logger
    private let wakeUp: Int32
    private let state = Mutex(State())
    private let onProof: @Sendable () -> Void
    private let onChange: @Sendable (Leadership) -> Void
    private let observedTerm: @Sendable () -> UInt64
    private let isSteady: @Sendable (Leadership) -> Bool

    /// - Parameters:
    ///   - observedTerm: the highest term seen passing: a node can lose and regain the lead between two questions.
    ///   - isSteady: whether raft's traffic shows just now that this leadership lasts. Each question costs libdqlite two
    ///     turns of its loop, and they were a fifth of what an idle node costs.
    ///   - onProof: called on the monitor's thread when `proof` has got a later end.
    ///   - onChange: called on the monitor's thread before the subscribers hear of it; it must not block.
    /// - Throws: `SystemError` when the kernel has no descriptor left.
    init(
        node: DqliteNodeID, socket: DqliteAddress, raftDirectory: String, settings: Settings, logger: Logger,
        observedTerm: @escaping @Sendable () -> UInt64,
        isSteady: @escaping @Sendable (Leadership) -> Bool = { _ in false },
        onProof: @escaping @Sendable () -> Void = {},
        onChange: @escaping @Sendable (Leadership) -> Void
    ) throws(SystemError) {
        self.node = node
        self.socket = socket
        self.raftDirectory = raftDirectory
        self.settings = settings
        self.logger = logger
        self.observedTerm = observedTerm
        self.isSteady = isSteady
        self.onProof = onProof
        self.onChange = onChange
        wakeUp = try retryingOnInterrupt("make an event descriptor") {
            eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        }
    }

    deinit {
        close(wakeUp)
    }

    /// Starts the thread, which ends after `stop`.
    func start() throws(SystemError) {
        try BlockingThread.start(named: "leadership") { [self] in run() }

    }

    func stop() {
        state.withLock { $0.isStopped = true }
        kick()
    }

    /// Asks now. Cheap, and callable from any thread.
    func kick() {
        var one: UInt64 = 1
        _ = write(wakeUp, &one, 8)
    }

    var current: Leadership { state.withLock { $0.leadership } }

    /// Until when leadership is proved; nil while this node does not lead.
    var proof: (term: UInt64, end: BootInstant)? {
        state.withLock { state in
            guard state.leadership.isLeader, let end = state.provenUntil else { return nil }
            return (state.leadership.term, end)
        }
    }

    /// Questions that were not answered in time, since the start.
    var unanswered: UInt64 { state.withLock { $0.unanswered } }

    /// How long ago the local node was last asked something that it has answered.
    func silence(now: BootInstant) -> Duration { state.withLock { $0.lastAnswer }.duration(to: now) }

    /// Every change from now on, beginning with the present state.
    func changes() -> AsyncStream<Leadership> {
        AsyncStream(bufferingPolicy: .bufferingNewest(16)) { continuation in
            let id = state.withLock { state in
                let id = state.nextSubscriber
                state.nextSubscriber += 1
                state.subscribers[id] = continuation
                continuation.yield(state.leadership)
                if state.isStopped { continuation.finish() }
                return id
            }
            continuation.onTermination = { [weak self] _ in
                _ = self?.state.withLock { $0.subscribers.removeValue(forKey: id) }
            }
        }
    }

    /// The first leadership that is as wanted, the present one included; nil when there is none within `limit`.
    func first(
        within limit: Duration, where isWanted: @escaping @Sendable (Leadership) -> Bool
    ) async -> Leadership? {
        let changes = changes()
        return await withTaskGroup(of: Leadership?.self) { tasks in
            tasks.addTask { await changes.first(where: isWanted) }
            tasks.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            defer { tasks.cancelAll() }
            return await tasks.next() ?? nil
        }
    }

    // MARK: - The thread

    private func run() {
        ThreadPriority.set(ThreadPriority.raised)
        var hasFailed = false
        while true {
            do {
                var probe = try LeaderProbe(address: socket, timeout: settings.timeout)
                while !isStopped {
                    let asked = BootClock.now
                    let leader = try probe.poll()
                    hasFailed = false
                    state.withLock { $0.lastAnswer = asked }
                    note(leader: leader == 0 ? nil : leader, asked: asked)
                    pause()
                }
            } catch {
                if !hasFailed, !isStopped {
                    logger.debug("the local node did not say who leads", metadata: ["error": "\(error)"])
                }
                hasFailed = true
                state.withLock { $0.unanswered += 1 }
                note(leader: nil, asked: BootClock.now)
                if !isStopped { pause() }
            }
            if isStopped { break }
        }
        note(leader: nil, asked: BootClock.now)
        let subscribers = state.withLock { state in
            defer { state.subscribers = [:] }
            return Array(state.subscribers.values)
        }
        for subscriber in subscribers { subscriber.finish() }
    }

    private var isStopped: Bool { state.withLock { $0.isStopped } }

    private func pause() {
        var descriptor = pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0)
        let interval = isSteady(current) ? settings.steadyInterval : settings.interval
        poll(&descriptor, 1, Int32(clamping: interval.inMilliseconds))
        var count: UInt64 = 0
        _ = read(wakeUp, &count, 8)
    }

    private func note(leader: DqliteNodeID?, asked: BootInstant) {
        let isLeader = leader == node
        let observed = observedTerm()
        let (before, seen) = state.withLock { state in
            defer { state.observedTerm = observed }
            return (state.leadership, state.observedTerm)
        }
        var term = before.term
        if before.leader != leader || before.isLeader != isLeader || term == 0 || observed != seen {
            // libraft has the term on disk before it votes or leads in it.
            term = RaftMetadata.term(inDirectory: raftDirectory) ?? term
        }
        let after = Leadership(term: term, leader: leader, isLeader: isLeader)
        let subscribers = state.withLock { state in
            state.leadership = after
            state.provenUntil = isLeader ? asked.advanced(by: settings.proofTime) : nil
            return after == before ? [] : Array(state.subscribers.values)
        }
        guard after != before else {
            if isLeader { onProof() }
            return
        }
        onChange(after)
        for subscriber in subscribers { subscriber.yield(after) }
    }
}
