import Glibc
import Lab
import Platform

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
