import CLinux
import Glibc
import Platform
import Synchronization

/// A thread that waits on sockets and calls a handler for each readable one, with the time at which it woke.
final class Poller: Sendable {
    struct Source: Sendable {
        var descriptor: Int32
        /// Called on the poller's thread; must read until EAGAIN or leave the rest for the next turn.
        var onReadable: @Sendable (Int32, BootInstant) -> Void
    }

    private let sources: [Source]
    private let wake: Int32
    private let thread: OwnThread
    private let stopped = Mutex(false)

    /// Takes over the descriptors of `sources`: `stop` closes them.
    ///
    /// `keepsOrder`: gives what is read in one go one time. Else an event could be read after a later one of another
    /// source, and bear a later time.
    init(
        _ name: String, nice: Int32 = -10, keepsOrder: Bool = false, _ sources: [Source]
    ) throws(SystemError) {
        let wake = try retryingOnInterrupt("make an eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) }
        self.wake = wake
        self.sources = sources
        thread = try OwnThread(name, nice: nice) {
            Scheduling.observeInRealTime()
            var polled = sources.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            polled.append(pollfd(fd: wake, events: Int16(POLLIN), revents: 0))
            while true {
                if poll(&polled, nfds_t(polled.count), -1) < 0 { continue }
                let now = BootClock.now
                repeat {
                    if polled[sources.count].revents != 0 { return }
                    for (index, source) in sources.enumerated() where polled[index].revents != 0 {
                        source.onReadable(source.descriptor, now)
                    }
                } while keepsOrder && poll(&polled, nfds_t(polled.count), 0) > 0
            }
        }
    }

    /// Ends the thread and closes the descriptors. Further calls do nothing.
    func stop() {
        let first = stopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard first else { return }
        eventfd_write(wake, 1)
        thread.join()
        close(wake)
        for source in sources { close(source.descriptor) }
    }

    deinit { stop() }
}

/// How an observer is scheduled.
enum Scheduling {
    /// Lets the calling thread run before all that is measured, however starved that is; see sched(7). Tried only: without
    /// CAP_SYS_NICE the thread keeps the nice value that it has.
    static func observeInRealTime() {
        var parameters = sched_param()
        parameters.sched_priority = 1
        sched_setscheduler(0, SCHED_FIFO, &parameters)
    }
}
