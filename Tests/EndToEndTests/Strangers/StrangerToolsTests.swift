import FoundationEssentials
import Lab
import Platform
import Testing

extension EndToEnd {
    /// What is refused because it is malformed proves nothing: the stranger's own tools.
    @Suite("The stranger's tools")
    struct StrangerToolsTests {
        @Test(
            "a text survives JSON, whatever is in it", arguments: ["", "a\"\\/b", "\u{1b}[31m\r\n\u{0}", "é\u{202E}😀"])
        func quoting(text: String) throws {
            let quoted = PeerWire.quoted(text)
            #expect(quoted.utf8.allSatisfy { (0x20...0x7E).contains($0) })
            #expect(try JSONDecoder().decode(String.self, from: Data(quoted.utf8)) == text)
        }

        @Test("a frame is a length, big endian, and the text")
        func frames() {
            #expect(PeerWire.frame("{}") == [0, 0, 0, 2, 0x7B, 0x7D])
            #expect(PeerWire.frame(String(repeating: "x", count: 258)).prefix(4) == [0, 0, 1, 2])
        }

        @Test(
            "a query with bound values is answered like the same one without, and a sound question as a peer's is understood"
        )
        func understood() async throws {
            try await withStranger { lab, stranger, vigil in
                let leader = lab[vigil.before.leader]
                let plain = try await stranger.query("SELECT count(*) FROM vip WHERE 1 = 1 AND 'a' = 'a'", of: leader)
                let bound = try await stranger.query(
                    "SELECT count(*) FROM vip WHERE 1 = ? AND ? = 'a' AND ? IS NOT NULL",
                    [.integer(1), .text("a"), .blob([0x41])], of: leader)
                #expect(plain?.type == bound?.type)
                // Known to be malformed, so that the difference can be seen.
                let nonsense = try await stranger.ask(#"{"handOver":{"_0":{}}}"#, of: leader)
                #expect(nonsense.contains("malformed"), "\(nonsense)")
                let sound = try await stranger.ask(#"{"standing":{"_0":1,"clusterID":"x"}}"#, of: leader)
                #expect(!sound.contains("malformed"), "\(sound)")
            }
        }

        @Test("a crowd goes on until it is called off, counts what was cut short, and leaves no thread")
        func crowds() async throws {
            let crowd = try Crowd(of: 4) { member in
                if member.number == 0 { throw LabError("the first one fails") }
                member.pause(.milliseconds(5))
            }
            try await eventually("ten rounds and a failure", within: .seconds(5)) {
                crowd.tally.rounds >= 10 && crowd.tally.failures >= 1
            }
            let tally = try await crowd.end()
            #expect(tally.lastFailure == "the first one fails")
            #expect(crowd.tally.rounds == tally.rounds)
        }
    }
}
