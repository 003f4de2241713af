/// Decides from the text alone whether SQL is one statement that a reader may run: a SELECT or VALUES on the listed tables with
/// the listed functions.
///
/// It is the first of two walls; SQLite's authorizer is the other and knows nothing of this one (`SQLGuard`). Whatever is not
/// known to be harmless is refused, so that a later SQLite cannot bring something new.
struct ReadOnlySQL: Sendable {
    /// Functions that read their arguments and make nothing large of them; in lower case.
    static let functions: Set<String> = [
        "abs", "avg", "coalesce", "count", "ifnull", "length", "lower", "max", "min", "nullif", "round", "substr",
        "sum", "total",
        "typeof", "upper",
    ]
    /// How many tables one statement may join, with what stands in their place; a join takes the product of their lengths.
    static let mostTables = 4

    private let tables: Set<String>

    /// - Parameter tables: names of the tables that may be read, in lower case.
    init(tables: Set<String>) {
        self.tables = tables
    }

    /// Why `sql` is refused; nil when it is one statement for readers.
    func check(_ sql: [UInt8]) -> String? {
        var tokens = SQLTokenizer(sql)
        var shape = Shape(tables: tables)
        var isOver = false
        do throws(SQLTokenizer.Failure) {
            while let token = try tokens.next() {
                if isOver { return "only one statement is allowed" }
                if token == .semicolon { isOver = true } else if let reason = shape.take(token) { return reason }
            }
        } catch {
            return error.reason
        }
        return shape.isEmpty ? "the SQL text is empty" : shape.end()
    }
}

/// Follows the tokens of a SELECT as far as it takes to know what is a table, what is called, and how deep it is.
private struct Shape {
    /// What one pair of parentheses holds.
    private struct Level {
        /// Behind FROM, where a comma means another table.
        var listsTables = false
        /// The next token must be a table, or a parenthesis in its place.
        var awaitsTable = false
    }

    private let tables: Set<String>
    private var levels = [Level()]
    private var last: SQLTokenizer.Token?
    private var tableCount = 0
    private(set) var isEmpty = true

    init(tables: Set<String>) {
        self.tables = tables
    }

    /// Why the statement is refused with this token; nil while it is not.
    mutating func take(_ token: SQLTokenizer.Token) -> String? {
        defer {
            last = token
            isEmpty = false
        }
        if isEmpty {
            guard case .word(let word) = token else { return "the SQL text does not begin with SELECT or VALUES" }
            guard Self.openers.contains(word) else {
                return "only SELECT and VALUES are allowed, not \(word.prefix(20).uppercased())"
            }
        }
        if last == .word("in"), token != Self.open { return "IN needs a list in parentheses" }
        if last == .symbol(UInt8(ascii: "-")), token == .symbol(UInt8(ascii: ">")) { return "-> is not allowed" }
        switch token {
        case .symbol(UInt8(ascii: "(")): return opens()
        case .symbol(UInt8(ascii: ")")): return closes()
        case _ where top.awaitsTable: return table(token)
        case .word(let word): return self.word(word)
        case .symbol(UInt8(ascii: ",")):
            if top.listsTables { top.awaitsTable = true }
            return nil
        case .quotedName, .text, .number, .parameter, .symbol, .semicolon: return nil
        }
    }

    func end() -> String? {
        levels.count == 1 && !levels[0].awaitsTable ? nil : "the statement is not complete"
    }

    private static let open = SQLTokenizer.Token.symbol(UInt8(ascii: "("))

    private var top: Level {
        get { levels.last ?? Level() }
        set {
            if levels.isEmpty { levels.append(newValue) } else { levels[levels.count - 1] = newValue }
        }
    }

    private mutating func opens() -> String? {
        guard levels.count < 20 else { return "more than 20 parentheses stand in each other" }
        if top.awaitsTable {
            top.awaitsTable = false
            levels.append(Level(listsTables: true, awaitsTable: true))
            return countTable()
        }
        switch last {
        case .word(let word):
            guard Self.beforeParenthesis.contains(word) || ReadOnlySQL.functions.contains(word) else {
                return "\(word.prefix(40)) is not allowed"
            }
        case .quotedName(let name): return "\(name.prefix(40)) is not allowed"
        default: break
        }
        levels.append(Level())
        return nil
    }

    private mutating func closes() -> String? {
        guard levels.count > 1, !top.awaitsTable else { return "a parenthesis is closed that is not open" }
        levels.removeLast()
        return nil
    }

    /// What stands where a table is awaited.
    private mutating func table(_ token: SQLTokenizer.Token) -> String? {
        switch token {
        case .word("select"), .word("values"):
            // In parentheses only.
            guard last == Self.open else { return "a table is missing" }
            top = Level()
            return nil
        case .symbol(UInt8(ascii: ".")) where last == .word("main"): return nil
        case .word("main") where last != .symbol(UInt8(ascii: ".")): return nil
        case .word(let name), .quotedName(let name):
            guard tables.contains(name) else { return "there is nothing to read from \(name.prefix(40))" }
            top.awaitsTable = false
            return countTable()
        default: return "a table is missing"
        }
    }

    private mutating func countTable() -> String? {
        tableCount += 1
        return tableCount > ReadOnlySQL.mostTables ? "more than \(ReadOnlySQL.mostTables) tables are joined" : nil
    }

    private mutating func word(_ word: String) -> String? {
        switch word {
        // … IS DISTINCT FROM … compares.
        case "from" where last != .word("distinct"): top = Level(listsTables: true, awaitsTable: true)
        case "join": top = Level(listsTables: true, awaitsTable: true)
        case "select", "values", "where", "group", "order", "having", "limit", "union", "except", "intersect":
            top.listsTables = false
        default:
            if Self.refused.contains(word) { return "\(word.uppercased()) is not allowed" }
        }
        return nil
    }

    private static let openers: Set<String> = ["select", "values"]

    /// Keywords behind which a parenthesis calls nothing.
    private static let beforeParenthesis: Set<String> = [
        "select", "values", "all", "distinct", "where", "having", "by", "on", "using", "limit", "offset", "in",
        "exists", "and", "or",
        "not", "is", "between", "case", "when", "then", "else", "cast", "union", "except", "intersect", "escape",
    ]

    /// Words that change something, or call a function without parentheses, or make much from little.
    private static let refused: Set<String> = [
        "insert", "replace", "update", "delete", "create", "drop", "alter", "attach", "detach", "pragma", "vacuum",
        "reindex",
        "analyze", "begin", "commit", "rollback", "savepoint", "release", "explain", "with", "recursive", "like",
        "glob", "match",
        "regexp", "over", "filter", "window", "raise", "current_time", "current_date", "current_timestamp", "into",
        "returning",
    ]
}
