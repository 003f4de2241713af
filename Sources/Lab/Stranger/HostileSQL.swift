/// Texts that a client who may only read could hurt a node with.
public enum HostileSQL {
    /// What hands out or takes in an address of the process, in every form in which SQLite takes a call.
    ///
    /// See sqlite.org/fts3.html, "Custom Application Defined Tokenizers": with two arguments it registers the pointer that the second
    /// one holds, and the table `fts3tokenize` calls through it.
    public static let pointers: [String] = {
        let names = [
            "fts3_tokenizer", "FTS3_Tokenizer", "\"fts3_tokenizer\"", "[fts3_tokenizer]", "`fts3_tokenizer`",
            "\"FTS3_TOKENIZER\"", "'fts3_tokenizer'", "fts3_tokenizer/**/", "fts3_tokenizer\n",
        ]
        return names.flatMap { name in
            [
                "SELECT hex(\(name)('simple'))", "SELECT \(name)('simple')", "SELECT typeof(\(name)('porter'))",
                "VALUES(\(name)('simple'))", "SELECT count(*) FROM vip WHERE \(name)('simple') IS NULL",
                "SELECT 1 ORDER BY \(name)('simple')", "WITH x AS (SELECT \(name)('simple') a) SELECT a FROM x",
                "SELECT (SELECT \(name)('simple'))", "EXPLAIN SELECT \(name)('simple')",
            ]
        } + [
            "SELECT * FROM fts3tokenize WHERE input = 'hello world'",
            "SELECT * FROM 'fts3tokenize' WHERE input = 'hello world'",
            "SELECT * FROM \"fts3tokenize\"('simple')", "SELECT * FROM fts3tokenize('simple', 'a', 'b')",
        ]
    }()

    /// What reads more than the tables, goes round the words that are refused, or turns something on.
    public static let backDoors: [String] = [
        "SELECT * FROM 'pragma_database_list'", "SELECT * FROM 'pragma_optimize'(65535)",
        "SELECT * FROM 'pragma_optimize'(-1)", "SELECT count(*) FROM 'pragma_integrity_check'",
        "SELECT * FROM 'pragma_wal_checkpoint'", "SELECT * FROM 'pragma_journal_mode'",
        "SELECT * FROM 'pragma_trusted_schema'", "SELECT name FROM 'pragma_function_list'() LIMIT 2",
        "SELECT name FROM 'pragma_module_list'", "SELECT * FROM vip, 'pragma_compile_options'",
        "SELECT * FROM 'json_each'('[1,2]')", "SELECT * FROM 'json_tree'('[1,2]')",
        "SELECT * FROM 'generate_series'(1, 3)",
        "SELECT * FROM 'main'.'pragma_database_list'", "SELECT * FROM vip JOIN 'json_each'('[1,2]')",
        "SELECT * FROM sqlite_dbpage LIMIT 1", "SELECT * FROM dbstat LIMIT 1", "SELECT * FROM bytecode('SELECT 1')",
        "SELECT 'load_extension'('x')", "SELECT load_extension('x')", "SELECT sqlite_log(1, 'hello')",
        "SELECT zeroblob(1000000000)", "SELECT randomblob(1000000000)", "SELECT printf('%1000000000d', 1)",
        "SELECT format('%1000000000d', 1)", "SELECT writefile('x', 'y')", "SELECT readfile('/etc/passwd')",
        "SELECT edit('x')", "SELECT fts5(?1)", "SELECT rtreecheck('x')",
        "SELECT count(*) FROM (SELECT 1) WINDOW w AS (ORDER BY fts3_tokenizer('simple'))",
    ]

    /// One instruction of SQLite that takes time in proportion to `subject` × `pattern`, both in characters, in a text of 2 KB.
    public static func like(subject: Int, pattern: Int) -> String {
        "SELECT \(grown(to: subject)) LIKE '%' || \(grown(to: pattern)) || 'b'"
    }

    /// Several such instructions, none of them with LIKE.
    public static let slowInstructions: [String] = [
        "SELECT instr(\(grown(to: 1_000_000)), \(grown(to: 49_000)) || 'b')",
        "SELECT \(grown(to: 1_000_000)) GLOB '*' || \(grown(to: 49_000)) || 'b'",
        "SELECT replace(\(grown(to: 1_000_000)), \(grown(to: 49_000)) || 'b', 'c')",
        "SELECT like('%' || \(grown(to: 49_000)) || 'b', \(grown(to: 1_000_000)))",
        "SELECT \"like\"('%' || \(grown(to: 49_000)) || 'b', \(grown(to: 1_000_000)))",
        "SELECT glob('*' || \(grown(to: 49_000)) || 'b', \(grown(to: 1_000_000)))",
        "SELECT hex(hex(hex(hex(\(grown(to: 1_000_000))))))",
        "SELECT trim(\(grown(to: 1_000_000)), \(grown(to: 49_000)))",
    ]

    /// Values of hundreds of megabytes behind an answer of one number: `factor` million bytes and more.
    public static func large(_ factor: Int) -> String {
        let (a, b, c) = (letters("a", factor), letters("b", 1000), letters("c", 1000))
        return "SELECT length(replace(replace('\(a)', 'a', '\(b)'), 'b', '\(c)'))"
    }

    /// The same by other ways.
    public static let growths: [String] = [
        "SELECT length(hex(replace(hex('aaaaaaaa'), '6', '\(letters("6", 30_000))')))",
        "SELECT length(group_concat(\(grown(to: 900_000)))) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8))",
        "SELECT length(quote(\(grown(to: 50_000_000))))",
        "SELECT length(upper(replace('\(letters("a", 30_000))', 'a', '\(letters("b", 20_000))')))",
    ]

    /// It names itself, which SQLite takes for recursion with and without the word.
    public static let selfNaming =
        "WITH x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x"

    /// 5^18 rows of nothing.
    public static let crossJoin: String = {
        let five = "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5)"
        return "SELECT count(*) FROM " + (0..<18).map { "\(five) t\($0)" }.joined(separator: ", ")
    }()

    /// The same of our own tables, and of VALUES.
    public static let crossJoins: [String] = [
        crossJoin,
        "SELECT count(*) FROM " + (0..<40).map { "node t\($0)" }.joined(separator: ", "),
        "SELECT count(*) FROM "
            + (0..<9).map { "(VALUES \((0..<20).map { "(\($0))" }.joined(separator: ", "))) t\($0)" }.joined(
                separator: ", "),
    ]

    private static func letters(_ letter: String, _ count: Int) -> String { String(repeating: letter, count: count) }

    /// An expression of about 2 KB and less whose value has so many characters.
    private static func grown(to count: Int) -> String {
        "replace('\(letters("a", max(1, count / 1000)))', 'a', '\(letters("a", 1000))')"
    }
}
