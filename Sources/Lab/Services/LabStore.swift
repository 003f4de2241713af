/// What a store holds under a key.
public struct StoreEntry: Equatable, Sendable {
    public var value: String
    /// The lease of etcd or the session of Consul that the key goes with; nil for a key that stays.
    public var hold: String?
    /// Grows with each change of the key.
    public var modifiedAt: UInt64
}

/// A key-value store of the laboratory: what tests of etcd and of Consul have in common.
public protocol LabStore: AnyObject, Sendable {
    /// The value of `--disco-mode`.
    var mode: String { get }
    /// The least `--disco-config` with which the product finds the store.
    var configuration: String { get }

    /// The key in the store for `rest`, such as "leader", below a `--disco-key`.
    func path(_ discoKey: String, _ rest: String) -> String

    /// Starts what does not run, and waits until the store takes writes.
    func start() async throws
    /// Ends the store with SIGKILL. What it knows stays on its disk.
    func kill() async throws
    /// Stops the store with SIGSTOP: connections stay, and nothing answers.
    func freeze()
    func thaw()
    /// Removes all that the stopped store knows, users and tokens too.
    func wipe()

    func get(_ key: String) async throws -> StoreEntry?
    /// All keys that begin with `prefix`.
    func all(_ prefix: String) async throws -> [String: StoreEntry]
    /// Writes a key, under a hold when one is named.
    func put(_ key: String, _ value: String, hold: String?) async throws
    func delete(_ key: String) async throws
    /// A lease or session that nobody renews.
    func openHold(seconds: Int) async throws -> String
}

extension LabStore {
    public func put(_ key: String, _ value: String) async throws { try await put(key, value, hold: nil) }
}

/// The stores that there are.
public enum StoreKind: String, CaseIterable, Sendable, CustomStringConvertible {
    case etcd
    case consul

    public var description: String { rawValue }

    /// Makes and starts a store of one server, open to all.
    public func start(_ network: Network) async throws -> any LabStore {
        let store: any LabStore =
            switch self {
            case .etcd: try LabEtcd(network)
            case .consul: try LabConsul(network)
            }
        try await store.start()
        return store
    }
}
