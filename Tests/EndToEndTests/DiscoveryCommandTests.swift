import FoundationEssentials
import Lab
import Platform
import Testing

extension EndToEnd.DiscoveryTests {
    /// `discover`: what an operator asks whose cluster does not form.
    @Suite("The command discover")
    struct CommandTests {
        private struct Report: Decodable {
            struct Address: Decodable {
                var address: String
                var port: String
                var this_host: Bool
            }
            struct Source: Decodable {
                var mode: String
                var error: String?
            }
            var addresses: [Address]
            var sources: [Source]
            var failures: [String]
        }

        private func discover(_ node: LabNode, _ options: [String]) async throws -> (Report, CommandResult) {
            let result = try await node.command(["discover", "--json", "--iface", "eth0"] + options)
            do {
                return (try JSONDecoder().decode(Report.self, from: Data(result.output.utf8)), result)
            } catch {
                throw LabError("discover \(options): \(error): \(result.text)")
            }
        }

        @Test("names: the nodes that are there, those that are not, and why a name gives nothing")
        func names() async throws {
            try await withDNS(nodes: 3) { lab, dns in
                try lab[1].start(StartOptions())
                _ = try await lab.formation(of: [1])
                let addresses = lab.nodes.map(\.address) + [try #require(IPAddress("10.42.0.77"))]
                try await dns.set("nodes.lab", addresses)
                let options = ["--disco-mode", "dns", "--disco-config", #"{"name":"nodes.lab"}"#]
                let (report, result) = try await discover(lab[3], options)
                #expect(result.isSuccess, "\(result.text)")
                let ports = Dictionary(uniqueKeysWithValues: report.addresses.map { ($0.address, $0.port) })
                #expect(
                    ports == [
                        "10.42.0.1:8800": "cluster-port", "10.42.0.2:8800": "refused", "10.42.0.3:8800": "refused",
                        "10.42.0.77:8800": "no-answer",
                    ])
                #expect(report.addresses.filter(\.this_host).map(\.address) == ["10.42.0.3:8800"])

                let table = try await lab[3].command(["discover"] + options)
                for text in ["nodes.lab", "10.42.0.1:8800", "cluster-port", "this host"] {
                    #expect(table.output.contains(text), "\(table.text)")
                }
                let none = try await lab[3].command([
                    "discover", "--disco-mode", "dns", "--disco-config", #"{"name":"nowhere.lab"}"#,
                ])
                #expect(none.status == .exited(1))
                #expect(none.error.contains("nowhere.lab"), "\(none.text)")
                try await dns.stop()
                let silent = try await lab[3].command(["discover"] + options, within: .seconds(30))
                #expect(silent.status == .exited(1))
                #expect(silent.error.contains("\(dns.address)"), "\(silent.text)")
            }
        }

        @Test("stores and multicast: what is registered is shown, and nothing is registered by the look")
        func storesAndMulticast() async throws {
            try await onEachStore(nodes: 2) { lab, store in
                try lab[1].start(.discovering(store))
                try await store.isComplete(try await lab.formation(of: [1]))
                let before = try await store.all("")
                let options = ["--disco-mode", store.mode, "--disco-config", store.configuration]
                let (report, result) = try await discover(lab[2], options)
                #expect(result.isSuccess, "\(result.text)")
                #expect(report.addresses.map(\.address) == ["10.42.0.1:8800"])
                #expect(report.addresses.map(\.port) == ["cluster-port"])
                #expect(try await store.all("").keys.sorted() == before.keys.sorted())
                try await store.kill()
                let away = try await lab[2].command(["discover"] + options, within: .seconds(30))
                #expect(away.status == .exited(1))
                #expect(away.error.contains("10.42.0.250"), "\(away.text)")
            }
            try await withLab(nodes: 2) { lab in
                try lab[1].start(.discovering("multicast", expect: 1))
                _ = try await lab.formation(of: [1])
                let (report, result) = try await discover(lab[2], ["--disco-mode", "multicast"])
                #expect(result.isSuccess, "\(result.text)")
                #expect(report.addresses.map(\.address) == ["10.42.0.1:8800"])
            }
        }
    }
}
