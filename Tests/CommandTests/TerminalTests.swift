import API
import FoundationEssentials
import Platform
import Testing

@testable import dqlite_vip

/// What a peer could put into a name, an address, a label or an error.
private let nasty = [
    "\u{1B}]0;owned\u{7}", "\u{1B}[31mEVIL\u{1B}[0m", "a\nID  NAME\n9   forged", "a\r\nb", "over\rwritten", "tab\there",
    "\0",
    "\u{7F}", "\u{9B}31m", "\u{9D}0;x\u{9C}", "\u{85}", "\u{202E}txt.exe\u{202C}", "\u{2066}x\u{2069}",
    "\u{200E}\u{200F}\u{061C}",
    "\u{2028}\u{2029}", "\u{FEFF}\u{200B}\u{AD}", "\u{E0041}\u{E0042}", "\u{8}\u{8}\u{8}", "x\u{0301}\n\u{0301}",
    String(repeating: "N", count: 64 << 10), String(repeating: "\u{1B}", count: 64 << 10),
    String(repeating: "😀", count: 64 << 10),
]

/// Whether a terminal shows each scalar as one, and moves on by line ends only.
private func isHarmless(_ text: PrintableText) -> Bool {
    text.description.unicodeScalars.allSatisfy { scalar in
        if scalar == "\n" { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return false
        default: return true
        }
    }
}

@Suite struct PrintableTextTests {
    @Test("what is put into a sentence stays within its line, and is shown rather than done", arguments: nasty)
    func sentence(nasty: String) {
        let text: PrintableText = "one \(nasty) two\nthree"
        #expect(isHarmless(text))
        #expect(text.description.split(separator: "\n").count == 2)
        #expect(text.description.hasPrefix("one ") && text.description.hasSuffix(" two\nthree"))
        #expect(text.description.utf8.count < 40 << 10)
        // Also as part of something that describes itself.
        let error: PrintableText = "\(APIClientError.sample(nasty))"
        #expect(isHarmless(error) && !error.description.contains("\n"))
    }

    @Test("what is harmless is not touched: accents, other scripts, faces, quotes and backslashes")
    func harmless() {
        let name = "e\u{0301} 漢字 😀 \"q\" \\ עברית"
        let text: PrintableText = "\(name)"
        #expect(text.description == name)
        #expect(PrintableText(lines: ["a", name]).description == "a\n\(name)\n")
    }

    @Test("controls are shown by their numbers")
    func shown() {
        let text: PrintableText = "\("\u{1B}[31m\r\n\t\u{202E}\u{E0041}")"
        #expect(text.description == #"\u{1b}[31m\r\n\t\u{202e}\u{e0041}"#)
    }

    @Test("printable text in printable text is taken as it is, and lines are added up")
    func nested() {
        let inner: PrintableText = "a\n\("b\n")"
        let outer: PrintableText = "<\(inner)>"
        #expect(outer.description == "<a\nb\\n>")
        #expect((inner + "\nc").description == "a\nb\\n\nc")
    }

    @Test("a cell cannot make a row or move the columns out of sight; a long one is cut", arguments: nasty)
    func cell(nasty: String) {
        let text = PrintableText(rows: [["ID", "NAME", "X"], ["1", nasty, "y"], ["2", "b", nasty]])
        let lines = text.description.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(isHarmless(text) && lines.count == 4 && lines[3].isEmpty)
        #expect(lines[0].hasPrefix("ID  NAME  ") && lines[0].hasSuffix("X") && lines[0].count < 100)
        #expect(lines[1].count < 2500)
    }

    @Test("JSON stays the same document, and has nothing in it that a terminal would obey", arguments: nasty)
    func json(nasty: String) throws {
        struct Document: Codable, Equatable { var name: String }
        let document = Document(name: nasty)
        let written = try JSONText.of(document)
        #expect(isHarmless(written) && !written.description.contains("\n"))
        #expect(try JSONDecoder().decode(Document.self, from: Data(written.description.utf8)) == document)
        // What somebody else's writer left as it is: the blanks between tokens stay blanks.
        let raw = "{\r\n\t\"name\": \"\u{9B}\u{202E}\u{E0041}\" }\r\n"
        let shown = PrintableText(json: raw)
        #expect(shown.description == "{ \n\t\"name\": \"\\u009b\\u202e\\udb40\\udc41\" } \n")
        #expect(
            try JSONDecoder().decode(Document.self, from: Data(shown.description.utf8)).name
                == "\u{9B}\u{202E}\u{E0041}")
    }
}

extension APIClientError {
    fileprivate static func sample(_ text: String) -> any Error { Failure(description: "refused: \(text)") }

    private struct Failure: Error, CustomStringConvertible {
        var description: String
    }
}

@Suite("nothing that comes from elsewhere reaches a terminal unseen")
struct ForeignTextTests {
    @Test("status and node list: names, addresses, labels, errors and warnings of others", arguments: nasty)
    func tables(nasty: String) {
        var member = ClusterMember(id: 1, address: nasty, role: .voter, name: nasty)
        member.labels = [nasty: nasty]
        member.failureDomain = nasty
        member.configuredAddress = nasty
        var own = ClusterMember(id: 2, address: "192.0.2.2:8800", role: .standBy)
        own.name = nasty
        let report = StatusReport(
            id: 2, leaderID: 1, isLeader: false, clusterMembers: [member, own], nodeID: nasty, name: nasty,
            address: nasty, clusterID: nasty, clusterName: nasty, state: .formed, term: 7, vip: nasty, holdsVIP: false,
            discovery: DiscoveryReport(
                mode: nasty, lastContact: WallTime(milliseconds: 0), lastAddresses: [nasty], lastError: nasty),
            version: nasty, uptimeSeconds: 3725, warnings: [nasty, nasty])
        let status = StatusTable(report).text
        #expect(isHarmless(status))
        let table = NodeTable.text(
            NodesReport(nodes: [member, own], summary: nasty, removed: []), leader: 1, own: 2)
        #expect(isHarmless(table))
        // Head, two members, an empty line, the summary.
        #expect(table.description.split(separator: "\n", omittingEmptySubsequences: false).count == 6)
    }

    @Test("discover: what sources and ports answer", arguments: nasty)
    func discover(nasty: String) {
        let source = DiscoverReport.Source(
            mode: "dns", asked: nasty, addresses: [HostPort(host: nasty, port: 1)], duration: .milliseconds(3),
            error: nasty, warning: nasty)
        let report = DiscoverReport(key: nasty, sources: [source], bootstrapExpect: nil, notes: [nasty]) { _ in
            (PortFinding(state: .refused, detail: nasty), false)
        }
        #expect(isHarmless(report.text))
    }

    /// The sources of the program, as they were compiled.
    private static let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources/dqlite-vip")

    @Test("no file of the program but Terminal's writes to standard output or error; the log has its own sink")
    func onePlace() throws {
        let allowed: Set = ["Terminal/Terminal.swift", "Logging/LogSink.swift", "Logging/LogSetup.swift"]
        let ways = [
            "print(", "debugPrint(", "dump(", "putchar", "puts(", "printf(", "STDOUT_FILENO", "STDERR_FILENO",
            "stdout", "stderr", "FileHandle", "standardError", "standardOutput",
        ]
        var looked = 0
        for folder in try FileManager.default.contentsOfDirectory(atPath: Self.sources.path) {
            let path = Self.sources.appending(path: folder).path
            let files = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
            for file in files where file.hasSuffix(".swift") && !allowed.contains("\(folder)/\(file)") {
                looked += 1
                let text = try String(contentsOfFile: "\(path)/\(file)", encoding: .utf8)
                for line in text.split(separator: "\n") where !line.contains("///") && !line.contains("// ") {
                    for way in ways where line.contains(way) {
                        Issue.record("\(folder)/\(file): \(line): what is printed goes through Terminal")
                    }
                }
            }
        }
        #expect(looked > 40)
    }
}
