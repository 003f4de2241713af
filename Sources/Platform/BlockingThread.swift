/// Threads for calls that block (getaddrinfo, libcurl): the cooperative pool has one thread per core, and a few blocked
/// ones would stop every task of the daemon.
public enum BlockingThread {
    /// Starts `body` on an `OwnThread` that nobody waits for.
    ///
    /// - Throws: `SystemError` with EAGAIN when the kernel has no thread to give; `body` is not called then.
    public static func start(
        named name: String, stackSize: Int = 512 << 10, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        try OwnThread(name, stackSize: stackSize, body).detach()
    }

    /// Runs `work` on a thread of its own and gives back what it returned or threw.
    ///
    /// Cancellation does not reach a blocked call: bound the time of `work` itself.
    public static func run<Value: Sendable>(
        named name: String, stackSize: Int = 512 << 10, _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try start(named: name, stackSize: stackSize) { continuation.resume(with: Result { try work() }) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
