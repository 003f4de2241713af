import ArgumentParser
import Discovery
import Glibc
import Platform
import Testing

@testable import dqlite_vip

/// No file, no environment, and the modes of the product with backends of the test, so that each test sees the same.
var pureSurroundings: SettingsSurroundings {
    SettingsSurroundings(
        environment: ["SECRET": "hunter2", "PORT": "8801"],
        load: { text in
            switch text {
            case .literal(let text): return Array(text.utf8)
            case .file("/good.json"): return Array("{\"name\": \"x\"}".utf8)
            case .file("/broken.json"): return Array("{\"name\": \"hunter2\"\n \"port\": 1}".utf8)
            case .file(let path): throw SystemError("read", path, errno: ENOENT, remedy: "give the path of a file")
            }
        },
        modes: ["static", "dns", "etcd-kv"],
        check: { mode, fields in
            var fields = ConfigurationFields(fields)
            if mode == "dns" {
                if fields.text("name") == nil { fields.fault("name", "give the name to resolve") }
                _ = fields.integer("port", 1...65535)
            } else {
                _ = fields.text("password")
                fields.ignore("dial-timeout")
            }
            fields.finish()
            return (fields.faults, fields.ignored)
        })
}

/// Parses a command line as a shell would split it ('…' keeps a word together) and validates it.
func settings(
    _ line: String, environment: [String: String] = [:], vipFault: @escaping (String) -> String? = { _ in nil }
) throws -> StartSettings {
    try StartSettings.validate(input(line, environment), in: surroundings(vipFault))
}

func faults(
    _ line: String, environment: [String: String] = [:], vipFault: @escaping (String) -> String? = { _ in nil }
) throws -> [String] {
    let error = #expect(throws: SettingsFaults.self) {
        try settings(line, environment: environment, vipFault: vipFault)
    }
    return error?.faults ?? []
}

func discoverSettings(_ line: String) throws -> DiscoverSettings {
    try DiscoverSettings.validate(input(line, [:], command: "discover"), in: pureSurroundings)
}

private func surroundings(_ vipFault: @escaping (String) -> String?) -> SettingsSurroundings {
    var surroundings = pureSurroundings
    surroundings.vipFault = vipFault
    return surroundings
}

private func input(_ line: String, _ environment: [String: String], command: String = "start") throws -> StartInput {
    var words: [String] = []
    var isQuoted = false
    var word: String?
    for character in line {
        switch character {
        case "'":
            isQuoted.toggle()
            word = word ?? ""
        case _ where character.isWhitespace && !isQuoted:
            if let word { words.append(word) }
            word = nil
        default: word = (word ?? "") + String(character)
        }
    }
    if let word { words.append(word) }
    let parsed = try DqliteVIP.parseAsRoot([command] + words)
    let options = (parsed as? StartCommand)?.options ?? (parsed as? DiscoverCommand)?.options
    var input = try #require(options).input
    input.fill(from: environment)
    return input
}
