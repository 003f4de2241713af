import FoundationEssentials

/// What is sent to Consul: pure functions.
enum ConsulRequests {
    /// A condition or a change of a transaction; see /v1/txn.
    struct Operation: Hashable, Sendable, Encodable {
        enum Verb: String, Sendable, Encodable {
            case checkIndex = "check-index"
            case checkNotExists = "check-not-exists"
            case delete = "delete"
            case deleteIfUnchanged = "delete-cas"
            case lock = "lock"
        }

        var verb: Verb
        var key: String
        var index: UInt64?
        var value: Data?
        var session: String?
        // Only Consul Enterprise knows these.
        var namespace: String?
        var partition: String?

        private enum CodingKeys: String, CodingKey {
            case verb = "Verb"
            case key = "Key"
            case index = "Index"
            case value = "Value"
            case session = "Session"
            case namespace = "Namespace"
            case partition = "Partition"
        }
    }

    /// Replaces whatever there is.
    static func put(_ key: String, _ value: [UInt8], session: String) -> [Operation] {
        // What another session holds can be deleted, but not be locked.
        [
            Operation(verb: .delete, key: key),
            Operation(verb: .lock, key: key, value: Data(value), session: session),
        ]
    }

    /// Replaces the given version; nil: there must be none.
    static func put(_ key: String, _ value: [UInt8], replacing version: UInt64?, session: String) -> [Operation] {
        let lock = Operation(verb: .lock, key: key, value: Data(value), session: session)
        guard let version else { return [Operation(verb: .checkNotExists, key: key), lock] }
        return [
            // delete-cas alone is content with a key that is gone.
            Operation(verb: .checkIndex, key: key, index: version),
            Operation(verb: .deleteIfUnchanged, key: key, index: version), lock,
        ]
    }

    static func body(of operations: [Operation]) -> [UInt8] { encode(operations.map { ["KV": $0] }) }

    /// For a session that nothing ends but its time: no check of a node's or a service's health, which flap.
    ///
    /// - Parameter lifetime: in whole seconds; Consul wants at least 10.
    static func session(named name: String, lifetime: Duration) -> [UInt8] {
        encode(Session(name: name, lifetime: "\(lifetime.components.seconds)s"))
    }

    private struct Session: Encodable {
        var name: String
        var lifetime: String
        var behavior = "delete"
        var lockDelay = "0s"
        // The first is that of Consul before 1.7, and still counts beside the others.
        var checks: [String] = []
        var nodeChecks: [String] = []
        var serviceChecks: [String] = []

        private enum CodingKeys: String, CodingKey {
            case name = "Name"
            case lifetime = "TTL"
            case behavior = "Behavior"
            case lockDelay = "LockDelay"
            case checks = "Checks"
            case nodeChecks = "NodeChecks"
            case serviceChecks = "ServiceChecks"
        }
    }

    private static func encode(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Fails only for numbers that are not finite, and there are none.
        return (try? encoder.encode(value)).map { Array($0) } ?? []
    }
}
