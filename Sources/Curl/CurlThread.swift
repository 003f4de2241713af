import Platform
import Synchronization

/// Takes requests from any task to the one thread that performs them.
///
/// The thread starts with the first request. It ends, and its connections with it, when nothing is under way and the
/// client is gone or was idle for long; the next request starts another.
final class CurlThread: Sendable {
    private typealias Waiter = CheckedContinuation<CurlAnswer, any Error>

    private enum Order {
        case begin(UInt64, CurlRequest)
        case abort(UInt64)
    }

    private struct State {
        var lastID: UInt64 = 0
        /// Who waits for an answer; whoever takes one out resumes it.
        var waiters: [UInt64: Waiter] = [:]
        /// What the thread has not seen yet, oldest first.
        var orders: [Order] = []
        var hasThread = false
        /// nil until the thread looks for orders, and after it did so for the last time.
        var bell: TransferBell?
        var isClosed = false
    }

    private let state = Mutex(State())
    private let idleTime: Duration
    private let idleConnections: Int

    init(idleTime: Duration, idleConnections: Int) {
        self.idleTime = idleTime
        self.idleConnections = idleConnections
    }

    func send(_ request: CurlRequest) async throws -> CurlAnswer {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter in begin(id, request, waiter) }
        } onCancel: {
            cancel(id)
        }
    }

    /// No request comes any more.
    func close() {
        state.withLock { state in
            state.isClosed = true
            state.bell?.ring()
        }
    }

    private func begin(_ id: UInt64, _ request: CurlRequest, _ waiter: Waiter) {
        // The cancellation handler takes the same lock, so a cancellation is seen here or there.
        let (isCancelled, needsThread) = state.withLock { state in
            if Task.isCancelled { return (true, false) }
            state.waiters[id] = waiter
            state.orders.append(.begin(id, request))
            state.bell?.ring()
            defer { state.hasThread = true }
            return (false, !state.hasThread)
        }
        if isCancelled { return waiter.resume(throwing: CancellationError()) }
        guard needsThread else { return }
        do {
            try BlockingThread.start(named: "curl") { [self] in run() }
        } catch {
            end(error)
        }
    }

    private func cancel(_ id: UInt64) {
        let waiter = state.withLock { state in
            let waiter = state.waiters.removeValue(forKey: id)
            if waiter != nil {
                state.orders.append(.abort(id))
                state.bell?.ring()
            }
            return waiter
        }
        waiter?.resume(throwing: CancellationError())
    }

    private func run() {
        do throws(CurlFailure) {
            var transfers = try Transfers(idleConnections: idleConnections)
            let bell = transfers.bell
            state.withLock { $0.bell = bell }
            do throws(CurlFailure) {
                try serve(&transfers)
            } catch {
                end(error)
            }
            // Not before nobody has the bell any more.
            _ = consume transfers
        } catch {
            end(error)
        }
    }

    private func serve(_ transfers: inout Transfers) throws(CurlFailure) {
        var idleEnd = BootClock.now.advanced(by: idleTime)
        while true {
            let orders = takeOrders()
            for order in orders {
                switch order {
                case .begin(let id, let request):
                    if let failure = transfers.begin(id, request) { finish(id, .failure(failure)) }
                case .abort(let id): transfers.abort(id)
                }
            }
            for (id, result) in try transfers.perform() {
                finish(id, result)
            }
            let now = BootClock.now
            if !transfers.isEmpty || !orders.isEmpty { idleEnd = now.advanced(by: idleTime) }
            if transfers.isEmpty, mayEnd(idleEnd) { return }
            // libcurl itself returns earlier for the time limits of its transfers.
            try transfers.wait(atMost: transfers.isEmpty ? now.duration(to: idleEnd) : .seconds(60))
        }
    }

    private func takeOrders() -> [Order] {
        state.withLock { state in
            defer { state.orders = [] }
            return state.orders
        }
    }

    /// Once it says so, whoever comes later starts another thread.
    private func mayEnd(_ idleEnd: BootInstant) -> Bool {
        state.withLock { state in
            guard state.orders.isEmpty, state.isClosed || BootClock.now >= idleEnd else { return false }
            state.bell = nil
            state.hasThread = false
            return true
        }
    }

    private func finish(_ id: UInt64, _ result: Result<CurlAnswer, CurlFailure>) {
        state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(with: result.mapError { $0 })
    }

    /// There is no thread, or none that could work: all requests have failed.
    private func end(_ error: any Error) {
        let waiters = state.withLock { state in
            defer {
                state.waiters = [:]
                state.orders = []
                state.bell = nil
                state.hasThread = false
            }
            return state.waiters
        }
        for waiter in waiters.values { waiter.resume(throwing: error) }
    }
}
