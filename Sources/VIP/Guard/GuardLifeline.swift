import CLinux
import Glibc
import Platform
import Synchronization

/// By what the guard hears of the daemon's death before the kernel has taken the daemon apart.
///
/// The kernel closes the descriptors of a process when its last thread has ended, and after it has undone its memory and its
/// asynchronous I/O: with dqlite's writes under way this was measured to take 37 ms, and on a busy machine each thread first
/// waits for its turn. So one thread that does nothing has a descriptor table of its own (unshare(2), CLONE_FILES) with the
/// end of a socket pair in it, and nothing else. When the process dies, whatever else it still has to do, this thread ends at
/// once, and the socket pair with it.
enum GuardLifeline {
    /// Starts that thread, and hands it the descriptor, which is closed in the rest of the process.
    ///
    /// - Throws: `SystemError` when it is no descriptor, or the system has no thread to give.
    static func hang(on descriptor: Int32) throws(SystemError) {
        try retryingOnInterrupt("take over the lifeline", "\(descriptor)") { fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        let ready = try retryingOnInterrupt("open an eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) }
        defer { close(ready) }
        let outcome = Outcome()
        try BlockingThread.start(named: "vip-lifeline") {
            ThreadPriority.set(ThreadPriority.urgent)
            let isApart = clinux_unshare_files() == 0
            outcome.errno.store(isApart ? 0 : errno, ordering: .releasing)
            var one: UInt64 = 1
            _ = write(ready, &one, 8)
            guard isApart else { return }
            // What others open from now on is not seen here; what was open already would be kept open by this table.
            for other in 0..<max(1024, descriptor + 1) where other != descriptor { close(other) }
            while true { pause() }
        }
        var count: UInt64 = 0
        try retryingOnInterrupt("wait for the lifeline's thread") { read(ready, &count, 8) }
        close(descriptor)
        let failure = outcome.errno.load(ordering: .acquiring)
        if failure != 0 { throw SystemError("separate the descriptors of a thread", errno: failure) }
    }

    private final class Outcome: Sendable {
        let errno = Atomic<Int32>(0)
    }
}
