import Synchronization

/// Waits for `work` no longer than `limit`.
///
/// When the time is over, or the caller is cancelled, the task of `work` is cancelled and left to end by itself. That is
/// why it is not a child task: one that does not heed its cancellation would keep the caller waiting for ever.
///
/// - Throws: what `work` throws; `TimeLimitExceeded`; `CancellationError`.
func withTimeLimit<Value: Sendable>(
    _ limit: Duration, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let race = Race<Value>()
    let worker = Task {
        do {
            race.end(.success(try await work()))
        } catch {
            race.end(.failure(error))
        }
    }
    let timer = Task {
        guard (try? await Task.sleep(for: limit, clock: .continuous)) != nil else { return }
        race.end(.failure(TimeLimitExceeded(limit: limit)))
    }
    defer {
        worker.cancel()
        timer.cancel()
    }
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { race.begin($0) }
    } onCancel: {
        race.end(.failure(CancellationError()))
    }
}

struct TimeLimitExceeded: Error {
    var limit: Duration
}

/// One result, the first to come, for one waiter.
private final class Race<Value: Sendable>: Sendable {
    private enum State {
        case running
        case waited(CheckedContinuation<Value, any Error>)
        case ended(Result<Value, any Error>)
        case done
    }

    private let state = Mutex(State.running)

    func begin(_ continuation: CheckedContinuation<Value, any Error>) {
        let early: Result<Value, any Error>? = state.withLock { state in
            if case .ended(let result) = state {
                state = .done
                return result
            }
            state = .waited(continuation)
            return nil
        }
        if let early { continuation.resume(with: early) }
    }

    func end(_ result: Result<Value, any Error>) {
        let waiter: CheckedContinuation<Value, any Error>? = state.withLock { state in
            switch state {
            case .running:
                state = .ended(result)
                return nil
            case .waited(let continuation):
                state = .done
                return continuation
            case .ended, .done:
                return nil
            }
        }
        waiter?.resume(with: result)
    }
}
