/// Requests over libcurl: many at a time, all on one thread of the client's own, which is there while there is work and a
/// little longer.
///
/// A connection that is still open is used again by the next request to the same server with the same TLS settings. When
/// the server closed such a connection before it answered, libcurl sends the request once more on a new one, whatever its
/// method is.
public final class CurlClient: Sendable {
    private let thread: CurlThread

    /// - Parameters:
    ///   - idleTime: how long thread and connections are kept after the last request.
    ///   - idleConnections: how many connections at most are kept open without a request.
    public init(idleTime: Duration = .seconds(20), idleConnections: Int = 8) {
        thread = CurlThread(idleTime: idleTime, idleConnections: idleConnections)
    }

    deinit { thread.close() }

    /// When its task is cancelled it throws at once, and the connection is closed.
    ///
    /// - Throws: `CurlFailure`; `CancellationError`; `SystemError` when the host has no thread to give.
    public func send(_ request: CurlRequest) async throws -> CurlAnswer {
        try await thread.send(request)
    }
}
