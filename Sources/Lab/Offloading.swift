import Platform

/// Runs blocking work on a thread of its own, and suspends the caller meanwhile.
public func offloading<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await BlockingThread.run(named: "lab-work", body)
}
