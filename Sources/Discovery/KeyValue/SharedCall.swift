import Synchronization

/// One call at a time, whose result all get that ask while it runs.
final class SharedCall<Value: Sendable>: Sendable {
    private struct State {
        var isRunning = false
        var lastID: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Value, any Error>] = [:]
    }

    private let state = Mutex(State())
    private let body: @Sendable () async throws -> Value

    /// For tests: how many wait for the call that runs.
    var waiterCount: Int { state.withLock { $0.waiters.count } }

    init(_ body: @escaping @Sendable () async throws -> Value) { self.body = body }

    /// - Throws: what the call throws; `CancellationError` at once when the task is cancelled, while the call goes on.
    func value() async throws -> Value {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                // The cancellation handler takes the same lock, so a cancellation is seen here or there.
                let (isCancelled, isFirst) = state.withLock { state in
                    if Task.isCancelled { return (true, false) }
                    state.waiters[id] = continuation
                    defer { state.isRunning = true }
                    return (false, !state.isRunning)
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
                if isFirst { start() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(throwing: CancellationError())
        }
    }

    private func start() {
        Task { [self] in
            let result: Result<Value, any Error>
            do {
                result = .success(try await body())
            } catch {
                result = .failure(error)
            }
            let waiters = state.withLock { state in
                defer { (state.isRunning, state.waiters) = (false, [:]) }
                return state.waiters
            }
            for waiter in waiters.values { waiter.resume(with: result) }
        }
    }
}
