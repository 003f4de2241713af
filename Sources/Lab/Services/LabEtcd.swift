import FoundationEssentials
import Glibc
import Platform
import Synchronization

/// An etcd of one or three members, each on an address of its own, with keys that a test reads and writes.
///
/// The test's own requests go to a listener on loopback, without TLS, so that they work whatever the product is told.
public final class LabEtcd: LabStore {
    private let members: [ServiceProcess]
    private let certificates: LabCertificates?
    private let requiresClientCertificate: Bool
    private let credentials = Mutex<(user: String, password: String)?>(nil)

    /// Makes the members, on `Network.serviceAddress` 0...; `start` starts them.
    ///
    /// `certificates`: clients must speak TLS.
    public init(
        _ network: Network, members count: Int = 1, certificates: LabCertificates? = nil,
        requiresClientCertificate: Bool = false
    ) throws {
        members = try (0..<count).map {
            try ServiceProcess("etcd-\($0)", in: network.services(with: $0), of: network)
        }
        self.certificates = certificates
        self.requiresClientCertificate = requiresClientCertificate
    }

    public var mode: String { "etcd-kv" }
    public var configuration: String { #"{"endpoints":\#(endpoints)}"# }

    public func path(_ discoKey: String, _ rest: String) -> String { "/\(discoKey)/\(rest)" }

    /// Where clients reach the members.
    public var endpoints: [String] { members.indices.map { endpoint($0) } }

    private func endpoint(_ member: Int) -> String {
        "\(certificates == nil ? "http" : "https")://\(Network.serviceAddress(member)):2379"
    }

    // MARK: Processes

    /// Starts the members that do not run, and waits until the store takes writes.
    public func start() async throws {
        for member in members.indices where !members[member].isRunning { try launch(member) }
        for member in members.indices { try await answering(member) }
    }

    /// Starts a member that does not run, and waits until it takes writes.
    public func start(member: Int) async throws {
        try launch(member)
        try await answering(member)
    }

    public func kill() async throws {
        for process in members { try await process.end(SIGKILL) }
    }

    /// Kills one member.
    public func kill(member: Int) async throws { try await members[member].end(SIGKILL) }

    public func freeze() { members.forEach { $0.signal(SIGSTOP) } }
    public func thaw() { members.forEach { $0.signal(SIGCONT) } }

    public func wipe() {
        for process in members { FileTree.remove(data(process)) }
        credentials.withLock { $0 = nil }
    }

    private func data(_ process: ServiceProcess) -> String { "\(process.directory)/data" }

    private func launch(_ member: Int) throws {
        let address = Network.serviceAddress(member)
        let cluster = members.indices.map { "etcd-\($0)=http://\(Network.serviceAddress($0)):2380" }
        var arguments = [
            "etcd", "--name", members[member].name, "--data-dir", data(members[member]),
            "--listen-client-urls", "\(endpoint(member)),http://\(loopback(member))",
            "--advertise-client-urls", endpoint(member),
            "--listen-peer-urls", "http://\(address):2380", "--initial-advertise-peer-urls", "http://\(address):2380",
            "--initial-cluster", cluster.joined(separator: ","), "--initial-cluster-state", "new",
            "--logger", "zap", "--log-outputs", "stderr", "--bcrypt-cost", "4",
        ]
        if let certificates {
            arguments += ["--cert-file", certificates.serverCertificate, "--key-file", certificates.serverKey]
            if requiresClientCertificate {
                arguments += ["--trusted-ca-file", certificates.authority, "--client-cert-auth"]
            }
        }
        try members[member].start(arguments)
    }

    private func loopback(_ member: Int) -> HostPort { HostPort(host: "127.0.0.1", port: UInt16(12379 + member)) }

    private func answering(_ member: Int) async throws {
        try await members[member].answering {
            // A read through raft: the member is in touch with a leader.
            try await self.ask(member, "kv/range", Range(key: Self.encoded("ready"), rangeEnd: nil), as: Found.self)
            return true
        }
    }

    // MARK: Keys

    public func get(_ key: String) async throws -> StoreEntry? {
        try await range(Range(key: Self.encoded(key), rangeEnd: nil)).first?.entry
    }

    public func all(_ prefix: String) async throws -> [String: StoreEntry] {
        // A zero byte as the first key and as the end means all keys.
        let request = Range(key: Self.encoded(prefix.isEmpty ? "\0" : prefix), rangeEnd: Self.encodedEnd(of: prefix))
        return Dictionary(uniqueKeysWithValues: try await range(request).map { (Self.decoded($0.key), $0.entry) })
    }

    public func put(_ key: String, _ value: String, hold: String?) async throws {
        let request = Put(key: Self.encoded(key), value: Self.encoded(value), lease: hold ?? "0")
        try await ask("kv/put", request, as: Nothing.self)
    }

    public func delete(_ key: String) async throws {
        try await ask("kv/deleterange", Range(key: Self.encoded(key), rangeEnd: nil), as: Nothing.self)
    }

    public func openHold(seconds: Int) async throws -> String {
        try await ask("lease/grant", ["TTL": String(seconds)], as: Granted.self).ID
    }

    /// Switches authentication on: root with `password`, and the user "vip" with the same, who may read and write below
    /// `prefix` only.
    public func requirePassword(_ password: String, prefix: String) async throws {
        struct Permission: Encodable {
            var permType = "READWRITE"
            var key: String
            var range_end: String
        }
        struct Grant: Encodable {
            var name = "vip"
            var perm: Permission
        }
        for user in ["root", "vip"] {
            try await ask("auth/user/add", ["name": user, "password": password], as: Nothing.self)
            try await ask("auth/role/add", ["name": user], as: Nothing.self)
            try await ask("auth/user/grant", ["user": user, "role": user], as: Nothing.self)
        }
        let permission = Permission(key: Self.encoded(prefix), range_end: Self.encodedEnd(of: prefix))
        try await ask("auth/role/grant", Grant(perm: permission), as: Nothing.self)
        try await ask("auth/enable", [String: String](), as: Nothing.self)
        credentials.withLock { $0 = ("root", password) }
    }

    // MARK: Gateway

    private func range(_ request: Range) async throws -> [Found.KeyValue] {
        try await ask("kv/range", request, as: Found.self).kvs ?? []
    }

    /// Asks the first member that runs, again while the members have no leader.
    @discardableResult
    private func ask<Answer: Decodable & Sendable>(
        _ path: String, _ body: some Encodable, as type: Answer.Type
    ) async throws -> Answer {
        guard let member = members.firstIndex(where: \.isRunning) else { throw LabError("no member of etcd runs") }
        return try await eventually("answer of etcd to \(path)", within: .seconds(10), every: .milliseconds(50)) {
            try await ask(member, path, body, as: type)
        }
    }

    @discardableResult
    private func ask<Answer: Decodable & Sendable>(
        _ member: Int, _ path: String, _ body: some Encodable, as type: Answer.Type
    ) async throws -> Answer {
        var headers: [String: String] = [:]
        if let (user, password) = credentials.withLock({ $0 }) {
            let body = ["name": user, "password": password]
            headers["Authorization"] = try await send(member, "auth/authenticate", body, [:], as: Token.self).token
        }
        return try await send(member, path, body, headers, as: type)
    }

    private func send<Answer: Decodable & Sendable>(
        _ member: Int, _ path: String, _ body: some Encodable, _ headers: [String: String], as type: Answer.Type
    ) async throws -> Answer {
        let response = try await HTTPExchange.request(
            "POST", "/v3/\(path)", headers: headers, body: Array(try JSONEncoder().encode(body)),
            at: loopback(member), in: members[member].namespace)
        guard response.status == 200 else { throw LabError("etcd: \(path): \(response.status) \(response.text)") }
        return try JSONDecoder().decode(type, from: Data(response.body))
    }

    private static func encoded(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
    /// The end of the range of all keys that begin with the prefix: its last byte one higher.
    private static func encodedEnd(of prefix: String) -> String {
        var end = Array(prefix.utf8)
        end.append((end.popLast() ?? 0xFF) &+ 1)
        return Data(end).base64EncodedString()
    }
    private static func decoded(_ text: String?) -> String {
        String(decoding: text.flatMap { Data(base64Encoded: $0) } ?? Data(), as: UTF8.self)
    }

    // The gateway's JSON: bytes in base64, 64-bit numbers as texts, zeros left out.
    private struct Range: Encodable {
        var key: String
        var rangeEnd: String?
        enum CodingKeys: String, CodingKey {
            case key
            case rangeEnd = "range_end"
        }
    }
    private struct Put: Encodable {
        var key: String
        var value: String
        var lease: String
    }
    private struct Found: Decodable, Sendable {
        struct KeyValue: Decodable, Sendable {
            var key: String
            var value: String?
            var lease: String?
            var modRevision: String?
            enum CodingKeys: String, CodingKey {
                case key, value, lease
                case modRevision = "mod_revision"
            }
            var entry: StoreEntry {
                StoreEntry(
                    value: LabEtcd.decoded(value), hold: lease, modifiedAt: modRevision.flatMap { UInt64($0) } ?? 0)
            }
        }
        var kvs: [KeyValue]?
    }
    private struct Granted: Decodable, Sendable { var ID: String }
    private struct Token: Decodable, Sendable { var token: String }
    private struct Nothing: Decodable, Sendable {}
}
