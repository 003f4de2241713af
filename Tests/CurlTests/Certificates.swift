import Glibc
import Lab
import Platform

/// A directory with an authority and what it signs, made by openssl(1); gone with the object.
final class Certificates: Sendable {
    let directory: String

    init() throws {
        var template = Array("/tmp/dqlite-vip-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? ToolCommand.run(["rm", "-rf", directory]) }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func bytes(_ name: String) throws -> [UInt8] {
        guard let bytes = try DurableFile.read(path(name)) else { throw LabError("no file \(path(name))") }
        return bytes
    }

    /// `name.pem` and `name.key`: an authority.
    func makeAuthority(_ name: String) throws { try make(name, ["-subj", "/CN=\(name)"]) }

    /// `name.pem` and `name.key`: signed by the authority, for these names, such as "DNS:localhost" or "IP:127.0.0.1".
    func makeCertificate(_ name: String, for names: String, by authority: String) throws {
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

/// openssl-s_server(1) on loopback: answers each request with a page of its own and closes the connection.
final class TLSServer: Sendable {
    private let process: ChildProcess
    let port: UInt16

    init(_ certificates: Certificates, _ name: String, _ arguments: [String] = []) async throws {
        let log = certificates.path("\(name)-server.log")
        unlink(log)
        process = try ChildProcess(
            [
                "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", certificates.path("\(name).pem"),
                "-key", certificates.path("\(name).key"),
            ] + arguments, log: log)
        port = try await eventually("port of openssl s_server", within: .seconds(10)) {
            let text = try DurableFile.read(log).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return text.split(separator: "\n").first { $0.hasPrefix("ACCEPT 127.0.0.1:") }?
                .split(separator: ":").last.flatMap { UInt16($0) }
        }
    }

    deinit { process.signal(SIGKILL) }

    var url: String { "https://127.0.0.1:\(port)/" }
}
