import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
import NIOPosix
public import Platform
public import ServiceLifecycle
import Synchronization

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
    /// - Throws: `APIBindError` when it cannot listen, also after waiting a little for a port that is taken.
    public func run() async throws {
        do {
            try await Listening.whenFree(errno: { ($0 as? IOError)?.errnoCode }) {
                if !Task.isShuttingDownGracefully { try await serve() }
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

    /// One life of the application. The framework takes a cancellation for a failure of its own and logs errors that are
    /// none, so it is told to stop in order whatever the reason, and is cancelled only when requests hang.
    private func serve() async throws {
        let group = ServiceGroup(configuration: .init(services: [makeApplication()], logger: frameworkLogger))
        let serving = Task.detached { try await group.run() }
        let isStopping = Atomic<Bool>(false)
        let stop: @Sendable () -> Void = { [drainTime = limits.drainTime] in
            isStopping.store(true, ordering: .relaxed)
            Task {
                await group.triggerGracefulShutdown()
                try? await Task.sleep(for: drainTime, clock: .continuous)
                serving.cancel()
            }
        }
        do {
            try await withTaskCancellationHandler {
                try await withGracefulShutdownHandler {
                    try await serving.value
                } onGracefulShutdown: {
                    stop()
                }
            } onCancel: {
                stop()
            }
        } catch {
            guard isStopping.load(ordering: .relaxed) else { throw error }
            logger.debug("the API ended while it was stopping", metadata: ["error": "\(error)"])
        }
    }

    /// The application as `run` runs it; tests drive it without a socket.
    func makeApplication() -> some ApplicationProtocol {
        let serverLogger = frameworkLogger
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

    /// What the framework says at info is said in our own words.
    private var frameworkLogger: Logger {
        var framework = logger
        if framework.logLevel == .info { framework.logLevel = .notice }
        return framework
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
        let remedy = Listening.remedy(for: code, port: address.port, flag: "--bind-http") ?? "correct --bind-http"
        self.init(address, reason: "\(text) (errno \(code)): \(remedy)")
    }

    public var description: String { "the API cannot listen on \(address): \(reason)" }
}
