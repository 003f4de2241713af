import CCurl
import Platform

/// The server in a URL, as libcurl reads it.
struct URLParts {
    private let whole: String
    /// A name or an address, an IPv6 address in brackets.
    let host: String
    /// nil: the scheme's own.
    let port: String?

    /// nil for what libcurl takes for no URL.
    init?(_ url: String) {
        guard let parsed = ccurl_url_parse(url) else { return nil }
        defer { ccurl_url_free(parsed) }
        guard let host = Self.part(parsed, ccurl_url_host) else { return nil }
        whole = url
        self.host = host
        port = Self.part(parsed, ccurl_url_port)
    }

    /// As it stands in the URL and in a request's header.
    var authority: String { port.map { "\(host):\($0)" } ?? host }

    /// Whether the server is this host, by its name or by an address of loopback.
    var isLocal: Bool {
        let name = host.lowercased()
        return name == "localhost" || name == "[::1]" || (name.hasPrefix("127.") && IPAddress(name) != nil)
    }

    /// The same URL with another server at the same port; nil when that cannot be one.
    func url(at name: String) -> String? {
        guard let parsed = ccurl_url_parse(whole) else { return nil }
        defer { ccurl_url_free(parsed) }
        guard ccurl_url_set(parsed, ccurl_url_host, name.contains(":") ? "[\(name)]" : name) == 0 else { return nil }
        return Self.part(parsed, ccurl_url_whole)
    }

    private static func part(_ url: UnsafeMutableRawPointer, _ part: ccurl_url_part) -> String? {
        guard let text = ccurl_url_get(url, part) else { return nil }
        defer { ccurl_free(text) }
        return String(cString: text)
    }
}
