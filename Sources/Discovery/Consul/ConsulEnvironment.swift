import Curl

extension ConsulConfiguration {
    /// With what is not given taken from the variables that Consul's own clients read, rqlite's among them: CONSUL_HTTP_ADDR,
    /// CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH, CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY,
    /// CONSUL_TLS_SERVER_NAME, CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_NAMESPACE and
    /// CONSUL_PARTITION.
    ///
    /// - Throws: `DiscoveryError` that names the variable.
    func completed(from environment: [String: String]) throws -> ConsulConfiguration {
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        var result = self
        if scheme == nil, try flag("CONSUL_HTTP_SSL", value) == true { result.scheme = .https }
        if address == nil, let text = value("CONSUL_HTTP_ADDR") { try result.take(address: text) }
        // A token that was given is not to give way to a file that was not.
        if token == nil, tokenFile == nil {
            result.tokenFile = value("CONSUL_HTTP_TOKEN_FILE")
            result.token = value("CONSUL_HTTP_TOKEN")
        }
        if credentials == nil, let text = value("CONSUL_HTTP_AUTH") {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            result.credentials = CurlRequest.Credentials(
                username: String(parts[0]), password: parts.count > 1 ? String(parts[1]) : "")
        }
        result.namespace = namespace ?? value("CONSUL_NAMESPACE")
        result.partition = partition ?? value("CONSUL_PARTITION")
        result.tls.serverName = tls.serverName ?? value("CONSUL_TLS_SERVER_NAME").map(Self.serverName)
        if tls.authorityFile == nil, tls.authorityText == nil, tls.authorityDirectory == nil {
            result.tls.authorityFile = value("CONSUL_CACERT")
            result.tls.authorityDirectory = value("CONSUL_CAPATH")
        }
        if tls.certificateFile == nil, tls.certificateText == nil {
            result.tls.certificateFile = value("CONSUL_CLIENT_CERT")
            result.tls.keyFile = value("CONSUL_CLIENT_KEY")
            if (result.tls.certificateFile == nil) != (result.tls.keyFile == nil) {
                throw DiscoveryError(
                    .system,
                    "of the environment's variables CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY only one is set: a certificate "
                        + "and its key go together: set both or none")
            }
        }
        if try flag("CONSUL_HTTP_SSL_VERIFY", value) == false { result.tls.verifiesServer = false }
        return result
    }

    private func flag(_ name: String, _ value: (String) -> String?) throws -> Bool? {
        guard let text = value(name) else { return nil }
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": return true
        case "0", "f", "F", "false", "FALSE", "False": return false
        default:
            throw DiscoveryError(
                .system, "the environment's variable \(name) is \"\(text)\": set it to true or false, or not at all")
        }
    }

    /// Here a scheme is allowed; http:// does not undo a demand for TLS.
    private mutating func take(address text: String) throws {
        var rest = text
        for candidate in [Scheme.https, .http] {
            let prefix = "\(candidate.rawValue)://"
            guard text.lowercased().hasPrefix(prefix) else { continue }
            rest = String(text.dropFirst(prefix.count))
            if candidate == .https { scheme = .https }
        }
        if rest.hasSuffix("/") { rest.removeLast() }
        do throws(AddressFault) {
            address = try Address(parsing: rest)
        } catch {
            throw DiscoveryError(.system, "the environment's variable CONSUL_HTTP_ADDR: \(error.text)")
        }
    }
}
