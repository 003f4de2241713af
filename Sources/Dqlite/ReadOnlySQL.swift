/// Decides from the text alone whether SQL is one statement that cannot write.
enum ReadOnlySQL {
    /// Why `sql` is refused; nil when it is one read-only statement.
    static func check(_ sql: [UInt8]) -> String? {
        var tokens = SQLTokenizer(sql)
        var isFirst = true
        var isOver = false
        var previous: String?
        while true {
            let token: SQLTokenizer.Token?
            do throws(SQLTokenizer.Failure) {
                token = try tokens.next()
            } catch {
                return error.reason
            }
            // REPLACE is a statement, and replace(…) a function.
            if previous == "replace", token != .symbol(UInt8(ascii: "(")) { return "REPLACE is not for reading" }
            previous = nil
            guard let token else { return isFirst ? "the SQL text is empty" : nil }
            if isOver { return "only one statement is allowed" }
            switch token {
            case .semicolon:
                if isFirst { return "the SQL text begins with a semicolon" }
                isOver = true
            case .word(let word):
                if isFirst, !openers.contains(word) {
                    return "only SELECT, VALUES, WITH and EXPLAIN are allowed, not \(word.prefix(20).uppercased())"
                }
                if let reason = refusal(of: word) { return reason }
                previous = word
            case .quotedName(let name):
                // A quoted function is called like an unquoted one.
                if refusedFunctions.contains(name) || name.hasPrefix("pragma_") { return "\(name) is not allowed" }
                if isFirst { return "the SQL text does not begin with a keyword" }
            case .text, .number, .parameter, .symbol:
                if isFirst { return "the SQL text does not begin with a keyword" }
            }
            isFirst = false
        }
    }

    private static func refusal(of word: String) -> String? {
        if word == "recursive" {
            return "RECURSIVE is not allowed: a long query would block the node"
        }
        if writers.contains(word) { return "\(word.uppercased()) is not for reading" }
        if refusedFunctions.contains(word) || word.hasPrefix("pragma_") { return "\(word) is not allowed" }
        return nil
    }

    private static let openers: Set<String> = ["select", "values", "with", "explain"]

    private static let writers: Set<String> = [
        "insert", "update", "delete", "create", "drop", "alter", "attach", "detach", "pragma", "vacuum", "reindex",
        "analyze", "begin", "commit", "rollback", "savepoint",
    ]

    /// Functions that load code, or make much from little: memory or time that stops the node's only thread.
    private static let refusedFunctions: Set<String> = [
        "load_extension", "zeroblob", "randomblob", "printf", "format", "generate_series", "json_each", "json_tree",
    ]
}
