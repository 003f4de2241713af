import Curl
import Platform
import Synchronization

/// Requests to a cluster of etcd: to the member that answered last, else to the next; with a token where etcd wants one.
final class EtcdConnection: Sendable {
    private enum Token: Hashable {
        case unknown
        case notNeeded
        case known(String)
    }

    private struct State {
        /// Of the endpoint that answered last.
        var preferred = 0
        var token = Token.unknown
    }

    let configuration: EtcdConfiguration
    /// What all our keys begin with.
    private let prefix: String
    private let client = CurlClient()
    private let state = Mutex(State())
    /// A password is costly to check, so etcd is asked once for all who wait.
    private let authentication = FIFOGate()

    init(_ configuration: EtcdConfiguration, prefix: String) {
        self.configuration = configuration
        self.prefix = prefix
    }

    /// Asks until a member gives an answer that `decode` understands.
    ///
    /// - Parameter operation: what is tried, for messages: "read /key/".
    /// - Throws: `DiscoveryError`; `EtcdFailure` when etcd does not know the lease.
    func ask<Answer>(
        _ path: String, _ body: [UInt8], to operation: String, _ decode: ([UInt8]) -> Answer?
    ) async throws -> Answer {
        let endpoints = configuration.endpoints
        let first = state.withLock { $0.preferred }
        var failures: [EtcdFailure] = []
        for offset in endpoints.indices {
            let index = (first + offset) % endpoints.count
            do {
                let bytes = try await sendAuthorised(path, body, endpoints[index])
                guard let answer = decode(bytes) else {
                    // On a stream, success is said before the failure is known.
                    let said = EtcdMessages.failure(bytes)
                    throw EtcdFailure(
                        endpoint: endpoints[index], reason: said.map { .answer(status: 200, $0) } ?? .malformed)
                }
                state.withLock { $0.preferred = index }
                return answer
            } catch let failure as EtcdFailure {
                if failure.isUnknownLease { throw failure }
                failures.append(failure)
                if !failure.isOfOneMember { break }
            }
        }
        throw explain(failures, operation)
    }

    private func explain(_ failures: [EtcdFailure], _ operation: String) -> DiscoveryError {
        guard let last = failures.last else {
            return DiscoveryError(.unreachable, "cannot \(operation) in etcd: no endpoint is configured")
        }
        let remedy = last.remedy(configuration, prefix: prefix)
        // A refusal is of all members, so one is enough to name.
        guard failures.count > 1, last.isOfOneMember else {
            return DiscoveryError(
                last.code,
                "cannot \(operation) in etcd at \(last.endpoint): \(last.text(configuration)): \(remedy)")
        }
        let each = failures.map { "\($0.endpoint): \($0.text(configuration))" }.joined(separator: "; ")
        let code = failures.first { $0.code == .timedOut }?.code ?? last.code
        return DiscoveryError(code, "cannot \(operation) in any of the endpoints of etcd: \(each): \(remedy)")
    }

    private func sendAuthorised(
        _ path: String, _ body: [UInt8], _ endpoint: EtcdConfiguration.Endpoint
    ) async throws -> [UInt8] {
        guard configuration.username != nil else { return try await send(path, body, endpoint, .notNeeded) }
        var token = state.withLock { $0.token }
        if token == .unknown { token = try await newToken(endpoint, insteadOf: token) }
        do {
            return try await send(path, body, endpoint, token)
        } catch let failure as EtcdFailure where failure.wantsNewToken {
            return try await send(path, body, endpoint, newToken(endpoint, insteadOf: token))
        }
    }

    private func newToken(_ endpoint: EtcdConfiguration.Endpoint, insteadOf old: Token) async throws -> Token {
        try await authentication.run {
            let present = state.withLock { $0.token }
            guard present == old, let username = configuration.username, let password = configuration.password else {
                return present
            }
            var token = Token.notNeeded
            do {
                let body = EtcdMessages.authenticate(username, password)
                let bytes = try await send("/v3/auth/authenticate", body, endpoint, .notNeeded)
                guard let text = EtcdMessages.token(bytes) else {
                    throw EtcdFailure(endpoint: endpoint, reason: .malformed)
                }
                token = .known(text)
            } catch let failure as EtcdFailure where failure.isWithoutAuthentication {}
            state.withLock { [token] in $0.token = token }
            return token
        }
    }

    private func send(
        _ path: String, _ body: [UInt8], _ endpoint: EtcdConfiguration.Endpoint, _ token: Token
    ) async throws -> [UInt8] {
        var headers = [(name: "Content-Type", value: "application/json")]
        if case .known(let text) = token { headers.append(("Authorization", text)) }
        let request = CurlRequest(
            "POST", "\(endpoint)\(path)", headers: headers, body: body, connectTime: configuration.timeLimit,
            totalTime: configuration.timeLimit, answerBytes: 4 << 20,
            tls: endpoint.isSecure ? configuration.tls : CurlRequest.TLS(),
            proxy: endpoint.isLocal ? .none : .environment)
        do {
            let answer = try await client.send(request)
            if answer.status == 200 { return answer.body }
            throw EtcdFailure(
                endpoint: endpoint, reason: .answer(status: answer.status, EtcdMessages.failure(answer.body)))
        } catch let failure as CurlFailure {
            throw EtcdFailure(endpoint: endpoint, reason: .transport(failure))
        }
    }
}
