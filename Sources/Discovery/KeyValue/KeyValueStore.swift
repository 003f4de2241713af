import Platform

/// A key-value store with check-and-set and with holds that lapse, as etcd and Consul are: what `KeyValueDiscovery` needs
/// of it. Keys are those below the `--disco-key` of the cluster: `nodes/<node id>` and `leader`.
///
/// Every call is bounded in time and throws `DiscoveryError`; it does not retry, but may try several endpoints.
protocol KeyValueStore: Sendable {
    /// All that stands below the key.
    func read() async throws -> StoreSnapshot

    /// Opens a hold: what is put under it is deleted by the store when it is not renewed in time. etcd: a lease; Consul: a
    /// session with the behaviour "delete".
    func openHold() async throws -> StoreHold

    /// - Returns: false when the store does not know the hold any more: what was under it is gone.
    func renew(_ hold: StoreHold) async throws -> Bool

    /// Ends the hold and deletes what is under it.
    func release(_ hold: StoreHold) async throws

    /// Writes the record of a node under a hold; replaces one that is there, whatever hold that was under.
    ///
    /// - Returns: false when the store does not know the hold any more.
    func putNode(_ id: String, _ record: [UInt8], under hold: StoreHold) async throws -> Bool

    /// Writes the leader key under a hold if it is as it was read: `replacing` its version, or unset when that is nil.
    ///
    /// - Returns: false when it is not as it was read, or the store does not know the hold any more.
    func putLeader(_ record: [UInt8], replacing version: UInt64?, under hold: StoreHold) async throws -> Bool

    /// The name of a key in the store, for messages: "nodes/x" or "leader" with what stands before it.
    func fullName(_ key: String) -> String

    /// Where the store is, for messages: no credentials.
    var place: String { get }

    /// The command that deletes the leader key by hand, for messages.
    var deleteLeaderCommand: String { get }
}

/// What stands in the store at one moment.
struct StoreSnapshot: Hashable, Sendable {
    struct Leader: Hashable, Sendable {
        var record: [UInt8]
        /// etcd: mod_revision; Consul: ModifyIndex.
        var version: UInt64
        /// The hold that it is under; nil when it is under none.
        var holdID: String?

        /// Whether the key goes by itself when its holder does; a key that was written by hand or by rqlite does not.
        var isHeld: Bool { holdID != nil }
    }

    /// By node id.
    var nodes: [String: [UInt8]] = [:]
    var leader: Leader?
}

/// A lease of etcd or a session of Consul.
struct StoreHold: Hashable, Sendable {
    var id: String
    /// From its opening or last renewal until it may lapse: what the store guarantees, counted from before the request.
    var lifetime: Duration
}
