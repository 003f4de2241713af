import Curl
import FoundationEssentials
import Glibc
public import Platform

/// The API of a daemon, as the command line and tests use it. Each call is one connection, which is closed after it.
public struct APIClient: Sendable {
    /// Where the daemon's API listens.
    public let address: HostPort
    private let connectTime: Duration
    private let totalTime: Duration

    /// `connectTime` runs until the connection stands, names resolved included; `totalTime` until the answer is complete.
    /// That is longer than the daemon's own limit of 10 s, so that its message is seen and not ours.
    public init(
        address: HostPort, connectTime: Duration = .seconds(3), totalTime: Duration = .seconds(12)
    ) {
        self.address = address
        self.connectTime = connectTime
        self.totalTime = totalTime
    }

    /// What was answered, of whatever status.
    public struct Answer: Sendable {
        /// The status of HTTP.
        public var status: Int
        public var body: [UInt8]
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// - Throws: `APIClientError`, as all functions here.
    public func status() async throws -> StatusReport { try decode(await get("/status")) }

    /// The status as the daemon wrote it.
    public func statusJSON() async throws -> String { try accepted(await get("/status")).text }

    /// Ready or not: 503 is an answer here and no error.
    public func readiness() async throws -> ReadinessReport { try decode(await get("/readyz"), besides: 503) }

    /// Alive or not: 503 is an answer here and no error.
    public func health() async throws -> HealthReport { try decode(await get("/healthz"), besides: 503) }

    /// The virtual addresses as `address/prefix length`.
    public func virtualAddresses() async throws -> [String] {
        let document: AddressesDocument = try decode(await get("/v1/vip"))
        return document.addresses
    }

    /// Puts these in the place of the virtual addresses that are set.
    public func setVirtualAddresses(_ texts: [String]) async throws {
        let body: Data
        do {
            body = try JSONEncoder().encode(AddressesDocument(addresses: texts))
        } catch {
            throw APIClientError(.notUnderstood, "\(texts) cannot be sent: \(error)")
        }
        _ = try accepted(await send("PUT", "/v1/vip", Array(body)))
    }

    public func clearVirtualAddresses() async throws { _ = try accepted(await send("DELETE", "/v1/vip", nil)) }

    /// Gives the lead to another voter: `successor`, or whoever is ready.
    public func failOver(to successor: String?) async throws -> HandOverReport {
        let body: Data
        do {
            body = try JSONEncoder().encode(FailoverDocument(to: successor))
        } catch {
            throw APIClientError(.notUnderstood, "\"\(successor ?? "")\" cannot be sent: \(error)")
        }
        return try decode(await send("POST", "/v1/failover", Array(body)))
    }

    public func nodes() async throws -> NodesReport { try decode(await get("/v1/nodes")) }

    /// Takes a node out of the cluster.
    public func removeNode(_ target: String, force: Bool) async throws -> RemovedNodeReport {
        let path = "/v1/nodes/\(PercentEncoding.encode(target))" + (force ? "?force=true" : "")
        return try decode(await send("DELETE", path, nil))
    }

    /// A backup, as the daemon wrote it.
    public func backup() async throws -> String { try accepted(await get("/v1/backup")).text }

    /// Puts the configuration of a backup in the place of the present one.
    public func restore(_ backup: [UInt8]) async throws { _ = try accepted(await send("POST", "/v1/restore", backup)) }

    /// The database of the asked node, as one SQLite file.
    public func databaseFile() async throws -> [UInt8] { try accepted(await get("/v1/backup/database")).body }

    /// Any path, any answer.
    ///
    /// - Throws: `APIClientError` when there is no answer.
    public func get(_ path: String) async throws -> Answer { try await send("GET", path, nil) }

    private func send(_ method: String, _ path: String, _ body: [UInt8]?) async throws -> Answer {
        // No proxy of the environment: the API is one known host.
        let request = CurlRequest(
            method, "http://\(address)\(path)", headers: [("Content-Type", "application/json")], body: body,
            connectTime: connectTime, totalTime: totalTime, proxy: .none)
        do {
            let answer = try await CurlClient().send(request)
            return Answer(status: answer.status, body: answer.body)
        } catch let failure as CurlFailure {
            throw explain(failure)
        } catch {
            throw APIClientError(.unreachable, "cannot ask \(place): \(error)")
        }
    }

    private var place: String { "the API of dqlite-vip at http://\(address)" }

    private func explain(_ failure: CurlFailure) -> APIClientError {
        let named = "name its API with --api HOST:PORT if it listens elsewhere (start --bind-http)"
        switch failure.code {
        case .cannotConnect where failure.errno == ECONNREFUSED:
            return APIClientError(
                .unreachable, "cannot reach \(place): connection refused: is the daemon running? Start it, or \(named)")
        case .cannotConnect:
            let reason = failure.errno == 0 ? failure.text : SystemError.text(of: failure.errno)
            return APIClientError(.unreachable, "cannot reach \(place): \(reason): is the host up? Or \(named)")
        case .unresolvable:
            return APIClientError(
                .unreachable, "cannot reach \(place): the name \"\(address.host)\" cannot be resolved: correct --api")
        case .timedOut:
            return APIClientError(
                .timedOut,
                "no answer from \(place) in time: is the host up, does its firewall let port \(address.port) through, "
                    + "is the daemon stopped by a signal?")
        case .notHTTP:
            return APIClientError(
                .notUnderstood,
                "what listens at \(address) does not answer HTTP (\(failure.text)): is it the cluster port? The API "
                    + "has its own, 9900 unless --bind-http says otherwise; or the daemon ended just now")
        case .answerTooLong:
            return APIClientError(.notUnderstood, "the answer of \(place) is too long to be a dqlite-vip's")
        default:
            return APIClientError(.unreachable, "cannot ask \(place): \(failure.text)")
        }
    }

    /// The answer, when its status is one of success.
    private func accepted(_ answer: Answer) throws -> Answer {
        if (200..<300).contains(answer.status) { return answer }
        let message = try? JSONDecoder().decode(MessageDocument.self, from: Data(answer.body)).message
        if let message { throw APIClientError(.refused, message, status: answer.status) }
        throw APIClientError(
            .notUnderstood, "\(place) answered with HTTP status \(answer.status): is it a dqlite-vip?",
            status: answer.status)
    }

    private func decode<Value: Decodable>(_ answer: Answer, besides: Int? = nil) throws -> Value {
        let answer = answer.status == besides ? answer : try accepted(answer)
        do {
            return try JSONDecoder().decode(Value.self, from: Data(answer.body))
        } catch {
            throw APIClientError(
                .notUnderstood,
                "the answer of \(place) is not that of dqlite-vip, or of one of another version: \(error)",
                status: answer.status)
        }
    }
}

/// Why a question to the API has no good answer.
public struct APIClientError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable {
        /// No connection.
        case unreachable
        /// No answer in time.
        case timedOut
        /// The daemon refused; the message is the daemon's.
        case refused
        /// What answers does not speak our language.
        case notUnderstood
    }

    public var kind: Kind
    /// For a person.
    public var message: String
    /// The status of HTTP, when there was an answer.
    public var status: Int?

    init(_ kind: Kind, _ message: String, status: Int? = nil) {
        self.kind = kind
        self.message = message
        self.status = status
    }

    public var description: String { message }
}
