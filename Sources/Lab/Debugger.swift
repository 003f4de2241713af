import CLinux
import Dispatch
import Glibc
import Platform
import Synchronization

/// Holds a process still as a debugger does: every thread, or some of them, without a signal, and without a word to its parent.
public final class Debugger: Sendable {
    private let leave = DispatchSemaphore(value: 0)
    private let isHolding = Mutex(true)

    /// Returns when the threads stand still.
    ///
    /// - Parameter name: of the threads, as the kernel has it; nil for all of them.
    /// - Throws: `SystemError`: ESRCH when there is no such process, EPERM without CAP_SYS_PTRACE.
    public init(_ process: pid_t, threads name: String? = nil) async throws {
        let leave = leave
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            do {
                // Only the thread that stopped another may let it go, and does so when it ends.
                try OwnThread("debugger") {
                    do throws(SystemError) {
                        try Self.stop(process, name)
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

    private static func stop(_ process: pid_t, _ name: String?) throws(SystemError) {
        var held: Set<pid_t> = []
        while true {
            // One that still ran may have started others meanwhile.
            let new = ProcessTable.entries(of: "/proc/\(process)/task").compactMap { pid_t($0) }
                .filter { !held.contains($0) && (name == nil || self.name(of: $0, in: process) == name) }
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

    private static func name(of thread: pid_t, in process: pid_t) -> String? {
        guard let file = fopen("/proc/\(process)/task/\(thread)/comm", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 32)
        guard fgets(&line, 32, file) != nil else { return nil }
        return String(decoding: line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The process goes on.
    public func detach() {
        let wasHolding = isHolding.withLock { isHolding in
            defer { isHolding = false }
            return isHolding
        }
        if wasHolding { leave.signal() }
    }

    deinit { detach() }
}
