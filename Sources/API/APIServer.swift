import Glibc
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
import NIOPosix
public import Platform
public import ServiceLifecycle

/// The HTTP API of one node.
public struct APIServer: Service, CustomStringConvertible {
    private let bind: HostPort
    private let control: any ControlPlane
    private let logger: Logger
    private let limits: APILimits
    private let onListening: @Sendable (HostPort) async -> Void

    /// Port 0 in `bind` lets the kernel choose one. `onListening` is called once with the address that is listened on,
    /// before the first request is answered.
    public init(
        bind: HostPort, control: any ControlPlane, logger: Logger, limits: APILimits = APILimits(),
        onListening: @escaping @Sendable (HostPort) async -> Void = { _ in }
    ) {
        self.bind = bind
        self.control = control
        self.logger = logger
        self.limits = limits
        self.onListening = onListening
    }

    public var description: String { "API on \(bind)" }

    /// Serves until it is cancelled or shut down gracefully. Then it refuses new connections at once and gives requests
    /// in progress `APILimits.drainTime`.
    ///
    /// - Throws: `APIBindError` when it cannot listen.
    public func run() async throws {
        let application = makeApplication()
        let drainTime = limits.drainTime
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await application.run() }
                group.addTask {
                    try await gracefulShutdown()
                    try await Task.sleep(for: drainTime, clock: .continuous)
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch let error as IOError {
            throw APIBindError(bind, errno: error.errnoCode)
        } catch let error as SocketAddressError.UnknownHost {
            throw APIBindError(
                bind, reason: "\"\(bind.host)\" cannot be resolved (\(error.errorDescription)): correct --bind-http")
        } catch let error as SocketAddressError {
            throw APIBindError(bind, reason: "\(error): correct --bind-http")
        }
    }

    /// The application as `run` runs it; tests drive it without a socket.
    func makeApplication() -> some ApplicationProtocol {
        var serverLogger = logger
        // What the framework says at info is said below in our own words.
        if serverLogger.logLevel == .info { serverLogger.logLevel = .notice }
        let (bind, logger, onListening) = (bind, logger, onListening)
        return Application(
            router: APIRoutes(control: control, limits: limits, logger: logger).makeRouter(),
            server: .http1(
                configuration: .init(
                    idleTimeout: .nanoseconds(limits.idleTime.inNanoseconds),
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: limits.headerBytes, maxHeaderListSize: limits.headerBytes,
                        maxHeaderFieldCount: 100))),
            configuration: .init(
                address: .hostname(bind.host, port: Int(bind.port)),
                availableConnectionsDelegate: .maximum(limits.connections, logger: serverLogger)),
            onServerRunning: { channel in
                let port = channel.localAddress?.port.flatMap(UInt16.init(exactly:)) ?? bind.port
                let listening = HostPort(host: bind.host, port: port)
                logger.info("the API is listening", metadata: ["api.address": .stringConvertible(listening)])
                await onListening(listening)
            },
            logger: serverLogger)
    }
}

/// The API cannot listen where it was told to.
public struct APIBindError: Error, Hashable, Sendable, CustomStringConvertible {
    public var address: HostPort
    /// What the kernel or the resolver said, and what to do.
    public var reason: String

    init(_ address: HostPort, reason: String) {
        self.address = address
        self.reason = reason
    }

    init(_ address: HostPort, errno code: Int32) {
        let text = SystemError.text(of: code)
        let remedy =
            switch code {
            case EADDRINUSE:
                "another process listens there: \"ss -ltnp sport = :\(address.port)\" shows which; "
                    + "stop it or give --bind-http another port"
            case EADDRNOTAVAIL:
                "this host has no such address (\"ip -brief address\" shows those it has): correct --bind-http"
            case EACCES:
                "ports below 1024 need CAP_NET_BIND_SERVICE: give --bind-http a port from 1024 on"
            default:
                "correct --bind-http"
            }
        self.init(address, reason: "\(text) (errno \(code)): \(remedy)")
    }

    public var description: String { "the API cannot listen on \(address): \(reason)" }
}
