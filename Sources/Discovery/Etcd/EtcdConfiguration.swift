import Curl
import Glibc
import Platform

/// `--disco-config` of etcd-kv: the fields of rqlite, which are those of etcd's Go client, and those of TLS.
struct EtcdConfiguration: Hashable, Sendable {
    /// The client port of one member.
    struct Endpoint: Hashable, Sendable, CustomStringConvertible {
        var address: HostPort
        var isSecure: Bool

        var description: String { "\(isSecure ? "https" : "http")://\(address)" }

        /// Programs of Go never ask a proxy for these, and a proxy could hardly know what to do with them.
        var isLocal: Bool {
            let text = address.host
            return text == "localhost" || text == "::1" || (address.address?.family == .v4 && text.hasPrefix("127."))
        }
    }

    static let defaultPort: UInt16 = 2379

    var endpoints = [Endpoint(address: HostPort(host: "localhost", port: defaultPort), isSecure: false)]
    /// For one request to one endpoint.
    var timeLimit: Duration = .seconds(3)
    /// With its password, or neither.
    var username: String?
    var password: String?
    var caFile: String?
    var certificateFile: String?
    var keyFile: String?
    var serverName: String?
    var verifiesServer = true

    var tls: CurlRequest.TLS {
        CurlRequest.TLS(
            authorities: caFile.map { .file($0) }, certificate: certificateFile.map { .file($0) },
            key: keyFile.map { .file($0) }, serverName: serverName, verifiesServer: verifiesServer)
    }

    /// Nothing given: etcd on this host.
    init() {}

    init(from fields: inout ConfigurationFields) {
        caFile = fields.text("ca_file")
        certificateFile = fields.text("cert_file")
        keyFile = fields.text("key_file")
        serverName = fields.text("server_name")
        verifiesServer = fields.flag("insecure_skip_verify") != true
        if (certificateFile == nil) != (keyFile == nil) {
            let (given, missing) = keyFile == nil ? ("cert_file", "key_file") : ("key_file", "cert_file")
            fields.fault(given, "a certificate and its key go together: give \(missing), too")
        }
        let hasTLS =
            caFile != nil || certificateFile != nil || keyFile != nil || serverName != nil || !verifiesServer
        readEndpoints(&fields, hasTLS: hasTLS)

        username = fields.text("username")
        password = fields.text("password")
        if username == nil, password != nil {
            fields.fault("password", "a password needs the username that it is for: give it")
        }
        if username != nil, password == nil { fields.fault("username", "a username needs its password: give it") }
        // 0 is "no limit" to etcd's Go client; here there always is one.
        if let limit = fields.duration("dial_timeout", .zero ... .seconds(60)), limit > .zero { timeLimit = limit }
        // Of connections that stay open, which requests of HTTP do without.
        fields.ignore(
            "auto_sync_interval", "dial_keep_alive_time", "dial_keep_alive_timeout", "max_call_send_msg_size",
            "max_call_recv_msg_size", "reject_old_cluster", "permit_without_stream")
    }

    private mutating func readEndpoints(_ fields: inout ConfigurationFields, hasTLS: Bool) {
        guard let texts = fields.texts("endpoints") else {
            for index in endpoints.indices { endpoints[index].isSecure = hasTLS }
            return
        }
        endpoints = []
        if texts.isEmpty {
            fields.fault("endpoints", "the list is empty: name at least one member, like \"10.0.0.1:2379\"")
        }
        for text in texts {
            do throws(EndpointFault) {
                let endpoint = try Self.endpoint(text, hasTLS: hasTLS)
                if !endpoint.isSecure && hasTLS {
                    fields.fault(
                        "endpoints",
                        "\"\(text)\" is without TLS, but fields of TLS are given: write https://, or remove them")
                }
                if !endpoints.contains(endpoint) { endpoints.append(endpoint) }
            } catch {
                fields.fault("endpoints", "\(error.text): give HOST:PORT, http://HOST:PORT or https://HOST:PORT")
            }
        }
    }

    private struct EndpointFault: Error {
        let text: String
        init(_ text: String) { self.text = text }
    }

    private static func endpoint(_ text: String, hasTLS: Bool) throws(EndpointFault) -> Endpoint {
        var rest = Substring(text)
        var isSecure = hasTLS
        if let mark = text.firstRange(of: "://") {
            switch text[..<mark.lowerBound].lowercased() {
            case "http": isSecure = false
            case "https": isSecure = true
            default:
                throw EndpointFault("\"\(text)\" is not an endpoint: the scheme is neither http nor https")
            }
            rest = text[mark.upperBound...]
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        // A URL may bear a user's name and password: those do not belong into messages, so not even this text does.
        guard !rest.contains("@") else {
            throw EndpointFault("an endpoint has an @ in it: user and password have fields of their own")
        }
        do throws(HostPort.ParseError) {
            return Endpoint(address: try HostPort(parsing: rest, defaultPort: defaultPort), isSecure: isSecure)
        } catch {
            throw EndpointFault(error.description)
        }
    }

    /// - Throws: `DiscoveryError` when a file that is named cannot be read.
    func checkFiles() throws {
        for (field, path) in [("ca_file", caFile), ("cert_file", certificateFile), ("key_file", keyFile)] {
            guard let path, access(path, R_OK) != 0 else { continue }
            throw DiscoveryError(
                .system, "cannot read \(path), which --disco-config names as \(field): \(SystemError.text(of: errno))")
        }
    }
}
