/// `host:port`, where the host is a name, an IPv4 address, or an IPv6 address in brackets (RFC 3986 section 3.2.2).
public struct HostPort: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The name or address; an IPv6 address stands here without brackets.
    public var host: String
    /// 1...65535.
    public var port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Why a text is no `host:port`.
    public struct ParseError: Error, Equatable, CustomStringConvertible {
        public var text: String
        public var reason: String
        public var description: String { "\"\(text)\" is not an address: \(reason)" }
    }

    /// Parses `host`, `host:port`, `[v6]`, `[v6]:port`. The default port is taken when the text names none; nil makes the
    /// port obligatory.
    ///
    /// - Throws: `ParseError` that says which part is wrong.
    public init(parsing text: some StringProtocol, defaultPort: UInt16? = nil) throws(ParseError) {
        let text = String(text)
        func fail(_ reason: String) -> ParseError { ParseError(text: text, reason: reason) }
        var host = Substring(text)
        var port: Substring?
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { throw fail("the bracket is not closed") }
            host = text[text.index(after: text.startIndex)..<close]
            guard IPAddress(host)?.family == .v6 else { throw fail("\"\(host)\" is not an IPv6 address") }
            let rest = text[text.index(after: close)...]
            if !rest.isEmpty {
                guard rest.first == ":" else { throw fail("after the bracket only :port may follow") }
                port = rest.dropFirst()
            }
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
            if port?.contains(":") == true {
                throw fail("write an IPv6 address in brackets, like [fd00::1]:8800")
            }
        }
        guard !host.isEmpty else { throw fail("the host is missing") }
        guard host.utf8.count <= 253 else {
            throw fail("a host name has at most 253 characters (RFC 1123 section 2.1)")
        }
        guard host.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") }) else {
            throw fail("the host \"\(host)\" has a character that no host name has")
        }
        if let port {
            guard let number = UInt16(port), number > 0, port.first != "+" else {
                throw fail("the port \"\(port)\" is not a number from 1 to 65535")
            }
            self.port = number
        } else if let defaultPort {
            self.port = defaultPort
        } else {
            throw fail("the port is missing")
        }
        self.host = String(host)
    }

    /// The host as an address, when it is one and not a name.
    public var address: IPAddress? { IPAddress(host) }

    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    public static func < (lhs: HostPort, rhs: HostPort) -> Bool {
        (lhs.host, lhs.port) < (rhs.host, rhs.port)
    }
}

extension HostPort: TextCodable {
    public init(codedText text: String) throws { try self.init(parsing: text) }
}
