import Glibc
import Platform

/// A certificate authority of a laboratory and what it signed, made by openssl(1). Paths of PEM files.
public struct LabCertificates: Sendable {
    public let authority: String
    public let serverCertificate: String
    public let serverKey: String
    /// Without a common name: etcd's JSON gateway refuses certificates that have one (CVE-2018-16886).
    public let clientCertificate: String
    public let clientKey: String
    /// With a common name.
    public let namedClientCertificate: String
    public let namedClientKey: String
    /// An authority that signed nothing here.
    public let strangeAuthority: String

    /// Makes them: the server's is good for `Network.serviceAddress` 0 to 9, 127.0.0.1 and `names`.
    public init(_ network: Network, names: [String] = []) throws {
        let directory = "\(network.directory)/certificates"
        if mkdir(directory, 0o755) != 0 { throw SystemError.last("make the directory", directory) }
        func path(_ name: String) -> String { "\(directory)/\(name).pem" }
        func make(_ name: String, isNamed: Bool = false, _ further: [String]) throws {
            try ToolCommand.check(
                [
                    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/\(isNamed ? "CN" : "O")=\(name)", "-keyout", path("\(name)-key"), "-out",
                    path(name),
                ] + further)
        }
        let signed = [
            "-CA", path("authority"), "-CAkey", path("authority-key"), "-addext", "basicConstraints=CA:FALSE",
        ]
        let addresses = (0..<10).map { "IP:\(Network.serviceAddress($0))" } + ["IP:127.0.0.1"]
        let alternatives = (addresses + names.map { "DNS:\($0)" }).joined(separator: ",")
        try make("authority", [])
        try make("strange-authority", [])
        // Both usages: members of a cluster of servers are each other's clients.
        let usage = ["-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        try make("server", signed + usage + ["-addext", "subjectAltName=\(alternatives)"])
        try make("client", signed + usage)
        try make("named-client", isNamed: true, signed + usage)
        authority = path("authority")
        serverCertificate = path("server")
        serverKey = path("server-key")
        clientCertificate = path("client")
        clientKey = path("client-key")
        namedClientCertificate = path("named-client")
        namedClientKey = path("named-client-key")
        strangeAuthority = path("strange-authority")
    }
}
