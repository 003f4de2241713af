/// The tables of the replicated database, as any dqlite client can read them.
///
/// Column types are INTEGER and TEXT only: libdqlite aborts on some values in DATE, DATETIME and BOOLEAN columns.
enum Schema {
    /// The name to open the database under.
    static let database = "dqlite-vip"
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
}
