import CLinux
import Glibc
import Logging
import Platform
import Synchronization
import VIP

/// Takes the operator's requests to stop, from signals and from the guard.
///
/// The first one stops in order; the second one, and an orderly stop that takes too long, end the process at once: the
/// guard then removes the address.
struct StopRequests: Sendable {
    private static let signals: [Int32] = [SIGTERM, SIGINT, SIGQUIT, SIGPWR]

    let guardClient: GuardClient
    let logger: Logger

    /// Blocks the signals, so that only `watch` gets them. Call it before the process has a second thread.
    static func blockSignals() {
        var set = mask
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private static var mask: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        return set
    }

    /// Begins to watch.
    ///
    /// - Parameter stop: called once, with the first request.
    /// - Throws: `SystemError` when there is no thread to watch with.
    func watch(stop: @escaping @Sendable () -> Void) throws(SystemError) {
        let counter = Mutex(ShutdownRequests())
        let note: @Sendable (ShutdownRequests.Source) -> Void = { [logger] source in
            let (before, now) = counter.withLock { ($0.urgency, $0.record(source)) }
            switch now {
            case .graceful where before == .none:
                logger.notice("stopping")
                stop()
                Task {
                    try? await Task.sleep(for: Daemon.stopLimit)
                    logger.error("stopping took too long: ending at once")
                    _exit(1)
                }
            case .immediate:
                logger.warning("told to stop a second time: ending at once")
                _exit(1)
            case .none, .graceful: break
            }
        }
        try BlockingThread.start(named: "signals") {
            var set = Self.mask
            while true {
                var signal: Int32 = 0
                guard sigwait(&set, &signal) == 0 else { continue }
                note(.signal)
            }
        }
        Task { [guardClient] in
            for await _ in guardClient.stopRequests { note(.guardProcess) }
        }
    }
}
