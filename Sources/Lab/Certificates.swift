import Glibc
import Platform

/// A directory with authorities and what they sign, made by openssl(1) for tests of TLS; gone with the object.
public final class Certificates: Sendable {
    public let directory: String

    public init() throws {
        var template = Array("/tmp/dqlite-vip-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? ToolCommand.run(["rm", "-rf", directory]) }

    public func path(_ name: String) -> String { "\(directory)/\(name)" }

    public func bytes(_ name: String) throws -> [UInt8] {
        guard let bytes = try DurableFile.read(path(name)) else { throw LabError("no file \(path(name))") }
        return bytes
    }

    /// `name.pem` and `name.key`: an authority.
    public func makeAuthority(_ name: String) throws { try make(name, ["-subj", "/CN=\(name)"]) }

    /// `name.pem` and `name.key`: signed by the authority, for these names, such as "DNS:localhost" or "IP:127.0.0.1".
    public func makeCertificate(_ name: String, for names: String, by authority: String) throws {
        try make(
            name,
            [
                "-subj", "/CN=\(name)", "-addext", "subjectAltName=\(names)", "-addext", "basicConstraints=CA:FALSE",
                "-CA", path("\(authority).pem"), "-CAkey", path("\(authority).key"),
            ])
    }

    private func make(_ name: String, _ arguments: [String]) throws {
        try ToolCommand.check(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days",
                "2", "-keyout", path("\(name).key"), "-out", path("\(name).pem"),
            ] + arguments)
    }
}
