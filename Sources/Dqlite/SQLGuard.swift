import CDqlite
import Glibc
import Platform
import Synchronization

/// What SQL may do in this process, by SQLite's own means. The second wall behind `ClientRequestVetter`, and independent of it:
/// nothing here looks at a text.
enum SQLGuard {
    /// All that SQLite may take, for the whole process. The database is some hundred kilobytes; libdqlite keeps it in this memory, too.
    static let heap: Int64 = 64 << 20

    /// What makes a connection one of a reader; see `cdqlite_make_reader`. Sent behind each Open of a client from outside.
    static let restriction = "SELECT dqlite_vip_reader()"

    private static let lists = Mutex<Set<String>?>(nil)

    /// Guards every connection that is opened from now on.
    ///
    /// - Parameters:
    ///   - limit: how long a statement of our own may use the thread.
    ///   - tables: what readers may read; those of the first call in the process count.
    /// - Throws: `nodeCreate` when SQLite refuses.
    static func install(limit: Duration, tables: Set<String>) throws(DqliteError) {
        lists.withLock { known in
            guard known == nil else { return }
            known = tables
            cdqlite_set_reader_lists(cList(tables), cList(ReadOnlySQL.functions))
        }
        let code = cdqlite_guard_sql(limit.inMilliseconds, heap)
        guard code == SQLITE_OK else {
            throw DqliteError(
                .nodeCreate, "SQLite cannot be guarded against strangers (code \(code))",
                rawCode: UInt64(clamping: code),
                remedy: "use the libsqlite3 of the distribution")
        }
    }

    /// SQLite reads the list for as long as the process lives: it is never freed.
    private static func cList(_ names: Set<String>) -> UnsafePointer<UnsafePointer<CChar>?> {
        let list = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: names.count + 1)
        for (index, name) in names.sorted().enumerated() { list[index] = UnsafePointer(strdup(name)) }
        list[names.count] = nil
        return UnsafePointer(list)
    }
}
