import CDqlite
import Dqlite
import Glibc
import Synchronization

@testable import Cluster
@testable import Dqlite

/// A text that the vetter lets pass is read only for SQLite, too: one statement, which neither prepared nor run does anything but
/// read our tables and call functions that are known to do no harm.
///
/// Behind the vetter is SQLite itself, the library that the product is linked with, on a database with the product's tables.
func fuzzSQL(_ bytes: [UInt8]) {
    // To SQLite and to the vetter a text ends at its first NUL.
    let text = Array(bytes.prefix { $0 != 0 })
    guard isForwarded(text) else { return }
    referee.withLock { $0.judge(text) }
}

/// What the vetter makes of a QuerySQL with this text, as a client sends it.
private func isForwarded(_ text: [UInt8]) -> Bool {
    var body: [UInt8] = [UInt8](repeating: 0, count: 8) + text + [0]
    body += [UInt8](repeating: 0, count: -body.count & 7)
    let words = UInt32(body.count / 8)
    let header = withUnsafeBytes(of: words.littleEndian) { Array($0) } + [9, 0, 0, 0]
    var vetter = ClientRequestVetter(tables: Schema.readableTables)
    let verdicts = vetter.verdicts(on: header + body)
    promise(verdicts.count == 1, "one request has \(verdicts.count) verdicts")
    guard case .forward(let message) = verdicts.first else { return false }
    promise(message == header + body, "what is passed on is not what came")
    return true
}

private let restriction =
    (try? WireRequest.querySQL(database: 0, sql: SQLGuard.restriction, parameters: []).encoded()) ?? []
/// An answer of one column without rows, and a failure.
private let rows: [UInt8] =
    [3, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 97, 0, 0, 0, 0, 0, 0, 0]
    + [UInt8](repeating: 0xFF, count: 8)
private let failure: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 110, 111, 0, 0, 0, 0, 0, 0]

extension ClientRequestVetter {
    /// What becomes of these bytes when the node answers each request at once, with a failure; but for the question that makes
    /// its connection one of a reader, which must come before the first SQL.
    fileprivate mutating func verdicts(on bytes: [UInt8]) -> [Verdict] {
        consume(bytes)
        var found: [Verdict] = []
        while let verdict = next() {
            guard case .forward(let request) = verdict else {
                found.append(verdict)
                continue
            }
            if request == restriction {
                promise(consumeAnswer(rows).isEmpty, "the client hears of what it has not asked")
            } else {
                found.append(verdict)
                promise(Array(consumeAnswer(failure)) == failure, "an answer is not passed on")
            }
        }
        return found
    }
}

/// Made with the first text, and used by libFuzzer's only thread.
private let referee = Mutex(Referee())

/// SQLite with our tables, and a note of everything that a statement wants of it.
private struct Referee: ~Copyable {
    private let database: OpaquePointer
    /// The same behind the product's own second wall.
    private let walled: OpaquePointer
    private let notes: UnsafeMutablePointer<Notes>
    /// FUZZ_WALL=writes: functions, foreign tables and PRAGMA are let pass, and only what writes is held against the vetter.
    private let minds: Bool

    init() {
        var opened: OpaquePointer?
        guard sqlite3_open(":memory:", &opened) == SQLITE_OK, let opened else { fatalError("SQLite opens no database") }
        database = opened
        walled = Self.walledDatabase()
        minds = getenv("FUZZ_WALL").map { String(cString: $0) } != "writes"
        for statement in Schema.statements + Schema.additions {
            guard sqlite3_exec(opened, statement, nil, nil, nil) == SQLITE_OK else {
                fatalError("SQLite does not take \(statement)")
            }
        }
        // As much as the daemon grants, so that no text costs the fuzzer more: see sqlite3_limit.
        for (limit, value) in [
            (SQLITE_LIMIT_LENGTH, 1 << 20), (SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100), (SQLITE_LIMIT_EXPR_DEPTH, 50),
            (SQLITE_LIMIT_COMPOUND_SELECT, 10), (SQLITE_LIMIT_VDBE_OP, 25_000), (SQLITE_LIMIT_FUNCTION_ARG, 8),
        ] { sqlite3_limit(opened, limit, CInt(value)) }
        sqlite3_hard_heap_limit64(64 << 20)
        notes = .allocate(capacity: 1)
        notes.initialize(to: Notes())
        sqlite3_set_authorizer(opened, note, notes)
        // A hundred thousand instructions, and no more.
        sqlite3_progress_handler(opened, 1000, giveUp, notes)
    }

    private static func walledDatabase() -> OpaquePointer {
        var opened: OpaquePointer?
        guard (try? SQLGuard.install(limit: .milliseconds(90), tables: Schema.readableTables)) != nil,
            sqlite3_open(":memory:", &opened) == SQLITE_OK, let opened
        else { fatalError("SQLite opens no database behind the second wall") }
        for statement in Schema.statements + Schema.additions { sqlite3_exec(opened, statement, nil, nil, nil) }
        guard cdqlite_make_reader(opened) == SQLITE_OK else { fatalError("a connection cannot be one of a reader") }
        return opened
    }

    /// Ends the process when SQLite sees more in the text than the vetter.
    mutating func judge(_ text: [UInt8]) {
        notes.pointee = Notes(isLenient: !minds)
        let shown = String(decoding: text, as: UTF8.self).debugDescription
        var statement: OpaquePointer?
        var isRest = false
        let code = text.withUnsafeBytes { raw -> CInt in
            let start = raw.baseAddress?.assumingMemoryBound(to: CChar.self)
            var tail: UnsafePointer<CChar>?
            let code = sqlite3_prepare_v2(database, start, CInt(raw.count), &statement, &tail)
            if code == SQLITE_OK, let start, let tail {
                isRest = holdsStatement(tail, CInt(raw.count - (tail - start)))
            }
            return code
        }
        defer { sqlite3_finalize(statement) }
        promise(notes.pointee.worst == nil, "\(notes.pointee.worst ?? "") by \(shown)")
        if minds { promise(notes.pointee.foreign == nil, "\(notes.pointee.foreign ?? "") by \(shown)") }
        // The second wall is for what the first one has overlooked: nothing should come to it.
        var second: OpaquePointer?
        let verdict = text.withUnsafeBytes { raw in
            sqlite3_prepare_v2(
                walled, raw.baseAddress?.assumingMemoryBound(to: CChar.self), CInt(raw.count), &second, nil)
        }
        if minds { promise(verdict != SQLITE_AUTH, "only the second wall has stopped \(shown)") }
        if verdict == SQLITE_OK { while sqlite3_step(second) == SQLITE_ROW {} }
        sqlite3_finalize(second)
        // No SQL at all: SQLite refuses it by itself.
        guard code == SQLITE_OK, let statement else { return }
        promise(sqlite3_stmt_readonly(statement) != 0, "SQLite would write: \(shown)")
        promise(!isRest, "two statements: \(shown)")
        let before = sqlite3_total_changes(database)
        var steps = 0
        while steps < 1000, sqlite3_step(statement) == SQLITE_ROW { steps += 1 }
        promise(sqlite3_total_changes(database) == before, "rows were changed by \(shown)")
        promise(sqlite3_get_autocommit(database) != 0, "a transaction was left open by \(shown)")
        promise(notes.pointee.worst == nil, "\(notes.pointee.worst ?? "") while it runs, by \(shown)")
    }

    private func holdsStatement(_ text: UnsafePointer<CChar>, _ count: CInt) -> Bool {
        var statement: OpaquePointer?
        defer { sqlite3_finalize(statement) }
        // What is no statement but no blank either is something that the vetter has not seen as SQLite does.
        return sqlite3_prepare_v2(database, text, count, &statement, nil) != SQLITE_OK || statement != nil
    }
}

/// What a statement wanted.
private struct Notes {
    /// Something that changes the database, the connection or the process.
    var worst: String?
    /// A table or function of which nobody has said that it does no harm.
    var foreign: String?
    var calls = 0
    /// What is foreign is not held against the vetter.
    var isLenient = false
}

private let harmless: Set<String> = [
    "count", "sum", "min", "max", "avg", "total", "length", "lower", "upper", "coalesce", "ifnull", "nullif", "abs",
    "round",
    "substr", "typeof",
]

private let tables: Set<String> = [
    "meta", "node", "vip_group", "vip", "node_label", "node_option", "removed_node", "moving_node", "sqlite_master",
    "sqlite_schema",
]

/// See sqlite3_set_authorizer: called while a statement is prepared, with what it is going to do.
private func note(
    _ argument: UnsafeMutableRawPointer?, _ action: CInt, _ first: UnsafePointer<CChar>?,
    _ second: UnsafePointer<CChar>?, _ third: UnsafePointer<CChar>?, _ fourth: UnsafePointer<CChar>?
) -> CInt {
    guard let notes = argument?.assumingMemoryBound(to: Notes.self) else { return SQLITE_DENY }
    func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
    switch action {
    case SQLITE_SELECT: return SQLITE_OK
    case SQLITE_READ:
        // Without a column it may be the name of a WITH clause.
        if !text(second).isEmpty, !tables.contains(text(first).lowercased()) {
            notes.pointee.foreign = "the table \(text(first)) is read"
        }
        return SQLITE_OK
    case SQLITE_FUNCTION:
        if !harmless.contains(text(second).lowercased()) {
            notes.pointee.foreign = "the function \(text(second)) is called"
            // Noted is enough: some of them must not be called even here.
            return SQLITE_DENY
        }
        return SQLITE_OK
    case SQLITE_ATTACH, SQLITE_DETACH, SQLITE_TRANSACTION, SQLITE_SAVEPOINT:
        // For SQLite they write nothing, so that nothing else would tell.
        notes.pointee.worst = "action \(action) on \"\(text(first))\""
        return SQLITE_DENY
    case SQLITE_PRAGMA:
        notes.pointee.foreign = "PRAGMA \(text(first)) is run"
        return SQLITE_DENY
    default:
        // A table-valued function declares itself in this way when it is named for the first time. What it does besides shows in the
        // statement.
        notes.pointee.foreign = "action \(action) on \"\(text(first))\", \"\(text(second))\""
        return notes.pointee.isLenient ? SQLITE_OK : SQLITE_DENY
    }
}

private func giveUp(_ argument: UnsafeMutableRawPointer?) -> CInt {
    guard let notes = argument?.assumingMemoryBound(to: Notes.self) else { return 1 }
    notes.pointee.calls += 1
    return notes.pointee.calls > 100 ? 1 : 0
}

/// The stream of a client is vetted the same however it is cut, nothing is passed on that did not come, and the answers of the node
/// may be anything.
func fuzzClient(_ bytes: [UInt8]) {
    let (content, pieces) = cut(bytes)
    for policy in [ClientRequestVetter.Policy.readOnly, .full] {
        var whole = ClientRequestVetter(policy: policy, tables: Schema.readableTables)
        let expected = whole.verdicts(on: content)
        var parts = ClientRequestVetter(policy: policy, tables: Schema.readableTables)
        var verdicts: [ClientRequestVetter.Verdict] = []
        for piece in pieces { verdicts += parts.verdicts(on: Array(piece)) }
        promise(verdicts == expected, "\(policy): cut, the stream is vetted otherwise")
        var hostile = ClientRequestVetter(policy: policy, tables: Schema.readableTables)
        hostile.consume(content)
        while hostile.next() != nil, hostile.isBusy {
            _ = hostile.consumeAnswer(content)
            if hostile.isBusy { break }
        }
    }
}
