import Lab
import Platform
import Testing

extension EndToEnd.StrangersTests {
    private static let evil = "\u{1b}]0;owned\u{07}\u{1b}[31mEVIL\u{1b}[0m\r\nfake   line   voter\u{202E}"

    /// Changes that no node of ours asks for, as far as their content goes.
    private static func changes(_ member: UInt64) -> [String] {
        let (evil, long) = (PeerWire.quoted(Self.evil), PeerWire.quoted(String(repeating: "N", count: 65_000)))
        let id = #""nodeID":"5f0c1d5e-0000-4000-8000-000000000077""#
        func note(_ name: String, _ address: String) -> String {
            #"{"noteRemoval":{"_0":{"dqliteID":\#(member),\#(id),"name":\#(name),"address":\#(address),"reason":"removed","#
                + #""at":"2026-11-21T06:31:00.250Z"}}}"#
        }
        return [
            #"{"setAddresses":{"_0":["\#(Network.vip)/24","junk\u001b[31m'\"\n"]}}"#,
            #"{"setAddresses":{"_0":["not an address"]}}"#, #"{"setAddresses":{"_0":["\#(Network.vip)"]}}"#,
            #"{"setAddresses":{"_0":["\#(Network.vip)/99"]}}"#, #"{"setAddresses":{"_0":[""]}}"#,
            #"{"setAddresses":{"_0":["127.0.0.1/8"]}}"#, #"{"setAddresses":{"_0":["0.0.0.0/0"]}}"#,
            #"{"setAddresses":{"_0":["\#(Network.vip)/24","\#(Network.vip)/24"]}}"#,
            #"{"setAddresses":{"_0":[\#((1...65).map { "\"10.42.1.\($0)/24\"" }.joined(separator: ","))]}}"#,
            #"{"setAddressesIfNone":{"_0":["junk"]}}"#,
            #"{"setAddressesIf":{"present":[["\#(Network.vip)/24"]],"_1":["junk"]}}"#,
            #"{"describeNode":{"_0":{"dqliteID":\#(member),\#(id),"name":\#(evil)}}}"#,
            #"{"describeNode":{"_0":{"dqliteID":\#(member),\#(id),"name":\#(long)}}}"#,
            #"{"describeNode":{"_0":{"dqliteID":\#(member),\#(id),"name":""}}}"#,
            #"{"describeNode":{"_0":{"dqliteID":\#(member),"nodeID":\#(evil),"name":"x"}}}"#,
            #"{"describeNode":{"_0":{"dqliteID":\#(member),\#(id),"name":"x","failureDomain":\#(evil)}}}"#,
            #"{"labelNode":{"_0":\#(member),"_1":{\#(evil):"x"}}}"#,
            #"{"labelNode":{"_0":\#(member),"_1":{"x":\#(evil)}}}"#,
            #"{"labelNode":{"_0":\#(member),"_1":{"x":\#(long)}}}"#,
            note(evil, "\"10.42.0.77:8800\""), note("\"x\"", evil), note(long, "\"10.42.0.77:8800\""),
            #"{"noteMove":{"_0":{"dqliteID":\#(member),"address":\#(evil),"role":0}}}"#,
        ]
    }

    @Test("what the API would refuse is refused on the cluster port, too, and nobody sees any of it")
    func junk() async throws {
        try await withStranger { lab, stranger, vigil in
            let cluster = vigil.before.clusterID
            var taken: [String] = []
            for change in Self.changes(vigil.before.leaderID) {
                let json = #"{"write":{"_0":\#(change),"clusterID":"\#(cluster)"}}"#
                for node in lab.nodes {
                    let answer = try? await stranger.ask(json, of: node)
                    if let answer, !answer.hasPrefix(#"{"failed""#) {
                        taken.append("node \(node.number): \(change.prefix(120)): \(answer.prefix(120))")
                    }
                }
            }
            #expect(taken.isEmpty, "\(taken.count) changes were taken: \(taken.joined(separator: "; "))")
            try await vigil.nothingHappened("junk in changes")
        }
    }

    @Test("news of a configuration that is not committed change nothing")
    func news() async throws {
        try await withStranger { lab, stranger, vigil in
            let cluster = vigil.before.clusterID
            let evil = PeerWire.quoted(Self.evil)
            let entry = #"{"dqliteID":\#(vigil.before.leaderID),"nodeID":"x","name":\#(evil)}"#
            for content in [
                #"{"addresses":[],"nodes":[]}"#, #"{"addresses":["junk\u001b[31m"],"nodes":[]}"#,
                #"{"addresses":["10.42.0.123/24"],"nodes":[\#(entry)]}"#, #"{"vips":[]}"#,
            ] {
                let json = #"{"changed":{"_0":\#(content),"clusterID":"\#(cluster)"}}"#
                for node in lab.nodes {
                    _ = try? await stranger.ask(json, of: node)
                    let vip = try await node.command(["vip", "get"])
                    #expect(vip.output == lab.vipText + "\n", "node \(node.number) after \(content)")
                    let list = try await node.command(["node", "list"])
                    #expect(!list.text.contains("EVIL"), "node \(node.number): \(list.text)")
                }
            }
            try await vigil.nothingHappened("news of a stranger")
        }
    }

    @Test("names with control characters and of 64 KiB reach no terminal, whoever gives them")
    func escapes() async throws {
        try await withStranger { lab, stranger, vigil in
            let cluster = vigil.before.clusterID
            let id = #""nodeID":"5f0c1d5e-0000-4000-8000-000000000077","dqliteID":77"#
            let member = #""nodeID":"5f0c1d5e-0000-4000-8000-000000000077","dqliteID":\#(vigil.before.leaderID)"#
            for name in [Self.evil, String(repeating: "N", count: 65_000), "a\nb", "\u{9b}31m", ""] {
                let quoted = PeerWire.quoted(name)
                let place = #""address":"\#(Network.strangerAddress):8800","clusterName":"dqlite-vip""#
                for json in [
                    #"{"peer":{"_0":{"join":{\#(id),"name":\#(quoted),\#(place),"clusterID":"\#(cluster)","nonVoter":true}}}}"#,
                    #"{"peer":{"_0":{"hello":{\#(id),"name":\#(quoted),\#(place),"generation":1,"nonVoter":true,"#
                        + #""phase":"fresh","ready":false,"heard":[],"discovered":[],"schema":1}}}}"#,
                    #"{"write":{"_0":{"describeNode":{"_0":{\#(member),"name":\#(quoted)}}},"clusterID":"\#(cluster)"}}"#,
                    #"{"changed":{"_0":{"addresses":["\#(lab.vipText)"],"nodes":[{\#(member),"name":\#(quoted)}]},"clusterID":"\#(cluster)"}}"#,
                    #"{"failOver":{"to":\#(quoted),"clusterID":"\#(cluster)"}}"#,
                    #"{"removeNode":{"_0":{"target":\#(quoted),"force":true,"isLeaving":false},"clusterID":"\#(cluster)"}}"#,
                ] {
                    for node in lab.nodes { _ = try? await stranger.ask(json, of: node) }
                }
            }
            for node in lab.nodes {
                for command in [["status"], ["node", "list"], ["vip", "get"]] {
                    let text = try await node.command(command).text
                    let marks = text.unicodeScalars.filter {
                        $0 != "\n" && [.control, .format, .lineSeparator].contains($0.properties.generalCategory)
                    }
                    #expect(marks.isEmpty, "node \(node.number), \(command): \(text.debugDescription.prefix(400))")
                    #expect(text.utf8.count < 8192, "node \(node.number), \(command)")
                }
            }
            try await vigil.nothingHappened("names")
        }
    }

    @Test("who does not know the cluster's id is not told it, whatever it asks")
    func secretID() async throws {
        try await withStranger { lab, stranger, vigil in
            let cluster = vigil.before.clusterID
            let address = "\(Network.strangerAddress):8800"
            var told: Set<String> = []
            let timing = #"{"address":"\#(address)","latency":30,"lease":180,"silence":150}"#
            for wrong in ["x", "", "5f0c1d5e-0000-4000-8000-000000000077"] {
                let id = #""clusterID":"\#(wrong)""#
                let questions = [
                    #"{"standing":{"_0":1,\#(id)}}"#, #"{"read":{\#(id)}}"#,
                    #"{"write":{"_0":{"forgetNode":{"_0":77}},\#(id)}}"#,
                    #"{"changed":{"_0":{"addresses":[],"nodes":[]},\#(id)}}"#,
                    #"{"handOver":{"_0":{\#(id),"term":1,"leader":1,"address":"\#(address)","isMade":false,"isHolder":false}}}"#,
                    #"{"tookOver":{"term":1,\#(id)}}"#, #"{"failOver":{\#(id)}}"#, #"{"failOver":{"to":"x",\#(id)}}"#,
                    #"{"roster":{"_0":{\#(id),"term":1,"leader":1,"members":[]}}}"#,
                    #"{"removeNode":{"_0":{"target":"x","force":false,"isLeaving":false},\#(id)}}"#,
                    #"{"dismissed":{"_0":{"dqliteID":1,"nodeID":"x","name":"x","address":"x","reason":"removed","#
                        + #""at":"2026-11-21T06:31:00.250Z"},\#(id)}}"#,
                    #"{"raft":{"_0":{"clusterName":"dqlite-vip",\#(id),"dqliteID":77,"address":"\#(address)","timing":\#(timing),"#
                        + #""incarnation":1,"relay":4}}}"#,
                    #"{"peer":{"_0":{"join":{"nodeID":"5f0c1d5e-0000-4000-8000-000000000077","name":"x","dqliteID":77,"#
                        + #""address":"\#(address)","clusterName":"dqlite-vip",\#(id),"nonVoter":true}}}}"#,
                    #"{"nothing":{\#(id)}}"#,
                ]
                for question in questions {
                    for node in lab.nodes {
                        let answer = try? await stranger.ask(question, of: node)
                        if answer?.contains(cluster) == true { told.insert("\(question.prefix(24))") }
                    }
                }
            }
            #expect(told.isEmpty, "the id is in the answers to \(told.sorted().joined(separator: ", "))")
            try await vigil.nothingHappened("questions of who knows nothing")
        }
    }
}
