import Synchronization

/// The tables of the replicated database, as any dqlite client can read them.
///
/// Column types are INTEGER and TEXT only: libdqlite aborts on some values in DATE, DATETIME and BOOLEAN columns.
enum Schema {
    /// The name to open the database under.
    static let database = "dqlite-vip"
    /// What dqlite clients from outside may read, in lower case: all of it, and the list of tables.
    static let readableTables: Set<String> = [
        "meta", "node", "node_label", "node_option", "removed_node", "moving_node", "vip_group", "vip", "sqlite_master",
        "sqlite_schema",
    ]
    /// Grows with every change of the tables; a node refuses a database that is newer than itself.
    static let version = 1

    /// Makes the tables of version 1 where they are missing.
    static let statements = [
        // Facts about the cluster itself: schema_version, cluster_id, cluster_name, agreement, formed.
        "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS node (dqlite_id INTEGER PRIMARY KEY, node_id TEXT NOT NULL, name TEXT NOT NULL)",
        // A group of addresses moves as one. Mode `leader`: it lives on the raft leader.
        "CREATE TABLE IF NOT EXISTS vip_group (name TEXT PRIMARY KEY, mode TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS vip (group_name TEXT NOT NULL, position INTEGER NOT NULL, address TEXT NOT NULL, "
            + "PRIMARY KEY (group_name, position)) WITHOUT ROWID",
        "INSERT OR IGNORE INTO vip_group (name, mode) VALUES ('default', 'leader')",
    ]

    /// Tables beside those of version 1, which a program that does not know them can leave alone: they do not raise the
    /// version, so that members can be brought up to date one after the other. A leader that misses them makes them.
    static let additions = [
        "CREATE TABLE IF NOT EXISTS node_label (dqlite_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "
            + "PRIMARY KEY (dqlite_id, key)) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS node_option (dqlite_id INTEGER PRIMARY KEY, non_voter INTEGER NOT NULL, "
            + "failure_domain TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS removed_node (dqlite_id INTEGER PRIMARY KEY, node_id TEXT NOT NULL, "
            + "name TEXT NOT NULL, address TEXT NOT NULL, reason TEXT NOT NULL, removed_at INTEGER NOT NULL)",
        // Role 0 is a voter, 1 a stand-by, 2 a spare, as in raft's own list.
        "CREATE TABLE IF NOT EXISTS moving_node (dqlite_id INTEGER PRIMARY KEY, address TEXT NOT NULL, "
            + "role INTEGER NOT NULL)",
    ]
}

/// A database that a newer version of this program has changed. This one neither reads it, which could misunderstand it, nor
/// writes to it, which could destroy what it does not know of.
struct NewerSchema: Error, Sendable, Equatable, CustomStringConvertible {
    /// What the database says, which is no number if somebody else wrote it.
    var found: String

    /// What a node that knows the schema up to `known` may do with a database of version `found`; nil: anything.
    init?(found: String?, known: Int = Schema.version) {
        // A database that is just being made has none yet.
        guard let found else { return nil }
        if let version = Int(found), version <= known { return nil }
        self.found = found
    }

    /// Whether a node that knows the schema up to `version` may lead.
    func isKnown(to version: Int) -> Bool { NewerSchema(found: found, known: version) == nil }

    var description: String {
        "the database of this cluster has schema version \(found), and this dqlite-vip knows it up to \(Schema.version) only: "
            + "it leaves the database alone and cannot lead; install the version here that the other nodes run"
    }
}

/// Remembers that the database is newer, so that it is not asked again and again: a schema version never goes back.
final class RefusedSchema: Sendable {
    private let found = Mutex<NewerSchema?>(nil)

    var schema: NewerSchema? { found.withLock { $0 } }

    func check() throws {
        if let schema { throw schema }
    }

    func check(version: String?) throws {
        guard let newer = NewerSchema(found: version) else { return }
        found.withLock { $0 = newer }
        throw newer
    }

    /// There is another database now, or none.
    func forget() {
        found.withLock { $0 = nil }
    }
}
