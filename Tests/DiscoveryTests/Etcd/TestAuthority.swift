import Lab

/// A certificate authority of openssl(1), with a server's certificate for 127.0.0.1 and "etcd.test", and a client's.
struct TestAuthority: Sendable {
    struct Pair: Sendable {
        var certificate: String
        var key: String
    }

    let directory: String
    /// The authority's certificate.
    let file: String
    let server: Pair
    let client: Pair

    /// Makes all files in a directory that exists.
    init(in directory: String) throws {
        self.directory = directory
        file = "\(directory)/ca.pem"
        try Self.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            "/CN=test authority", "-keyout", "\(directory)/ca.key", "-out", file)
        server = try Self.pair("server", "IP:127.0.0.1,DNS:etcd.test", in: directory)
        client = try Self.pair("client", "DNS:client.test", in: directory)
    }

    private static func pair(_ name: String, _ subjects: String, in directory: String) throws -> Pair {
        let stem = "\(directory)/\(name)"
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            "/CN=\(name)", "-addext", "subjectAltName=\(subjects)", "-addext", "basicConstraints=CA:FALSE", "-CA",
            "\(directory)/ca.pem", "-CAkey", "\(directory)/ca.key", "-keyout", "\(stem).key", "-out", "\(stem).pem")
        return Pair(certificate: "\(stem).pem", key: "\(stem).key")
    }

    private static func openssl(_ arguments: String...) throws {
        try ToolCommand.check(["openssl"] + arguments)
    }
}
