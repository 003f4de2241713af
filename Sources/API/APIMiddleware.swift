import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Platform

/// A request's context, with the connection it came by.
struct APIContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}

/// An error that has a status of HTTP.
struct APIError: Error {
    var status: HTTPResponse.Status
    var message: String
    var headers: HTTPFields
    /// The rest of the request was not read, so nothing more can be understood on this connection.
    var closesConnection: Bool

    init(
        _ status: HTTPResponse.Status, _ message: String, headers: HTTPFields = [:], closesConnection: Bool = false
    ) {
        self.status = status
        self.message = message
        self.headers = headers
        self.closesConnection = closesConnection
    }

    /// What any error means to a client.
    init(_ error: any Error, path: String) {
        switch error {
        case let error as APIError:
            self = error
        case let error as ControlError:
            let status: HTTPResponse.Status =
                switch error.kind {
                case .invalid: .badRequest
                case .notFound: .notFound
                case .conflict: .conflict
                case .changed: .preconditionFailed
                case .unavailable: .serviceUnavailable
                case .failed: .internalServerError
                }
            self.init(status, error.message)
        case let error as HTTPError where error.status == .notFound:
            self.init(
                .notFound,
                "there is no \(path) here: see /status, /v1/vip, /v1/failover, /vip, /metrics, /healthz, /readyz")
        case let error as HTTPError:
            self.init(error.status, error.body ?? error.status.reasonPhrase)
        case is CancellationError:
            self.init(.serviceUnavailable, "the daemon is stopping")
        default:
            self.init(.internalServerError, "internal error, please report it: \(error)")
        }
        if status == .serviceUnavailable { headers[.retryAfter] = "1" }
    }
}

/// Outermost: every error becomes `{"message":…}`, and every request a line of the log.
struct ErrorMiddleware: RouterMiddleware {
    let logger: Logger

    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        let start = BootClock.now
        let response: Response
        do {
            response = try await next(request, context)
        } catch {
            response = try answer(APIError(error, path: request.uri.path), context)
        }
        logger.debug(
            "request",
            metadata: [
                "http.method": "\(request.method.rawValue)", "http.path": "\(request.uri.path)",
                "http.status": "\(response.status.code)",
                "http.milliseconds": "\(start.duration(to: BootClock.now).inMilliseconds)",
            ])
        return response
    }

    private func answer(_ error: APIError, _ context: APIContext) throws -> Response {
        if error.status == .internalServerError {
            logger.error("a request failed", metadata: ["error": "\(error.message)"])
        }
        var headers = error.headers
        if error.closesConnection {
            headers[.connection] = "close"
            // Not at once: closing with unread input resets the connection, and the client would lose the answer.
            let channel = context.channel
            channel.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
        }
        return try .json(MessageDocument(message: error.message), error.status, headers: headers)
    }
}

/// Reads the body of every request, bounded in size and time, so that no handler meets a client that stops sending.
struct BodyMiddleware: RouterMiddleware {
    let limits: APILimits

    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        let tooLarge = APIError(
            .contentTooLarge, "the body is larger than \(limits.bodyBytes) bytes", closesConnection: true)
        if let length = request.headers[.contentLength].flatMap(Int.init), length > limits.bodyBytes { throw tooLarge }
        var request = request
        do {
            request.body = RequestBody(buffer: try await collect(request.body))
        } catch is NIOTooManyBytesError {
            throw tooLarge
        } catch let error as APIError {
            throw error
        } catch {
            throw APIError(.badRequest, "the body cannot be read: \(error)", closesConnection: true)
        }
        return try await next(request, context)
    }

    private func collect(_ body: RequestBody) async throws -> ByteBuffer {
        let limits = limits
        return try await withThrowingTaskGroup(of: ByteBuffer.self) { group in
            group.addTask { try await body.collect(upTo: limits.bodyBytes) }
            group.addTask {
                try await Task.sleep(for: limits.requestTime, clock: .continuous)
                throw APIError(
                    .requestTimeout, "the body did not arrive within \(limits.requestTime)", closesConnection: true)
            }
            defer { group.cancelAll() }
            return try await group.next() ?? ByteBuffer()
        }
    }
}
