import Lab
import Platform
import Testing

extension EndToEnd {
    @Suite("Names and labels")
    struct NameTests {
        @Test("they stand beside the id on every node, and follow the command line")
        func follow() async throws {
            try await withLab(nodes: 2) { lab in
                var options = StartOptions.identical(expect: 2)
                options.further = ["--node-name", "one", "--label", "rack=3", "--label", "arch=arm"]
                try lab[1].start(options)
                options.further = ["--node-name", "two"]
                try lab[2].start(options)
                _ = try await lab.formation()
                for node in lab.nodes {
                    try await eventually("names and labels at node \(node.number)", within: .seconds(10)) {
                        let text = try await node.request("GET", "/status").text
                        return text.contains("\"one\"") && text.contains("\"two\"") && text.contains("\"rack\":\"3\"")
                    }
                }
                let table = try await lab[2].command(["status"])
                #expect(table.output.contains("arch=arm,rack=3"), "\(table.text)")

                try await lab[1].terminate()
                options.further = ["--node-name", "first", "--label", "rack=4"]
                try lab[1].start(options)
                try await eventually("the new ones", within: .seconds(10)) {
                    let text = try await lab[2].request("GET", "/status").text
                    return text.contains("\"first\"") && text.contains("\"rack\":\"4\"") && !text.contains("arch")
                }
            }
        }
    }
}
