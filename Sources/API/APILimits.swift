/// The bounds that keep one client, hostile or hung, from disturbing the others or the daemon.
public struct APILimits: Hashable, Sendable {
    /// Bytes of a request's body; a longer one is answered with 413. Default 64 KiB.
    public var bodyBytes = 64 << 10
    /// Bytes of all header fields of a request together. Default 16 KiB.
    public var headerBytes = 16 << 10
    /// From the end of the head to the answer. Then 503, or 408 when the body was not there yet. Default 10 s.
    public var requestTime: Duration = .seconds(10)
    /// How long a connection may be without a whole request head. Default 30 s.
    public var idleTime: Duration = .seconds(30)
    /// Open connections; more wait in the kernel's queue. Default 128.
    public var connections = 128
    /// How long requests in progress may go on once the daemon is told to stop. Default 1 s.
    public var drainTime: Duration = .seconds(1)

    public init() {}
}
