/// One HTTP request.
public struct CurlRequest: Sendable {
    public var method: String
    public var url: String
    /// Name and value, in the order in which they are sent.
    public var headers: [(name: String, value: String)]
    /// nil sends none.
    public var body: [UInt8]?
    /// Names resolved and TLS set up included.
    public var connectTime: Duration
    /// From the beginning to the end of the answer.
    public var totalTime: Duration
    /// An answer that is longer is given up.
    public var answerBytes: Int
    public var credentials: Credentials?
    public var tls: TLS
    public var proxy: Proxy
    /// A socket's path, to which the request goes whatever host the URL names; nil: to that host.
    public var unixSocket: String?

    /// HTTP basic authentication (RFC 7617).
    public struct Credentials: Hashable, Sendable {
        public var username: String
        public var password: String

        public init(username: String, password: String) {
            self.username = username
            self.password = password
        }
    }

    public enum Proxy: Hashable, Sendable {
        /// As http_proxy, https_proxy, all_proxy and no_proxy say, see curl(1); none for this host itself, to which no proxy
        /// leads: "localhost" and addresses of loopback.
        case environment
        case none
        /// This one, whatever the environment says. http://host:port, with credentials if it wants some; or another scheme
        /// that curl(1) knows.
        case url(String)
    }

    /// How a server is verified and what it is shown. File names, read at each new connection; or texts in PEM.
    public struct TLS: Hashable, Sendable {
        public enum Material: Hashable, Sendable {
            case file(String)
            case pem([UInt8])
        }

        /// Who may have signed the server's certificate; nil: the system's authorities.
        public var authorities: Material?
        /// A directory of certificates, prepared by c_rehash(1).
        public var authorityDirectory: String?
        public var certificate: Material?
        public var key: Material?
        /// The name that the server's certificate must have and that is sent as SNI; nil: that in the URL. The request
        /// goes to the URL's host all the same; only no_proxy of the environment is compared with this name.
        public var serverName: String?
        public var verifiesServer: Bool

        public init(
            authorities: Material? = nil, authorityDirectory: String? = nil, certificate: Material? = nil,
            key: Material? = nil, serverName: String? = nil, verifiesServer: Bool = true
        ) {
            self.authorities = authorities
            self.authorityDirectory = authorityDirectory
            self.certificate = certificate
            self.key = key
            self.serverName = serverName
            self.verifiesServer = verifiesServer
        }
    }

    public init(
        _ method: String = "GET", _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil,
        connectTime: Duration = .seconds(3), totalTime: Duration = .seconds(10), answerBytes: Int = 8 << 20,
        credentials: Credentials? = nil, tls: TLS = TLS(), proxy: Proxy = .environment,
        unixSocket: String? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.connectTime = connectTime
        self.totalTime = totalTime
        self.answerBytes = answerBytes
        self.credentials = credentials
        self.tls = tls
        self.proxy = proxy
        self.unixSocket = unixSocket
    }
}

/// What was answered, of whatever status.
public struct CurlAnswer: Hashable, Sendable {
    /// The status of HTTP.
    public var status: Int
    public var body: [UInt8]

    public init(status: Int, body: [UInt8]) {
        self.status = status
        self.body = body
    }
}

/// A request without an answer.
public struct CurlFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        case unresolvable
        /// `errno` says why, when it is not 0.
        case cannotConnect
        case timedOut
        /// The TLS handshake failed: the server's certificate is not trusted, or it does not trust ours.
        case tls
        /// A certificate or key of ours cannot be read.
        case badCertificate
        /// What answers is not HTTP, or broke off.
        case notHTTP
        case answerTooLong
        case other
    }

    public var code: Code
    /// The errno of the connection attempt; 0 when there was none.
    public var errno: Int32
    /// libcurl's words, on one line, without passwords.
    public var text: String

    public init(code: Code, errno: Int32 = 0, text: String) {
        self.code = code
        self.errno = errno
        self.text = text
    }

    public var description: String { text }
}
