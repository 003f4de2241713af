import Curl
import FoundationEssentials
import Platform

/// Consul as a key-value store: records are keys that are locked by a session, and go with it.
///
/// It works with Consul 1.8 and later. A key is locked and checked in one transaction; one that another session holds is
/// deleted and made anew in the same.
final class ConsulStore: ConfigurableStore {
    static let mode = "consul-kv"

    /// Consul ends a session between once and twice this time after the last renewal.
    private let sessionTime: Duration
    private let connection: ConsulConnection
    private let key: String

    static func configuration(from fields: inout ConfigurationFields) -> ConsulConfiguration {
        ConsulConfiguration(from: &fields)
    }

    convenience init(_ configuration: ConsulConfiguration, key: String) throws {
        try self.init(configuration, key: key, environment: ProcessInfo.processInfo.environment)
    }

    /// - Parameter sessionTime: 10 s is the least that Consul grants unless its session_ttl_min says otherwise.
    /// - Throws: `DiscoveryError`.
    init(
        _ configuration: ConsulConfiguration, key: String, environment: [String: String],
        sessionTime: Duration = .seconds(10)
    ) throws {
        // Consul's server of HTTP redirects paths with such parts to others.
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        if parts.contains(where: { ["", ".", ".."].contains($0) }) {
            throw DiscoveryError(
                .unsupported,
                "the --disco-key \"\(key)\" cannot be a key of Consul: it must not begin or end with a slash or have the parts "
                    + "\"\", \".\" or \"..\"")
        }
        self.key = key
        self.sessionTime = sessionTime
        connection = try ConsulConnection(try configuration.completed(from: environment))
    }

    private var configuration: ConsulConfiguration { connection.configuration }
    private var prefix: String { key + "/" }

    var place: String { configuration.place }

    func fullName(_ key: String) -> String { prefix + key }

    var deleteLeaderCommand: String {
        var words = ["consul", "kv", "delete"]
        if case .socket(let path) = configuration.address {
            words.append("-http-addr=unix://\(path)")
        } else if configuration.url != ConsulConfiguration().url {
            words.append("-http-addr=\(configuration.url)")
        }
        if let datacenter = configuration.datacenter { words.append("-datacenter=\(datacenter)") }
        if let namespace = configuration.namespace { words.append("-namespace=\(namespace)") }
        if let partition = configuration.partition { words.append("-partition=\(partition)") }
        return (words + [fullName("leader")]).map(shellQuoted).joined(separator: " ")
    }

    func read() async throws -> StoreSnapshot {
        let purpose = "read the keys below \(prefix)"
        let path = "kv/" + PercentEncoding.encode(prefix, keepingSlashes: true)
        let answer = try await connection.send("GET", path, ["recurse"], to: purpose)
        // There are no keys; whoever else answers 404 says something.
        if answer.status == 404, answer.body.isEmpty { return StoreSnapshot() }
        try accept(answer, purpose)
        return try understood(purpose) { () throws(DiscoveryError) in
            try ConsulDecoding.snapshot(answer.body, below: prefix)
        }
    }

    func openHold() async throws -> StoreHold {
        let purpose = "create a session for \(prefix)"
        let body = ConsulRequests.session(named: "dqlite-vip \(key)", lifetime: sessionTime)
        let answer = try await connection.send("PUT", "session/create", body: body, to: purpose)
        try accept(answer, purpose)
        let id = try understood(purpose) { () throws(DiscoveryError) in try ConsulDecoding.sessionID(answer.body) }
        return StoreHold(id: id, lifetime: sessionTime)
    }

    func renew(_ hold: StoreHold) async throws -> Bool {
        let purpose = "renew the session for \(prefix)"
        let answer = try await connection.send("PUT", "session/renew/\(hold.id)", to: purpose)
        if answer.status == 404 { return false }
        try accept(answer, purpose)
        return true
    }

    func release(_ hold: StoreHold) async throws {
        let purpose = "end the session for \(prefix)"
        let answer = try await connection.send("PUT", "session/destroy/\(hold.id)", to: purpose)
        if answer.status != 404 { try accept(answer, purpose) }
    }

    func putNode(_ id: String, _ record: [UInt8], under hold: StoreHold) async throws -> Bool {
        let name = fullName("nodes/\(id)")
        return try await perform(ConsulRequests.put(name, record, session: hold.id), name)
    }

    func putLeader(_ record: [UInt8], replacing version: UInt64?, under hold: StoreHold) async throws -> Bool {
        let name = fullName("leader")
        return try await perform(
            ConsulRequests.put(name, record, replacing: version, session: hold.id), name)
    }

    /// - Returns: false when a condition was not met, or the session is gone.
    private func perform(_ operations: [ConsulRequests.Operation], _ name: String) async throws -> Bool {
        let purpose = "write the key \(name)"
        let scoped = operations.map { operation in
            var operation = operation
            operation.namespace = configuration.namespace
            operation.partition = configuration.partition
            return operation
        }
        let answer = try await connection.send("PUT", "txn", body: ConsulRequests.body(of: scoped), to: purpose)
        guard answer.status == 409 else {
            try accept(answer, purpose)
            return true
        }
        let conflicts = try understood(purpose) { () throws(DiscoveryError) in
            try ConsulDecoding.conflicts(answer.body)
        }
        let refusal = conflicts.first { $0.reason.contains("ermission denied") }
        let isExpected = conflicts.contains { conflict in
            let isCondition =
                conflict.operation.flatMap { operations.indices.contains($0) ? operations[$0].verb.isCondition : nil }
            return isCondition == true || conflict.reason.hasPrefix("invalid session")
        }
        if refusal == nil, isExpected { return false }
        throw ConsulFailure.explain(
            status: 409, (refusal ?? conflicts[0]).reason, configuration, below: prefix, purpose)
    }

    private func accept(_ answer: CurlAnswer, _ purpose: String) throws {
        if answer.status == 200 { return }
        throw ConsulFailure.explain(status: answer.status, answer.body, configuration, below: prefix, purpose)
    }

    private func understood<Value>(_ purpose: String, _ decode: () throws(DiscoveryError) -> Value) throws -> Value {
        do throws(DiscoveryError) {
            return try decode()
        } catch {
            throw DiscoveryError(error.code, "cannot \(purpose) in \(place): \(error.message)")
        }
    }
}

extension ConsulRequests.Operation.Verb {
    fileprivate var isCondition: Bool {
        switch self {
        case .checkIndex, .checkNotExists, .deleteIfUnchanged: true
        case .delete, .lock: false
        }
    }
}
