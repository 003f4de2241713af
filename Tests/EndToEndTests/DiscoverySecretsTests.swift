import FoundationEssentials
import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Secrets of the discovery")
    struct DiscoverySecretsTests {
        struct Mode: Sendable, CustomTestStringConvertible {
            var name: String
            /// Holds "hunter2" as often as the mode has secrets, and $HIDDEN.
            var configuration: String
            /// What the status says is wrong; nil when nothing is.
            var trouble: String?
            var testDescription: String { name }
        }

        private static let modes = [
            Mode(
                name: "etcd-kv",
                configuration: #"{"endpoints": ["127.0.0.1:1"], "username": "user", "password": "hunter2$HIDDEN"}"#,
                trouble: "127.0.0.1:1"),
            Mode(
                name: "consul-kv",
                configuration:
                    #"{"address": "127.0.0.1:1", "token": "hunter2", "basic_auth": {"username": "u", "password": "$HIDDEN"}}"#,
                trouble: "127.0.0.1:1"),
            Mode(name: "multicast", configuration: #"{"secret": "hunter2 $HIDDEN and more of it"}"#, trouble: nil),
        ]

        @Test(
            "what a configuration file holds is in no process list, log, status, table and report of discover",
            arguments: modes)
        func nowhere(_ mode: Mode) async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                let environment = ["HIDDEN": "swordfish"]
                try DurableFile.write(Array(mode.configuration.utf8), to: "\(node.directory)/disco.json")
                var options = StartOptions()
                options.bootstrapExpect = 2
                options.further = [
                    "--disco-mode", mode.name, "--disco-config", "disco.json", "--disco-key", "prod/web", "--log-level",
                    "trace",
                ]
                try node.start(options, environment: environment)
                var texts: [String: String] = [:]
                try await eventually("looking for others", within: .seconds(10)) {
                    let text = try await node.request("GET", "/status").text
                    texts["GET /status"] = text
                    guard text.contains(#""mode":"\#(mode.name)""#), text.contains(#""key":"prod/web""#) else {
                        return false
                    }
                    return mode.trouble.map { text.contains($0) } ?? text.contains(#""last_contact":"2"#)
                }
                texts["the status"] = try await node.command(["status"]).text
                for json in [[], ["--json"]] {
                    var arguments = options.arguments + json
                    arguments[0] = "discover"
                    let result = try ToolCommand.run(
                        [node.binary] + arguments, in: node.namespace, directory: node.directory,
                        environment: environment)
                    #expect(result.text.contains(mode.name), "\(result.text)")
                    texts["discover \(json)"] = result.text
                }
                let processes = [try #require(node.guardPID), try #require(node.daemonPID)]
                for pid in processes {
                    texts["command line of \(pid)"] = try DurableFile.read("/proc/\(pid)/cmdline").map {
                        String(decoding: $0, as: UTF8.self)
                    }
                }
                _ = try await node.terminate()
                texts["the log"] = node.logText
                #expect(texts.count == 7)
                for (name, text) in texts {
                    #expect(!text.isEmpty, "\(name)")
                    for secret in ["hunter2", "swordfish"] {
                        #expect(!text.contains(secret), "\(mode.name): \(name): \(text)")
                    }
                }
            }
        }

        @Test("a broken configuration file is told by name and place, without what it holds", arguments: modes)
        func broken(_ mode: Mode) async throws {
            try await withLab(nodes: 1) { lab in
                let node = lab[1]
                let cases = [
                    (String(mode.configuration.dropLast()), "line 1, column"),
                    (
                        mode.configuration.replacing("{\"", with: "{\"hunter\": \"hunter2\", \"", maxReplacements: 1),
                        "\"hunter\""
                    ),
                    (mode.configuration.replacing("$HIDDEN", with: "$UNSET"), "UNSET is not set"),
                    (mode.configuration.replacing("\"hunter2", with: "[1], \"x\": \"hunter2"), "a list"),
                ]
                for (text, words) in cases {
                    try DurableFile.write(Array(text.utf8), to: "\(node.directory)/disco.json")
                    for command in ["start", "discover"] {
                        let result = try ToolCommand.run(
                            [node.binary, command] + StartOptions().arguments.dropFirst()
                                + ["--disco-mode", mode.name, "--disco-config", "disco.json"],
                            in: node.namespace, directory: node.directory, environment: ["HIDDEN": "swordfish"])
                        #expect(result.status == .exited(78), "\(text): \(result.text)")
                        #expect(result.text.contains("--disco-config \"disco.json\": "), "\(text): \(result.text)")
                        #expect(result.text.contains(words), "\(text): \(result.text)")
                        #expect(
                            !result.text.contains("hunter2") && !result.text.contains("swordfish"), "\(result.text)")
                    }
                }
            }
        }
    }
}
