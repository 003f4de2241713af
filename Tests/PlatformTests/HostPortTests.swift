import FoundationEssentials
import Platform
import Testing

@Suite struct HostPortTests {
    @Test(
        "every form is parsed",
        arguments: [
            ("192.0.2.1:8800", "192.0.2.1", 8800), ("192.0.2.1", "192.0.2.1", 1), ("host", "host", 1),
            ("host.example:65535", "host.example", 65535), ("[fd00::1]", "fd00::1", 1), ("[::]:9", "::", 9),
            ("0.0.0.0:00080", "0.0.0.0", 80),
        ] as [(String, String, UInt16)])
    func forms(text: String, host: String, port: UInt16) throws {
        #expect(try HostPort(parsing: text, defaultPort: 1) == HostPort(host: host, port: port))
    }

    @Test(
        "every error says which part is wrong",
        arguments: [
            ("", "the host is missing"), (":8800", "the host is missing"), ("host", "the port is missing"),
            ("[fd00::1]", "the port is missing"), ("host:", "the port \"\" is not a number from 1 to 65535"),
            ("host:0", "the port \"0\" is not a number from 1 to 65535"),
            ("host:65536", "the port \"65536\" is not a number from 1 to 65535"),
            ("host:-1", "the port \"-1\" is not a number from 1 to 65535"),
            ("host:+1", "the port \"+1\" is not a number from 1 to 65535"),
            ("host: 1", "the port \" 1\" is not a number from 1 to 65535"),
            ("host:http", "the port \"http\" is not a number from 1 to 65535"),
            ("fd00::1", "write an IPv6 address in brackets, like [fd00::1]:8800"),
            ("::1:8800", "write an IPv6 address in brackets, like [fd00::1]:8800"),
            ("[fd00::1", "the bracket is not closed"), ("[host]:1", "\"host\" is not an IPv6 address"),
            ("[1.2.3.4]:1", "\"1.2.3.4\" is not an IPv6 address"), ("[]:1", "\"\" is not an IPv6 address"),
            ("[fd00::1]8800", "after the bracket only :port may follow"),
            ("[fd00::1]:x", "the port \"x\" is not a number from 1 to 65535"),
            ("ho st:1", "the host \"ho st\" has a character that no host name has"),
            ("http://host:1", "the port \"//host:1\" is not a number from 1 to 65535"),
            ("host/24:1", "the host \"host/24\" has a character that no host name has"),
            ("a\u{7F}:1", "the host \"a\u{7F}\" has a character that no host name has"),
        ])
    func errors(text: String, reason: String) throws {
        let error = #expect(throws: HostPort.ParseError.self) { try HostPort(parsing: text) }
        // A scheme is caught by whichever part of it fails first: what counts is that it is refused.
        if text.hasPrefix("http:") { return }
        #expect(error?.reason == reason)
        #expect(error?.text == text)
        #expect(error?.description == "\"\(text)\" is not an address: \(reason)")
    }

    @Test("an IPv6 host is written in brackets and read back", arguments: ["[fd00::1]:8800", "1.2.3.4:1", "a.b:65535"])
    func roundTrip(text: String) throws {
        let parsed = try HostPort(parsing: text)
        #expect(parsed.description == text)
        let data = try JSONEncoder().encode([parsed])
        #expect(try JSONDecoder().decode([HostPort].self, from: data) == [parsed])
    }

    @Test("an address without port is refused in JSON")
    func json() {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([HostPort].self, from: Data(#"["host"]"#.utf8))
        }
    }

    @Test("a name is no address")
    func address() {
        #expect(HostPort(host: "host", port: 1).address == nil)
        #expect(HostPort(host: "fd00::1", port: 1).address == IPAddress("fd00::1"))
    }

    @Test("no text crashes the parser, and what it takes it writes and reads back")
    func fuzz() {
        let seed = UInt64.random(in: .min ... .max)
        var dice = Dice(seed: seed)
        let alphabet = Array("0123456789af.:[]+- /h\0é\n")
        for _ in 0..<50_000 {
            let count = Int.random(in: 0...24, using: &dice)
            let text = String((0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &dice)] })
            guard let parsed = try? HostPort(parsing: text, defaultPort: 7) else { continue }
            #expect(parsed.port > 0 && !parsed.host.isEmpty)
            #expect((try? HostPort(parsing: parsed.description)) == parsed, "\(text) with seed \(seed)")
        }
    }
}
