import Glibc
import Logging
import Platform
import Synchronization

/// Whether the thread of the local database still answers. A value type without clock.
struct SilenceCore: Sendable {
    enum Verdict: Sendable, Equatable {
        case answers
        /// It is late: nothing is lost yet, and who asks should hear of it.
        case late(Duration)
        /// It does not answer any more.
        case silent(Duration)
    }

    /// From then on it is late.
    static let patience: Duration = .milliseconds(1500)
    /// From then on it is taken for silent.
    static let limit: Duration = .seconds(3)
    /// How many questions must have gone unanswered since the first look that found it silent: a process that was stopped for a
    /// while has had no answer for long either, and is well.
    static let proofs: UInt64 = 2

    private var unansweredAtFirst: UInt64?

    /// - Parameters:
    ///   - silence: since the last question that was answered.
    ///   - unanswered: questions that were not, since the start.
    mutating func look(silence: Duration, unanswered: UInt64) -> Verdict {
        guard silence > Self.limit else {
            unansweredAtFirst = nil
            return silence > Self.patience ? .late(silence) : .answers
        }
        let first = unansweredAtFirst ?? unanswered
        unansweredAtFirst = first
        return unanswered >= first && unanswered - first >= Self.proofs ? .silent(silence) : .late(silence)
    }
}

/// Ends the process when its database does not answer for 3 s: the guard removes the addresses and starts a new one.
///
/// libdqlite does everything on one thread. A statement that SQLite cannot interrupt, a disk that hangs or a fault of the library
/// stops raft with it, for as long as it takes, while the process looks well from outside. So this watch trusts nothing: it has a
/// thread of its own, needs neither the event loops nor Swift's pool, and does not wait for anything to stop.
final class SilenceWatch: Sendable {
    /// EX_SOFTWARE of sysexits.h, as when the guard is lost: start me again.
    static let status: Int32 = 70
    private static let interval: Duration = .milliseconds(250)

    private let isStopped = Atomic(false)

    /// - Throws: `SystemError` when the kernel has no thread left.
    init(_ monitor: LeadershipMonitor, logger: Logger) throws(SystemError) {
        try BlockingThread.start(named: "silence") { [self] in watch(monitor, logger) }
    }

    /// What is stopping does not answer: to be called first. The thread ends soon after.
    func stop() { isStopped.store(true, ordering: .relaxed) }

    private func watch(_ monitor: LeadershipMonitor, _ logger: Logger) {
        var core = SilenceCore()
        var wasLate = false
        while !isStopped.load(ordering: .relaxed) {
            switch core.look(silence: monitor.silence(now: BootClock.now), unanswered: monitor.unanswered) {
            case .answers: wasLate = false
            case .late(let silence):
                if !wasLate {
                    logger.warning(
                        "the database of this node does not answer",
                        metadata: ["silence.ms": "\(silence.inMilliseconds)"])
                }
                wasLate = true
            case .silent(let silence):
                guard !isStopped.load(ordering: .relaxed) else { return }
                logger.critical(
                    "the database of this node does not answer any more: the daemon ends, and is started again",
                    metadata: ["silence.ms": "\(silence.inMilliseconds)", "status": "\(Self.status)"])
                _exit(Self.status)
            }
            var pause = timespec(tv_sec: 0, tv_nsec: Int(Self.interval.inNanoseconds))
            nanosleep(&pause, nil)
        }
    }
}
