import Platform

/// Waits until `condition` gives a value.
///
/// `what`: what is waited for, for the error: "a leader".
/// `interval`: pause between two looks.
/// `state`: what to say about the present state when the time is over.
/// - Throws: `LabError` after `limit`, with the last error that `condition` threw, if any. Cancellation ends it too.
public func eventually<T: Sendable>(
    _ what: String, within limit: Duration, every interval: Duration = .milliseconds(10),
    state: () async -> String = { "" }, _ condition: () async throws -> T?
) async throws -> T {
    let deadline = BootClock.now.advanced(by: limit)
    var lastError: (any Error)?
    while true {
        do {
            if let value = try await condition() { return value }
            lastError = nil
        } catch let error as CancellationError {
            throw error
        } catch {
            lastError = error
        }
        if BootClock.now >= deadline { break }
        try await Task.sleep(for: interval)
    }
    let detail = await [state(), lastError.map { "last error: \($0)" } ?? ""].filter { !$0.isEmpty }
    throw LabError(
        "no \(what) within \(limit.inMilliseconds) ms" + (detail.isEmpty ? "" : "; " + detail.joined(separator: "; ")))
}

/// The same for a condition that is true or false.
public func eventually(
    _ what: String, within limit: Duration, every interval: Duration = .milliseconds(10),
    state: () async -> String = { "" }, _ condition: () async throws -> Bool
) async throws {
    let _: Bool = try await eventually(what, within: limit, every: interval, state: state) {
        try await condition() ? true : nil
    }
}
