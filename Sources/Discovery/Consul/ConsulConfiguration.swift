import Curl
import FoundationEssentials
import Platform

/// `--disco-config` of consul-kv: the fields of rqlite. What is not given comes from the environment of Consul's own
/// clients (`completed`), and else is the agent on this host without TLS.
struct ConsulConfiguration: Hashable, Sendable {
    enum Scheme: String, Sendable {
        case http
        case https
    }

    enum Address: Hashable, Sendable {
        /// Without a port: the scheme's own, 80 or 443, as in Go.
        case network(host: String, port: UInt16?)
        /// The path of a unix socket.
        case socket(String)
    }

    struct TLS: Hashable, Sendable {
        /// The name that the server's certificate must have; nil: the host of the address.
        var serverName: String?
        var authorityFile: String?
        /// All certificates in it are trusted, whatever the files are named.
        var authorityDirectory: String?
        var authorityText: [UInt8]?
        var certificateFile: String?
        var certificateText: [UInt8]?
        var keyFile: String?
        var keyText: [UInt8]?
        var verifiesServer = true
    }

    var scheme: Scheme?
    var address: Address?
    var datacenter: String?
    var credentials: CurlRequest.Credentials?
    var token: String?
    /// Goes before `token`.
    var tokenFile: String?
    var namespace: String?
    var partition: String?
    var tls = TLS()

    /// Nothing given.
    init() {}

    init(from fields: inout ConfigurationFields) {
        if let text = fields.text("scheme") {
            scheme = Scheme(rawValue: text.lowercased())
            if scheme == nil { fields.fault("scheme", "\"\(text)\" is neither http nor https: give one of them") }
        }
        if let text = fields.text("address") {
            do throws(AddressFault) {
                address = try Address(parsing: text)
            } catch {
                fields.fault("address", error.text)
            }
        }
        datacenter = fields.text("datacenter")
        credentials = fields.object("basic_auth", Self.credentials) ?? nil
        token = fields.text("token")
        tokenFile = fields.text("token_file")
        if tokenFile != nil { fields.ignore("token") }
        namespace = fields.text("namespace")
        partition = fields.text("partition")
        if let tls = fields.object("tls_config", Self.tls) {
            self.tls = tls
            if scheme == .http, tls != TLS() { fields.ignore("tls_config") }
            if scheme == nil, tls != TLS() {
                fields.fault(
                    "tls_config", "without \"scheme\": \"https\" Consul is asked without TLS: give the scheme, too")
            }
        }
    }

    private static func credentials(_ fields: inout ConfigurationFields) -> CurlRequest.Credentials? {
        let password = fields.text("password") ?? ""
        guard let username = fields.text("username") else {
            if !password.isEmpty { fields.fault("username", "the password needs the username that it is for: give it") }
            return nil
        }
        if username.contains(":") { fields.fault("username", "basic authentication has no names with a colon in them") }
        return CurlRequest.Credentials(username: username, password: password)
    }

    private static func tls(_ fields: inout ConfigurationFields) -> TLS {
        var tls = TLS()
        tls.serverName = fields.text("address").map(serverName)
        tls.authorityFile = fields.text("ca_file")
        tls.authorityDirectory = fields.text("ca_path")
        tls.authorityText = pem("ca_pem", &fields)
        tls.certificateFile = fields.text("cert_file")
        tls.certificateText = pem("cert_pem", &fields)
        tls.keyFile = fields.text("key_file")
        tls.keyText = pem("key_pem", &fields)
        tls.verifiesServer = fields.flag("insecure_skip_verify") != true
        requirePair("cert_file", tls.certificateFile, "key_file", tls.keyFile, &fields)
        requirePair("cert_pem", tls.certificateText, "key_pem", tls.keyText, &fields)
        // In the order of Go's client.
        if tls.authorityFile != nil { fields.ignore("ca_pem", "ca_path") }
        if tls.authorityText != nil { fields.ignore("ca_path") }
        if tls.certificateText != nil { fields.ignore("cert_file", "key_file") }
        return tls
    }

    private static func requirePair<Value>(
        _ name: String, _ certificate: Value?, _ keyName: String, _ key: Value?, _ fields: inout ConfigurationFields
    ) {
        guard (certificate == nil) != (key == nil) else { return }
        let (given, missing) = key == nil ? (name, keyName) : (keyName, name)
        fields.fault(given, "a certificate and its key go together: give \(missing), too")
    }

    /// Without a port, if there is one.
    static func serverName(_ text: String) -> String {
        (try? HostPort(parsing: text, defaultPort: 443).host) ?? text
    }

    /// A text in PEM; also in base64, as Go's decoder wants bytes.
    private static func pem(_ name: String, _ fields: inout ConfigurationFields) -> [UInt8]? {
        guard let text = fields.text(name) else { return nil }
        if text.contains("-----BEGIN ") { return Array(text.utf8) }
        if let data = Data(base64Encoded: text, options: .ignoreUnknownCharacters),
            String(decoding: data, as: UTF8.self).contains("-----BEGIN ")
        {
            return Array(data)
        }
        fields.fault(name, "it is no PEM: give the text from -----BEGIN to -----END, as it is or in base64")
        return nil
    }
}

extension ConsulConfiguration {
    struct AddressFault: Error {
        /// What is wrong and what to do; without the address when that may have a password in it.
        let text: String
        init(_ text: String) { self.text = text }
    }
}

extension ConsulConfiguration.Address {
    private typealias Fault = ConsulConfiguration.AddressFault

    static let ofAgent = Self.network(host: "127.0.0.1", port: 8500)

    /// HOST, HOST:PORT or unix:///PATH.
    init(parsing text: String) throws(ConsulConfiguration.AddressFault) {
        if text.contains("@") {
            throw Fault("it has an @ in it: user and password have fields of their own, in basic_auth")
        }
        if let mark = text.firstRange(of: "://") {
            let scheme = text[..<mark.lowerBound].lowercased()
            let rest = String(text[mark.upperBound...])
            switch scheme {
            case "http", "https":
                throw Fault(
                    "\"\(text)\" has \(scheme):// in it: give \"\(rest)\" here, and \"\(scheme)\" in the field \"scheme\""
                )
            case "unix" where rest.hasPrefix("/"):
                self = .socket(rest)
                return
            default: throw Fault("\"\(text)\" is not an address: give HOST:PORT or unix:///PATH")
            }
        }
        do throws(HostPort.ParseError) {
            // Parsed again without a default to learn whether there is a port.
            let address = try HostPort(parsing: text, defaultPort: 80)
            let isWhole = (try? HostPort(parsing: text)) != nil
            self = .network(host: address.host, port: isWhole ? address.port : nil)
        } catch {
            throw Fault("\(error): give HOST:PORT")
        }
    }
}
