import Platform
import Synchronization

/// A sleep that others can end. One task sleeps; a call before it does is not lost.
final class WakeUp: Sendable {
    private struct State {
        var isPending = false
        var sleep: UInt64 = 0
        var sleeper: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    /// Ends the present sleep, or keeps the next from beginning.
    func call() {
        let sleeper = state.withLock { state in
            if state.sleeper == nil { state.isPending = true }
            defer { state.sleeper = nil }
            return state.sleeper
        }
        sleeper?.resume()
    }

    /// Sleeps until the time, a call or the cancellation of the task; nil: without a limit of time.
    func sleep(until deadline: BootInstant?) async {
        let sleep = state.withLock { state in
            state.sleep += 1
            return state.sleep
        }
        let timer = deadline.map { deadline in
            Task { [weak self] in
                guard (try? await BootClock().sleep(until: deadline)) != nil else { return }
                self?.end(sleep)
            }
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    // The cancellation handler takes the same lock, so a cancellation is seen here or there. So does the
                    // timer: its time may be over already.
                    if state.isPending || Task.isCancelled || deadline.map({ $0 <= BootClock.now }) == true {
                        state.isPending = false
                        return true
                    }
                    state.sleeper = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            end(sleep)
        }
        timer?.cancel()
    }

    private func end(_ sleep: UInt64) {
        let sleeper = state.withLock { state in
            guard state.sleep == sleep else { return nil as CheckedContinuation<Void, Never>? }
            defer { state.sleeper = nil }
            return state.sleeper
        }
        sleeper?.resume()
    }
}
