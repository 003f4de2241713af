import FoundationEssentials
import Glibc
import Lab
import Platform
import Testing

/// What `dqlite-vip discover --json` prints.
private struct Discovered: Decodable {
    struct Source: Decodable {
        var mode: String
        var addresses: [String]
        var error: String?
    }

    struct Address: Decodable, Equatable {
        var address: String
        var port: String
        var this_host: Bool
    }

    var sources: [Source]
    var addresses: [Address]
    var warnings: [String]
    var failures: [String]

    init(_ result: CommandResult) throws {
        self = try JSONDecoder().decode(Discovered.self, from: Data(result.output.utf8))
    }
}

extension EndToEnd {
    @Suite("Discover")
    struct DiscoverTests {
        /// `nobody` of Debian.
        private static let unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

        @Test("discover tells a node, a closed port, an API port and a silent address apart, and disturbs nobody")
        func ports() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions()
                options.bindHTTP = "0.0.0.0:9900"
                try lab[1].start(options)
                let before = try await lab.formation(of: [1], memberCount: 1)
                let log = lab[1].logText
                let list = "10.42.0.1:8800,10.42.0.2:8800,10.42.0.1:9900,10.42.0.99:8800"
                let result = try await lab[2].command(
                    ["discover", "--json", "--bind-http", "127.0.0.1:9999", "--join", list])
                let found = try Discovered(result)
                #expect(
                    found.addresses == [
                        .init(address: "10.42.0.1:8800", port: "cluster-port", this_host: false),
                        .init(address: "10.42.0.2:8800", port: "refused", this_host: true),
                        .init(address: "10.42.0.1:9900", port: "http", this_host: false),
                        .init(address: "10.42.0.99:8800", port: "no-answer", this_host: false),
                    ])
                #expect(result.status == .exited(1))
                #expect(found.failures.count == 1)
                #expect(result.error.contains("10.42.0.1:9900: it speaks HTTP: an API port"), "\(result.error)")
                #expect(lab[1].logText == log)
                let after = try await lab.formation(of: [1], memberCount: 1)
                #expect(after.clusterID == before.clusterID && after.statuses[1]?.term == before.statuses[1]?.term)
            }
        }

        @Test("discover takes the command line of start, needs no root, and leaves nothing behind")
        func asNobody() async throws {
            try await withLab(nodes: 3) { lab in
                let binary = "\(lab.network.directory)/dqlite-vip"
                try ToolCommand.check(["install", "-m", "755", lab[1].binary, binary])
                var arguments = StartOptions.identical(expect: 3).arguments
                arguments[0] = "discover"
                let result = try ToolCommand.run(
                    Self.unprivileged + [binary] + arguments + ["--join", "no-such-host.invalid"],
                    in: lab[2].namespace, directory: lab[2].directory)
                #expect(result.status == .exited(0), "\(result.text)")
                #expect(result.output.contains("10.42.0.2:8800  static  refused"), "\(result.output)")
                #expect(result.output.contains("(this host)"))
                #expect(result.error.hasPrefix("warning: static: cannot resolve \"no-such-host.invalid\""))
                #expect(access(lab[2].dataDirectory, F_OK) != 0)
            }
        }

        @Test("discover hears the nodes of its LAN by multicast, and is not heard itself")
        func multicast() async throws {
            try await withLab(nodes: 3) { lab in
                var options = StartOptions()
                options.bootstrapExpect = 3
                options.further = ["--disco-mode", "multicast", "--disco-config", #"{"secret":"one and the same"}"#]
                try lab[1].start(options)
                try lab[2].start(options)
                try await eventually("two nodes know each other", within: .seconds(10)) {
                    try await lab[1].command(["status"]).text.contains("2 of 3 nodes")
                }
                var arguments = options.arguments
                arguments[0] = "discover"
                let found = try Discovered(try await lab[3].command(arguments + ["--json"]))
                #expect(
                    found.addresses.sorted { $0.address < $1.address } == [
                        .init(address: "10.42.0.1:8800", port: "cluster-port", this_host: false),
                        .init(address: "10.42.0.2:8800", port: "cluster-port", this_host: false),
                    ])
                #expect(try await !lab[1].command(["status", "--json"]).text.contains("10.42.0.3"))
                let without = arguments.filter { $0 != "--iface" && $0 != "eth0" }
                let refused = try await lab[3].command(without)
                #expect(refused.status == .exited(78) && refused.error.contains("--iface"), "\(refused.text)")
            }
        }

        @Test("a name that cannot be resolved is only a warning beside another way of finding nodes")
        func besides() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions()
                options.bootstrapExpect = 2
                options.join = ["no-such-host.invalid"]
                options.further = ["--disco-mode", "multicast"]
                try lab.startAll(options)
                _ = try await lab.formation(within: .seconds(25))
                #expect(lab[1].logText.contains("--join: not one of the addresses can be resolved"))
                #expect(try await lab[1].command(["status", "--json"]).text.contains(#""mode":"static+multicast""#))
                var arguments = options.arguments
                arguments[0] = "discover"
                let result = try await lab[2].command(arguments)
                #expect(result.status == .exited(0), "\(result.text)")
                #expect(result.error.hasPrefix("warning: static: none of the join addresses"), "\(result.text)")
            }
        }

        @Test("discover ends with 1 when nothing is found, 64 and 78 when it was asked wrongly")
        func statuses() async throws {
            try await withLab(nodes: 1) { lab in
                let nothing = try await lab[1].command(["discover", "--json", "--join", "no-such-host.invalid"])
                #expect(nothing.status == .exited(1))
                let found = try Discovered(nothing)
                #expect(found.addresses.isEmpty && found.sources.first?.error?.contains("no-such-host.invalid") == true)
                #expect(nothing.error.contains("no address was found"))
                #expect(try await lab[1].command(["discover", "--nonsense"]).status == .exited(64))
                let nowhere = try await lab[1].command(["discover", "--iface", "eth0"])
                #expect(nowhere.status == .exited(78) && nowhere.error.contains("--disco-mode"))
            }
        }
    }
}
