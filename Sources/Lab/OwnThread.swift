import Glibc
import Platform

/// A thread of the laboratory.
///
/// Network namespaces belong to threads, and a probe that sends every millisecond must not wait for Swift's thread
/// pool. Both need threads of their own.
final class OwnThread: Sendable {
    private let handle: pthread_t

    /// Starts `body` on a new thread.
    ///
    /// `nice`: see nice(2); negative values need root and are tried, not enforced.
    /// - Throws: `SystemError` when the host gives no more threads.
    init(_ name: String, nice: Int32 = 0, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let start = Unmanaged.passRetained(
            Start {
                // A name for ps(1) and gdb; without it nothing is lost.
                try? writeSetting("/proc/thread-self/comm", String(name.prefix(15)))
                // Who = 0 is the calling thread: Linux keeps nice values per thread.
                if nice != 0 { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice) }
                body()
            })
        var handle = pthread_t()
        let code = pthread_create(
            &handle, nil,
            { argument in
                if let argument { Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
        guard code == 0 else {
            start.release()
            throw SystemError("start the thread", name, errno: code)
        }
        self.handle = handle
    }

    /// Waits for the end of the thread. Call this or `detach`, once: else the kernel keeps its stack.
    func join() {
        pthread_join(handle, nil)
    }

    /// Lets the thread go; what it had is freed when it ends.
    func detach() {
        pthread_detach(handle)
    }

    private final class Start: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}

/// Runs blocking work on a thread of its own, and suspends the caller meanwhile.
public func offloading<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<T, any Error>) in
        do {
            try OwnThread("lab-work") { continuation.resume(with: Result(catching: body)) }.detach()
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
