import API
import ArgumentParser
import FoundationEssentials
import Platform

/// How the commands that ask a daemon find it.
struct APIOptions: ParsableArguments {
    static let variable = "DQLITE_VIP_API"

    @Option(
        help: ArgumentHelp(
            "API of the daemon to ask. Default: $\(variable), else 127.0.0.1:9900.", valueName: "host:port"))
    var api: String?

    /// - Throws: `ValidationError`, for which the parser exits with 64.
    func address(environment: [String: String]) throws -> HostPort {
        let given = api.map { ("--api", $0) } ?? environment[Self.variable].map { (Self.variable, $0) }
        guard let (origin, text) = given, origin == "--api" || !text.isEmpty else { return StartSettings.defaultAPI }
        // People paste the address of a browser.
        var rest = text[...]
        if rest.hasPrefix("http://") { rest = rest.dropFirst("http://".count) }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        do throws(HostPort.ParseError) {
            return try HostPort(parsing: rest, defaultPort: StartSettings.defaultAPI.port)
        } catch {
            throw ValidationError("\(origin) \"\(text)\": \(error.reason): give HOST:PORT, like 127.0.0.1:9900")
        }
    }

    /// Asks the daemon, and ends the command with a message and the right status when that fails.
    func ask<Value: Sendable>(_ question: @escaping @Sendable (APIClient) async throws -> Value) throws -> Value {
        let client = APIClient(address: try address(environment: ProcessInfo.processInfo.environment))
        do {
            return try blockingRun { try await question(client) }
        } catch let error as APIClientError {
            Terminal.complain("dqlite-vip: \(error)")
            throw ExitStatus.of(error)
        }
    }
}

extension ExitStatus {
    static func of(_ error: APIClientError) -> ExitCode {
        switch error.kind {
        case .unreachable, .timedOut: unreachable
        case .refused, .notUnderstood: failure
        }
    }
}
