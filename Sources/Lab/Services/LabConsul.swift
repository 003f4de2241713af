import FoundationEssentials
import Glibc
import Platform
import Synchronization

/// A Consul agent, a server by itself, with keys and sessions that a test reads and writes.
///
/// The product reaches it at `Network.serviceAddress(0)`: port 8500 for HTTP, or 8501 for HTTPS when there are
/// certificates. The test's own requests go to port 8500 on loopback.
public final class LabConsul: LabStore {
    /// The token that may do everything; agents without access control take any.
    public static let managementToken = "6f9d5b7c-6f5d-4a60-9a20-3b1a5d1f6a11"
    /// Names the program when it is not in PATH.
    public static let environmentKey = "DQLITE_VIP_CONSUL"

    private let agent: ServiceProcess
    private let program: String
    private let certificates: LabCertificates?
    private let hasAccessControl: Bool
    private let requiresClientCertificate: Bool

    /// Makes the agent; `start` starts it.
    ///
    /// - Throws: `LabError` when there is no program, with the command that fetches it.
    public init(
        _ network: Network, accessControl: Bool = false, certificates: LabCertificates? = nil,
        requiresClientCertificate: Bool = false
    ) throws {
        program = try Self.locate()
        agent = try ServiceProcess("consul", in: network.services(), of: network)
        hasAccessControl = accessControl
        self.certificates = certificates
        self.requiresClientCertificate = requiresClientCertificate
    }

    /// Where the product reaches it, as Consul's `address` takes it: without scheme.
    public var address: String { "\(Network.serviceAddress(0)):\(certificates == nil ? 8500 : 8501)" }

    public var mode: String { "consul-kv" }
    public var configuration: String { #"{"address":"\#(address)"}"# }

    public func path(_ discoKey: String, _ rest: String) -> String { "\(discoKey)/\(rest)" }

    // MARK: Process

    public func start() async throws {
        try writeFile(String(decoding: JSONEncoder().encode(settings), as: UTF8.self), to: settingsFile)
        try agent.start([program, "agent", "-config-file", settingsFile, "-log-level", "warn"])
        try await agent.answering(within: .seconds(30)) {
            // Only a leader with its access control in force takes this.
            try await self.ask("PUT", "/v1/kv/ready", body: "x").text.hasPrefix("true")
        }
    }

    public func kill() async throws { try await agent.end(SIGKILL) }

    public func freeze() { agent.signal(SIGSTOP) }
    public func thaw() { agent.signal(SIGCONT) }

    public func wipe() { FileTree.remove(data) }

    private var data: String { "\(agent.directory)/data" }
    private var settingsFile: String { "\(agent.directory)/agent.json" }

    private static func locate() throws(LabError) -> String {
        let named = ProcessInfo.processInfo.environment[environmentKey] ?? ""
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/consul" }
        for candidate in (named.isEmpty ? [] : [named]) + path + [".build/tools/consul/usr/bin/consul"]
        where access(candidate, X_OK) == 0 {
            // Relative paths are those of the test's own directory, not the agent's.
            return candidate.hasPrefix("/") ? candidate : "\(Product.currentDirectory())/\(candidate)"
        }
        throw LabError(
            "no consul in PATH or .build/tools: run `scripts/fetch-consul.sh`, or name the program with "
                + environmentKey)
    }

    private struct Settings: Encodable {
        struct ACL: Encodable {
            var enabled = true
            var default_policy = "deny"
            var tokens = ["master": LabConsul.managementToken]
        }
        var server = true
        var bootstrap_expect = 1
        var datacenter = "dc1"
        var data_dir: String
        var bind_addr = "127.0.0.1"
        var addresses: [String: String]
        var ports: [String: Int]
        // The elections of a server by itself are as fast as they can be.
        var performance = ["raft_multiplier": 1]
        var session_ttl_min = "1s"
        var disable_update_check = true
        var disable_host_node_id = true
        var acl: ACL?
        var ca_file: String?
        var cert_file: String?
        var key_file: String?
        var verify_incoming_https: Bool?
    }

    private var settings: Settings {
        let product = "\(Network.serviceAddress(0))"
        var settings = Settings(
            data_dir: data, addresses: ["http": "127.0.0.1 \(product)"],
            ports: ["dns": -1, "grpc": -1, "http": 8500, "https": -1])
        if hasAccessControl { settings.acl = Settings.ACL() }
        if let certificates {
            settings.addresses = ["http": "127.0.0.1", "https": product]
            settings.ports["https"] = 8501
            settings.ca_file = certificates.authority
            settings.cert_file = certificates.serverCertificate
            settings.key_file = certificates.serverKey
            settings.verify_incoming_https = requiresClientCertificate
        }
        return settings
    }

    // MARK: Keys

    public func get(_ key: String) async throws -> StoreEntry? {
        let response = try await ask("GET", "/v1/kv/\(key)", accepting: [200, 404])
        return response.status == 404 ? nil : try decode([KeyValue].self, response).first?.entry
    }

    public func all(_ prefix: String) async throws -> [String: StoreEntry] {
        let response = try await ask("GET", "/v1/kv/\(prefix)?recurse=true", accepting: [200, 404])
        guard response.status == 200 else { return [:] }
        return Dictionary(
            uniqueKeysWithValues: try decode([KeyValue].self, response).map { ($0.Key, $0.entry) })
    }

    public func put(_ key: String, _ value: String, hold: String?) async throws {
        let path = "/v1/kv/\(key)" + (hold.map { "?acquire=\($0)" } ?? "")
        guard try await ask("PUT", path, body: value).text.hasPrefix("true") else {
            throw LabError("Consul did not write \(key)")
        }
    }

    public func delete(_ key: String) async throws { _ = try await ask("DELETE", "/v1/kv/\(key)") }

    public func openHold(seconds: Int) async throws -> String {
        struct Created: Decodable { var ID: String }
        let body = #"{"TTL":"\#(seconds)s","Behavior":"delete","LockDelay":"0s"}"#
        return try decode(Created.self, try await ask("PUT", "/v1/session/create", body: body)).ID
    }

    public func sessions() async throws -> [String] {
        struct Session: Decodable { var ID: String }
        return try decode([Session].self, try await ask("GET", "/v1/session/list")).map(\.ID)
    }

    /// Ends a session, as its expiry would.
    public func destroySession(_ id: String) async throws { _ = try await ask("PUT", "/v1/session/destroy/\(id)") }

    /// A token that may do what DOC/DISCOVERY.md asks for, and nothing else.
    ///
    /// `rules`: in Consul's language.
    public func createToken(rules: String) async throws -> String {
        struct Policy: Codable {
            var Name: String
            var Rules: String?
        }
        struct Token: Codable {
            var SecretID: String?
            var Policies: [Policy]?
        }
        let name = "policy-\(UInt32.random(in: .min ... .max))"
        func text(_ value: some Encodable) throws -> String {
            String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
        }
        _ = try await ask("PUT", "/v1/acl/policy", body: try text(Policy(Name: name, Rules: rules)))
        let token = Token(Policies: [Policy(Name: name)])
        let made = try decode(Token.self, try await ask("PUT", "/v1/acl/token", body: try text(token)))
        guard let secret = made.SecretID else { throw LabError("Consul made a token without a secret") }
        return secret
    }

    /// Takes a token out of force, as an operator does after replacing it.
    public func deleteToken(secret: String) async throws {
        struct Token: Decodable { var AccessorID: String }
        let response = try await ask("GET", "/v1/acl/token/self", token: secret)
        let id = try decode(Token.self, response).AccessorID
        _ = try await ask("DELETE", "/v1/acl/token/\(id)")
    }

    private func ask(
        _ method: String, _ path: String, body: String? = nil, token: String = LabConsul.managementToken,
        accepting statuses: Set<Int> = [200]
    ) async throws -> HTTPResponse {
        let response = try await HTTPExchange.request(
            method, path, headers: hasAccessControl ? ["X-Consul-Token": token] : [:],
            body: body.map { Array($0.utf8) }, at: HostPort(host: "127.0.0.1", port: 8500), in: agent.namespace)
        guard statuses.contains(response.status) else {
            throw LabError("Consul: \(method) \(path): \(response.status) \(response.text)")
        }
        return response
    }

    private func decode<T: Decodable>(_ type: T.Type, _ response: HTTPResponse) throws -> T {
        try JSONDecoder().decode(type, from: Data(response.body))
    }

    private struct KeyValue: Decodable {
        var Key: String
        var Value: String?
        var Session: String?
        var ModifyIndex: UInt64

        var entry: StoreEntry {
            let bytes = Value.flatMap { Data(base64Encoded: $0) } ?? Data()
            return StoreEntry(
                value: String(decoding: bytes, as: UTF8.self), hold: Session, modifiedAt: ModifyIndex)
        }
    }
}
