import Glibc
import Platform
import Testing

@testable import Discovery

private func parse(_ text: String, _ environment: [String: String] = [:]) throws -> [String: JSONValue] {
    try ConfigurationText.parse(Array(text.utf8), environment: environment)
}

private func faults(_ text: String, _ environment: [String: String] = [:]) -> [String] {
    let error = #expect(throws: ConfigurationFault.self) { try parse(text, environment) }
    return error?.reasons ?? []
}

@Suite struct ConfigurationTextTests {
    @Test(
        "what begins with a brace is JSON, anything else a path",
        arguments: zip(
            ["{}", " \n\t{\"a\":1}", "/etc/x.json", "x", "", "[1]", "\"a\"", " "],
            [true, true, false, false, false, false, false, false]))
    func kind(text: String, isLiteral: Bool) {
        #expect(ConfigurationText(text) == (isLiteral ? .literal(text) : .file(text)))
    }

    @Test("every kind of value arrives, escapes and surrogate pairs in texts too")
    func values() throws {
        let parsed = try parse(
            #"{"t":"a\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00","i":-12,"z":0,"n":1.5e2,"b":true,"c":false,"x":null,"l":[1,"2",[]],"o":{"k":{}}}"#
        )
        #expect(
            parsed == [
                "t": .string("a\"\\/\u{8}\u{C}\n\r\téé😀"), "i": .integer(-12),
                "z": .integer(0), "n": .number(150), "b": .bool(true), "c": .bool(false), "x": .null,
                "l": .array([.integer(1), .string("2"), .array([])]), "o": .object(["k": .object([:])]),
            ])
        #expect(try parse("\u{FEFF}{}").isEmpty)
        #expect(try parse("{\"big\":9223372036854775808}") == ["big": .number(9223372036854775808)])
    }

    @Test(
        "a fault tells line, column and what, and not what stands there",
        arguments: [
            ("", "line 1, column 1: it is empty: give an object in braces"),
            ("  ", "line 1, column 3: it ends too early: an object in braces is expected"),
            ("[\"hunter2\"]", "line 1, column 1: an object in braces is expected"),
            (
                "{\"a\":hunter2}",
                "line 1, column 6: a value is expected: a text in double quotes, a number, true, false, null, { or ["
            ),
            ("{\n  \"é\": \"hunter2\" \"b\"}", "line 2, column 18: a comma or a closing brace is expected"),
            ("{\"a\":\"hunter2}", "line 1, column 15: it ends too early: a text in double quotes is not closed"),
            (
                "{\"a\":\"hunt\ner2\"}",
                "line 1, column 11: a text has a line end or another control character in it: close it, or write \\n"
            ),
            ("{\"a\":1,}", "line 1, column 8: the name of a field in double quotes is expected"),
            ("{'a':1}", "line 1, column 2: the name of a field in double quotes is expected"),
            ("{\"a\" 1}", "line 1, column 6: a colon is expected after the name of a field"),
            ("{\"a\":[1 2]}", "line 1, column 9: a comma or a closing bracket is expected"),
            (
                "{\"a\":[1,]}",
                "line 1, column 9: a value is expected: a text in double quotes, a number, true, false, null, { or ["
            ),
            ("{\"a\":01}", "line 1, column 6: this is no number as JSON has them"),
            ("{\"a\":1.}", "line 1, column 6: this is no number as JSON has them"),
            ("{\"a\":-}", "line 1, column 6: this is no number as JSON has them"),
            ("{\"a\":1e999}", "line 1, column 6: this is no number as JSON has them"),
            (
                "{\"a\":\"x\\$y\"}",
                "line 1, column 8: a backslash stands before a character that has no such form: write it twice"
            ),
            (
                "{\"a\":\"\\u12x4\"}",
                "line 1, column 7: \\u is not followed by the four hexadecimal digits of a character"
            ),
            (
                "{\"a\":\"\\ud800\"}",
                "line 1, column 7: \\u is not followed by the four hexadecimal digits of a character"
            ),
            ("{\"a\":1,\"b\":2,\"a\":3}", "line 1, column 14: a field of this name is there already: keep one"),
            ("{\"a\":1} x", "line 1, column 9: something stands behind the closing brace"),
            ("{\"a\":{\"b\":1}", "line 1, column 13: it ends too early: a comma or a closing brace is expected"),
        ])
    func fault(text: String, message: String) {
        #expect(faults(text) == [message])
    }

    @Test("nesting and bytes that are no UTF-8 are bounded and told, whatever their number")
    func hostile() {
        let deep = "{\"a\":" + String(repeating: "[", count: 500_000)
        #expect(faults(deep) == ["line 1, column 37: objects and lists are nested more than 32 deep"])
        let error = #expect(throws: ConfigurationFault.self) {
            try ConfigurationText.parse(Array("{\"a\":\"".utf8) + [0xFF, 0xC0] + Array("\"}".utf8), environment: [:])
        }
        #expect(error?.reasons == ["line 1, column 7: the text that begins here is not UTF-8"])
    }

    @Test("variables are put in: escaped inside texts, as they are elsewhere, and never expanded again")
    func expansion() throws {
        let environment = [
            "PORT": "8801", "QUOTED": "a\"b\\c\nd\u{1}", "EMPTY": "", "NEST": "$PORT", "OBJECT": "{\"k\":\"$x\"}",
            "_a1": "under",
        ]
        #expect(try parse("{\"p\":$PORT,\"q\":${PORT}}", environment) == ["p": .integer(8801), "q": .integer(8801)])
        #expect(try parse("{\"s\":\"<$QUOTED>\"}", environment) == ["s": .string("<a\"b\\c\nd\u{1}>")])
        #expect(
            try parse("{\"$_a1\":\"${PORT}0$EMPTY$NEST\",\"o\":$OBJECT}", environment)
                == ["under": .string("88010$PORT"), "o": .object(["k": .string("$x")])])
    }

    @Test("two dollars are one, and a dollar before anything else stays")
    func dollars() throws {
        #expect(
            try parse("{\"a\":\"$$PORT $$$$ $ $1 $\\\" \\\\$\"}", ["PORT": "x"])
                == ["a": .string("$PORT $$ $ $1 $\" \\$")])
        #expect(try parse("{\"a\":\"\\\\$PORT\"}", ["PORT": "x"]) == ["a": .string("\\x")])
    }

    @Test("a variable that is not set is a fault that names it, and so is a brace that is not closed")
    func unset() {
        #expect(
            faults("{\"a\":\"$NOPE\",\n\"b\":${NOR_THIS},\"c\":\"$NOPE\",\"d\":\"${X-y} ${\"}", ["X": "1"]) == [
                "line 1, column 7: the environment variable NOPE is not set: set it, or write $$ for a dollar",
                "line 2, column 5: the environment variable NOR_THIS is not set: set it, or write $$ for a dollar",
                "line 2, column 34: after \"${\" stands no name with a closing brace: write ${NAME}, or $$ for a dollar",
                "line 2, column 41: after \"${\" stands no name with a closing brace: write ${NAME}, or $$ for a dollar",
            ])
    }

    @Test("a fault behind a variable is told where it stands in the text, one in its value where the variable stands")
    func places() {
        let environment = ["LONG": String(repeating: "secret\n", count: 10), "PORT": "88 01"]
        #expect(
            faults("{\"a\":\"$LONG\",\n \"b\":}", environment) == [
                "line 2, column 6: a value is expected: a text in double quotes, a number, true, false, null, { or ["
            ])
        #expect(
            faults("{\"a\":\"x$$y\", \"b\":$PORT}", environment) == [
                "line 1, column 18, in the value of the variable PORT: a comma or a closing brace is expected"
            ])
    }

    @Test("variables cannot blow a text up beyond the limit")
    func limit() {
        let environment = ["A": String(repeating: "a", count: 100_000)]
        let text = "{\"a\":\"" + String(repeating: "$A", count: 400_000) + "\"}"
        #expect(faults(text, environment) == ["with its variables it has more than 1048576 bytes"])
    }

    @Test("no text crashes the parser, and no fault repeats anything but the name of a variable")
    func fuzz() {
        let seed = UInt64.random(in: .min ... .max)
        var state = seed
        func roll(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let tokens = [
            "{", "}", "[", "]", ":", ",", "\"", "\\", "$", "${", "$A", "1", "-", "e", ".", "true", "\n", "%SECRET",
            "\\u", "é",
        ]
        for _ in 0..<20_000 {
            let text = "{" + (0..<roll(20)).map { _ in tokens[roll(tokens.count)] }.joined()
            do throws(ConfigurationFault) {
                _ = try ConfigurationText.parse(Array(text.utf8), environment: ["A": "SECRET\"\\"])
            } catch {
                #expect(!error.reasons.isEmpty && !error.description.contains("SECRET"), "seed \(seed)")
            }
        }
    }
}

@Suite struct ConfigurationFileTests {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/dqlite-vip-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            for name in ["a.json", "pipe"] { unlink("\(path)/\(name)") }
            rmdir(path)
        }
        try body(path)
    }

    @Test("a file is read whole, up to a mebibyte")
    func file() throws {
        try withDirectory { directory in
            let path = "\(directory)/a.json"
            try DurableFile.write(Array("{\"a\":1}".utf8), to: path)
            #expect(try ConfigurationText(path).load() == Array("{\"a\":1}".utf8))
            try DurableFile.write([UInt8](repeating: 0x20, count: ConfigurationText.limit), to: path)
            #expect(try ConfigurationText(path).load().count == ConfigurationText.limit)
            try DurableFile.write([UInt8](repeating: 0x20, count: ConfigurationText.limit + 1), to: path)
            let error = #expect(throws: SystemError.self) { try ConfigurationText(path).load() }
            #expect(
                error?.description
                    == "cannot read \(path): File too large (errno 27): a configuration has at most 1048576 bytes")
        }
    }

    @Test("a file that is not there, a directory and a pipe are told by name, and hold nobody up")
    func unreadable() throws {
        let remedy = ": give the path of a file, or the JSON itself, which begins with {"
        try withDirectory { directory in
            func message(_ path: String) -> String? {
                #expect(throws: SystemError.self) { try ConfigurationText(path).load() }?.description
            }
            let missing = "\(directory)/a.json"
            #expect(message(missing) == "cannot read \(missing): No such file or directory (errno 2)" + remedy)
            #expect(message(directory) == "cannot read \(directory): Is a directory (errno 21)" + remedy)
            mkfifo("\(directory)/pipe", 0o600)
            #expect(
                message("\(directory)/pipe") == "cannot read \(directory)/pipe: Invalid argument (errno 22)" + remedy)
            #expect(message("") == "cannot read: No such file or directory (errno 2)" + remedy)
        }
    }

    @Test(
        "what looks like an object that was not recognised is not repeated",
        arguments: ["\"token\":\"hunter2\"", "[\"hunter2\"]", "hunter2\n}", "hunter2\0", "token:hunter2"])
    func noPath(text: String) {
        let error = #expect(throws: SystemError.self) { try ConfigurationText(text).load() }
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test("a literal is bounded too")
    func literal() throws {
        #expect(try ConfigurationText("{}").load() == Array("{}".utf8))
        #expect(throws: SystemError.self) {
            try ConfigurationText("{" + String(repeating: " ", count: ConfigurationText.limit)).load()
        }
    }
}
