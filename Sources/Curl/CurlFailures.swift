import CCurl
import Platform

extension CurlRequest {
    /// What would end a text early, begin another header or be taken for something else by the server.
    ///
    /// - Throws: `CurlFailure` that names the fault, and no value that may be secret.
    func check() throws(CurlFailure) {
        func refuse(_ text: String) -> CurlFailure { CurlFailure(code: .other, text: text) }
        guard Self.isToken(method) else { throw refuse("\"\(method)\" is no method of HTTP") }
        for (name, value) in headers {
            guard Self.isToken(name) else { throw refuse("\"\(name)\" is no name of a header") }
            guard !Self.hasControls(value) else {
                throw refuse("the value of the header \(name) has a line break or another control character in it")
            }
        }
        if Self.hasControls(url) { throw refuse("the URL has a control character in it") }
        if let credentials {
            // RFC 7617, section 2.
            if credentials.username.utf8.contains(UInt8(ascii: ":")) {
                throw refuse("the user name has a colon in it, which basic authentication cannot carry")
            }
            if Self.hasControls(credentials.username) || Self.hasControls(credentials.password) {
                throw refuse("the user name or the password has a control character in it")
            }
        }
        let texts = [
            tls.serverName, tls.authorityDirectory, unixSocket, tls.authorities?.path, tls.certificate?.path,
            tls.key?.path,
        ]
        for case let text? in texts where text.utf8.contains(0) {
            throw refuse("a name of a file or server has a zero byte in it")
        }
    }

    /// RFC 9110, section 5.6.2.
    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    private static func hasControls(_ text: String) -> Bool { text.utf8.contains { $0 < 0x20 || $0 == 0x7F } }
}

extension CurlRequest.TLS.Material {
    fileprivate var path: String? {
        if case .file(let path) = self { path } else { nil }
    }
}

extension CurlFailure {
    /// From libcurl's code and words.
    init(curl code: Int32, errno: Int32, text: String, _ request: CurlRequest) {
        var text = Self.redacted(text)
        let kind = Self.kind(ccurl_code(rawValue: UInt32(bitPattern: code)), text)
        switch kind {
        case .answerTooLong: text = "the answer is longer than \(request.answerBytes) bytes"
        case .cannotConnect where errno != 0 && !text.contains(SystemError.text(of: errno)):
            text += ": \(SystemError.text(of: errno))"
        case .badCertificate: text += Self.files(of: request.tls, code, unlessIn: text)
        default: break
        }
        self.init(code: kind, errno: kind == .cannotConnect ? errno : 0, text: text)
    }

    private static func kind(_ code: ccurl_code, _ text: String) -> Code {
        switch code {
        case ccurl_could_not_resolve_host, ccurl_could_not_resolve_proxy: .unresolvable
        case ccurl_could_not_connect, ccurl_proxy_error: .cannotConnect
        case ccurl_operation_timed_out: .timedOut
        case ccurl_ssl_connect_error, ccurl_peer_failed_verification, ccurl_ssl_cipher: .tls
        case ccurl_ssl_cert_problem, ccurl_ssl_ca_bad_file: .badCertificate
        case ccurl_write_error: .answerTooLong
        // A server of TLS 1.3 judges our certificate after the handshake, and says so in an alert.
        case ccurl_recv_error, ccurl_send_error:
            if text.contains("SSL") && text.contains(" alert ") {
                .tls
            } else if text.contains("CONNECT tunnel") {
                .cannotConnect
            } else {
                .notHTTP
            }
        // The same code as for a URL of FTP.
        case ccurl_unsupported_protocol: text.contains("HTTP/0.9") ? .notHTTP : .other
        case ccurl_got_nothing, ccurl_weird_server_reply, ccurl_partial_file, ccurl_bad_content_encoding: .notHTTP
        default: .other
        }
    }

    /// One line, and of a URL with a password in it only what follows that: libcurl quotes the proxy of the environment
    /// when it cannot use it.
    private static func redacted(_ text: String) -> String {
        let words = text.split { $0.isWhitespace || $0.asciiValue.map { $0 < 0x20 } == true }
        return words.map { word in
            guard let at = word.lastIndex(of: "@") else { return String(word) }
            let quote = word.first == "'" || word.first == "\"" ? String(word.prefix(1)) : ""
            return quote + "***" + word[at...]
        }.joined(separator: " ")
    }

    /// Some versions of libcurl do not say which file it is that they cannot use.
    private static func files(of tls: CurlRequest.TLS, _ code: Int32, unlessIn text: String) -> String {
        let isOurs = ccurl_code(rawValue: UInt32(bitPattern: code)) == ccurl_ssl_cert_problem
        let paths = (isOurs ? [tls.certificate, tls.key] : [tls.authorities]).compactMap { $0?.path }
        if paths.isEmpty || paths.contains(where: text.contains) { return "" }
        return " (\(paths.joined(separator: ", ")))"
    }
}
