import Platform
import Synchronization

/// Queries that block, each on a thread of its own and never two for one key at a time: whoever asks meanwhile gets the
/// same answer.
///
/// A blocked call cannot be interrupted, so a caller waits for it no longer than its limit; a thread that takes longer is
/// left alone and serves whoever asks next.
final class SharedQueries<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let threadName: String
    private let query: @Sendable (Key) -> Value
    private let pending = Mutex<Pending>(Pending())

    private struct Waiter {
        var continuation: CheckedContinuation<Value, any Error>
        var timer: Task<Void, Never>

        func resume(with result: Result<Value, any Error>) {
            timer.cancel()
            continuation.resume(with: result)
        }
    }

    private struct Pending {
        var nextWaiter: UInt64 = 0
        var waiters: [Key: [UInt64: Waiter]] = [:]
    }

    init(threadName: String, query: @escaping @Sendable (Key) -> Value) {
        self.threadName = threadName
        self.query = query
    }

    /// - Throws: `late` when the limit is reached; `SystemError` when there is no thread; `CancellationError`.
    func value(
        for key: Key, within limit: Duration, orThrow late: @autoclosure @escaping @Sendable () -> any Error
    ) async throws -> Value {
        let id = pending.withLock { pending in
            defer { pending.nextWaiter += 1 }
            return pending.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                wait(for: key, id, continuation, limit, late)
            }
        } onCancel: {
            end(key, id, .failure(CancellationError()))
        }
    }

    /// For tests: how many wait for a key.
    func waiterCount(for key: Key) -> Int { pending.withLock { $0.waiters[key]?.count ?? 0 } }

    private func wait(
        for key: Key, _ id: UInt64, _ continuation: CheckedContinuation<Value, any Error>, _ limit: Duration,
        _ late: @escaping @Sendable () -> any Error
    ) {
        let timer = Task { [weak self] in
            guard (try? await Task.sleep(for: limit, clock: .continuous)) != nil else { return }
            self?.end(key, id, .failure(late()))
        }
        let isFirst = pending.withLock { pending in
            let isFirst = pending.waiters[key] == nil
            pending.waiters[key, default: [:]][id] = Waiter(continuation: continuation, timer: timer)
            return isFirst
        }
        // The cancellation handler has run in vain when it ran before the waiter stood in the table.
        if Task.isCancelled { end(key, id, .failure(CancellationError())) }
        guard isFirst else { return }
        do {
            try BlockingThread.start(named: threadName) { [self] in
                let value = query(key)
                endAll(key, .success(value))
            }
        } catch {
            endAll(key, .failure(error))
        }
    }

    private func endAll(_ key: Key, _ result: Result<Value, any Error>) {
        let waiters = pending.withLock { $0.waiters.removeValue(forKey: key) } ?? [:]
        for waiter in waiters.values { waiter.resume(with: result) }
    }

    /// Ends one wait; the key stays in the table as long as its thread runs, even when nobody waits any more.
    private func end(_ key: Key, _ id: UInt64, _ result: Result<Value, any Error>) {
        let waiter = pending.withLock { $0.waiters[key]?.removeValue(forKey: id) }
        waiter?.resume(with: result)
    }
}
