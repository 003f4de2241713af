import Platform

/// etcd, version 3.4 or later, through its JSON gateway. The keys are those of rqlite: /<disco-key>/leader.
struct EtcdStore: ConfigurableStore {
    static let mode = "etcd-kv"
    /// Seconds.
    static let defaultTimeToLive: Int64 = 15

    private let connection: EtcdConnection
    private let prefix: String
    private let timeToLive: Int64

    static func configuration(from fields: inout ConfigurationFields) -> EtcdConfiguration {
        EtcdConfiguration(from: &fields)
    }

    init(_ configuration: EtcdConfiguration, key: String) throws {
        try self.init(configuration, key: key, timeToLive: Self.defaultTimeToLive)
    }

    /// For tests: with leases of their own length, in seconds.
    init(_ configuration: EtcdConfiguration, key: String, timeToLive: Int64) throws {
        try configuration.checkFiles()
        prefix = "/\(key)/"
        connection = EtcdConnection(configuration, prefix: prefix)
        self.timeToLive = timeToLive
    }

    func fullName(_ key: String) -> String { prefix + key }

    var place: String {
        "etcd at " + connection.configuration.endpoints.map(\.description).joined(separator: ", ")
    }

    var deleteLeaderCommand: String {
        let configuration = connection.configuration
        let endpoints = configuration.endpoints.map(\.description).joined(separator: ",")
        let options = [
            ("endpoints", endpoints), ("user", configuration.username), ("cacert", configuration.caFile),
            ("cert", configuration.certificateFile), ("key", configuration.keyFile),
        ]
        let words = ["etcdctl"] + options.compactMap { name, value in value.map { "--\(name)=\($0)" } }
        return (words + ["del", fullName("leader")]).map(shellQuoted).joined(separator: " ")
    }

    func read() async throws -> StoreSnapshot {
        let nodes = fullName("nodes/")
        let leader = fullName("leader")
        let answer = try await connection.ask(
            "/v3/kv/txn", EtcdMessages.read(prefix: nodes, limit: 1000, key: leader),
            to: "read the keys below \(prefix)"
        ) { bytes in EtcdMessages.transaction(bytes).flatMap { $0.ranges.count == 2 ? $0.ranges : nil } }
        var snapshot = StoreSnapshot()
        for pair in answer[0] where pair.key.starts(with: nodes.utf8) {
            snapshot.nodes[String(decoding: pair.key.dropFirst(nodes.utf8.count), as: UTF8.self)] = pair.value
        }
        snapshot.leader = answer[1].first.map { pair in
            StoreSnapshot.Leader(
                record: pair.value, version: UInt64(clamping: pair.modRevision),
                holdID: pair.lease == 0 ? nil : String(pair.lease))
        }
        return snapshot
    }

    func openHold() async throws -> StoreHold {
        let lease = try await connection.ask(
            "/v3/lease/grant", EtcdMessages.grant(seconds: timeToLive), to: "open a lease", EtcdMessages.granted)
        return hold(lease)
    }

    /// A member that was just cut off from the others may renew a lease whose time the others count already, for an
    /// election timeout or so: a fifth of the time is left as a margin.
    private func hold(_ lease: EtcdMessages.Lease) -> StoreHold {
        StoreHold(id: String(lease.id), lifetime: .seconds(lease.timeToLive) * 4 / 5)
    }

    func renew(_ hold: StoreHold) async throws -> Bool {
        try await knowing {
            let lease = try await connection.ask(
                "/v3/lease/keepalive", EtcdMessages.lease(hold.id), to: "renew a lease", EtcdMessages.keptAlive)
            return lease.timeToLive > 0
        }
    }

    func release(_ hold: StoreHold) async throws {
        _ = try await knowing {
            try await connection.ask(
                "/v3/lease/revoke", EtcdMessages.lease(hold.id), to: "end a lease", EtcdMessages.done)
        }
    }

    func putNode(_ id: String, _ record: [UInt8], under hold: StoreHold) async throws -> Bool {
        let key = fullName("nodes/\(id)")
        return try await knowing {
            try await connection.ask(
                "/v3/kv/put", EtcdMessages.put(key, record, lease: hold.id), to: "write \(key)",
                EtcdMessages.done)
        }
    }

    func putLeader(_ record: [UInt8], replacing version: UInt64?, under hold: StoreHold) async throws -> Bool {
        let key = fullName("leader")
        let body = EtcdMessages.putIfUnchanged(key, record, lease: hold.id, modRevision: version)
        return try await knowing {
            try await connection.ask("/v3/kv/txn", body, to: "write \(key)", EtcdMessages.transaction).succeeded
        }
    }

    /// false when etcd does not know the lease.
    private func knowing(_ body: () async throws -> Bool) async throws -> Bool {
        do {
            return try await body()
        } catch let failure as EtcdFailure where failure.isUnknownLease {
            return false
        }
    }
}
