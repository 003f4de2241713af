import CLinux
import Dispatch
import Glibc
import Platform
import Synchronization

/// Holds a process still as a debugger does: every thread, without a signal, and without a word to its parent.
final class Debugger: Sendable {
    private let leave = DispatchSemaphore(value: 0)
    private let isHolding = Mutex(true)

    /// Returns when every thread stands still.
    ///
    /// - Throws: `SystemError`: ESRCH when there is no such process, EPERM without CAP_SYS_PTRACE.
    init(_ process: pid_t) async throws {
        let leave = leave
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            do {
                // Only the thread that stopped another may let it go, and does so when it ends.
                try OwnThread("debugger") {
                    do throws(SystemError) {
                        try Self.stopAll(process)
                    } catch {
                        continuation.resume(throwing: error)
                        return
                    }
                    continuation.resume()
                    leave.wait()
                }.detach()
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    private static func stopAll(_ process: pid_t) throws(SystemError) {
        var held: Set<pid_t> = []
        while true {
            // One that still ran may have started others meanwhile.
            let new = ProcessTable.entries(of: "/proc/\(process)/task").compactMap { pid_t($0) }
                .filter { !held.contains($0) }
            if new.isEmpty { break }
            for thread in new {
                // A thread that has ended needs no stop.
                if clinux_trace_stop(thread) != 0 && Glibc.errno != ESRCH {
                    throw SystemError.last("stop the thread \(thread) of the process", "\(process)")
                }
                held.insert(thread)
            }
        }
        if held.isEmpty { throw SystemError("stop the process", "\(process)", errno: ESRCH) }
    }

    /// The process goes on.
    func detach() {
        let wasHolding = isHolding.withLock { isHolding in
            defer { isHolding = false }
            return isHolding
        }
        if wasHolding { leave.signal() }
    }

    deinit { detach() }
}
