import CLinux
import Glibc
import Platform
import Synchronization

/// A thread with a timer that runs the jobs of one actor: so nothing that keeps the shared pool of Swift's threads busy
/// delays it.
///
/// It is also a task executor, for the asynchronous functions of no actor that the actor waits for.
final class OwnershipThread: SerialExecutor, TaskExecutor {
    private enum Work {
        case job(UnownedJob)
        case body(@Sendable () -> Void)
    }

    private struct State {
        var work: [Work] = []
        var onWake: (@Sendable () -> Void)?
        var isStopped = false
    }

    /// What the thread uses; it outlives the executor by the thread's last turn.
    private final class Shared: Sendable {
        let state = Mutex(State())
        let eventDescriptor: Int32
        let timer: BootTimer
        let wakeRequested = Atomic<Bool>(false)
        let thread = Atomic<UInt>(0)

        init() throws(SystemError) {
            eventDescriptor = try retryingOnInterrupt("open an eventfd") {
                eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
            }
            do {
                timer = try BootTimer()
            } catch {
                close(eventDescriptor)
                throw error
            }
        }

        deinit { close(eventDescriptor) }

        func signal() {
            var one: UInt64 = 1
            // It fails only when the counter is full, and then the thread is awake already.
            _ = write(eventDescriptor, &one, 8)
        }
    }

    private let shared: Shared

    /// Starts the thread, in the network namespace of the caller.
    ///
    /// - Throws: `SystemError` when the system has no thread or descriptor to give.
    init(named name: String) throws(SystemError) {
        let shared = try Shared()
        self.shared = shared
        // The thread does not keep the object: who queues a job does.
        let executor = Unmanaged.passUnretained(self)
        try BlockingThread.start(named: name) { Self.serve(shared, executor) }
    }

    deinit {
        shared.state.withLock { $0.isStopped = true }
        shared.signal()
    }

    // MARK: Executor

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        shared.state.withLock { $0.work.append(.job(job)) }
        // This thread looks for work again before it sleeps; a task that waits comes here several times for one event.
        if !isServing { shared.signal() }
    }

    /// Whether the caller is on this thread.
    private var isServing: Bool { shared.thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    func isIsolatingCurrentContext() -> Bool? { isServing }

    func checkIsolated() {
        precondition(isIsolatingCurrentContext() == true, "this may be called on the ownership's thread only")
    }

    // MARK: Use

    /// Sets what is done after `wake()` and when the timer fires.
    func onWake(_ body: @escaping @Sendable () -> Void) {
        shared.state.withLock { $0.onWake = body }
    }

    /// Has the thread do what `onWake` set. Many calls may come to one. From any thread; it does not wait.
    func wake() {
        shared.wakeRequested.store(true, ordering: .releasing)
        shared.signal()
    }

    /// Runs `body` on the thread, after what was queued before.
    func submit(_ body: @escaping @Sendable () -> Void) {
        shared.state.withLock { $0.work.append(.body(body)) }
        if !isServing { shared.signal() }
    }

    /// Has the thread do what `onWake` set at `time`, by all means before `latest`, and perhaps somewhat early (see `BootTimer`),
    /// instead of the time set before.
    func arm(at time: BootInstant, latest: BootInstant) { shared.timer.arm(at: time, latest: latest) }

    // MARK: The thread

    private static func serve(_ shared: Shared, _ executor: Unmanaged<OwnershipThread>) {
        shared.thread.store(UInt(pthread_self()), ordering: .relaxed)
        // On a busy machine it comes first, where that is allowed (CAP_SYS_NICE); it needs microseconds at a time.
        ThreadPriority.set(ThreadPriority.urgent)
        var descriptors = [
            pollfd(fd: shared.eventDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: shared.timer.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            let hasWork = shared.state.withLock { !$0.work.isEmpty }
            if !hasWork { _ = poll(&descriptors, 2, -1) }
            var count: UInt64 = 0
            _ = read(shared.eventDescriptor, &count, 8)
            let isTime = shared.timer.takeExpiry()
            let (work, onWake, isStopped) = shared.state.withLock { state in
                let taken = (state.work, state.onWake, state.isStopped)
                state.work = []
                return taken
            }
            if shared.wakeRequested.exchange(false, ordering: .acquiring) || isTime { onWake?() }
            for item in work {
                switch item {
                case .body(let body): body()
                case .job(let job):
                    // Somebody who waits for the job keeps its actor, and that the executor.
                    let owner = executor.takeUnretainedValue()
                    job.runSynchronously(
                        isolatedTo: owner.asUnownedSerialExecutor(), taskExecutor: owner.asUnownedTaskExecutor())
                }
            }
            if isStopped { return }
        }
    }
}
