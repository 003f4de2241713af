import Curl
import FoundationEssentials
import Glibc
import Lab
import Platform
import Synchronization

@testable import Discovery

/// A real agent of Consul on loopback, a server of its own, that keeps nothing beyond its end; killed with the object.
final class ConsulAgent: Sendable {
    let http: UInt16
    let https: UInt16
    /// Where its files are, and where those of a test may be.
    let directory: String
    private let program: String
    private let process = Mutex<ChildProcess?>(nil)

    /// - Parameters:
    ///   - settings: of the agent, in its JSON, besides its ports.
    ///   - hasTLS: whether it listens for HTTPS, too; the settings say with what.
    /// - Throws: an error that says why there is no agent to test with.
    init(_ settings: String = "{}", hasTLS: Bool = false) async throws {
        program = try await offloading {
            // Tests run in the directory of the package. What is there already is there at once.
            let output = try ToolCommand.check(["scripts/fetch-consul.sh"], within: .seconds(300))
            return output.split(separator: "\n").last.map(String.init) ?? ""
        }
        var template = Array("/tmp/dqlite-vip-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let ports = try Self.freePorts(5)
        http = ports[0]
        https = ports[1]
        // With sessions so short that tests need not wait for 20 s.
        let own = """
            {"node_name": "test", "session_ttl_min": "1s", "ports": {"http": \(http), "https": \(hasTLS ? Int(https) : -1), \
            "server": \(ports[2]), "serf_lan": \(ports[3]), "serf_wan": \(ports[4]), "dns": -1, "grpc": -1}}
            """
        try DurableFile.write(Array(own.utf8), to: directory + "/own.json")
        try DurableFile.write(Array(settings.utf8), to: directory + "/settings.json")
        try await start()
    }

    deinit {
        process.withLock { $0?.signal(SIGKILL) }
        _ = try? ToolCommand.run(["rm", "-rf", directory])
    }

    var log: String { directory + "/agent.log" }

    /// Starts it with nothing in it.
    func start() async throws {
        let process = try ChildProcess(
            [
                program, "agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-config-file",
                directory + "/own.json", "-config-file", directory + "/settings.json",
            ], log: log)
        self.process.withLock { $0 = process }
        // Only when it leads and has registered itself can there be sessions.
        try await eventually("node of Consul in its own catalogue", within: .seconds(30), every: .milliseconds(50)) {
            if let status = process.exitStatus {
                let text = try DurableFile.read(self.log).map { String(decoding: $0, as: UTF8.self) } ?? ""
                throw LabError("the agent ended: \(status): \(text.suffix(2000))")
            }
            return try await ask("GET", "internal/ui/nodes").body.contains("serfHealth")
        }
    }

    func kill() async throws {
        let process = process.withLock { $0 }
        process?.signal(SIGKILL)
        try await process?.exit(within: .seconds(10))
    }

    /// As a program that is not ours asks it.
    func ask(
        _ method: String, _ path: String, _ body: String? = nil, token: String? = master
    ) async throws -> (status: Int, body: String) {
        let answer = try await CurlClient().send(
            CurlRequest(
                method, "http://127.0.0.1:\(http)/v1/\(path)", headers: token.map { [("X-Consul-Token", $0)] } ?? [],
                body: body.map { Array($0.utf8) }))
        return (answer.status, String(decoding: answer.body, as: UTF8.self))
    }

    /// Means nothing to an agent without ACLs.
    static let master = "5d1a1a5c-61f6-4a3e-8c61-6b1b6c8a8a01"

    static let withACLs = """
        {"acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": "\(master)"}}}
        """

    /// Makes a token with the rules.
    func makeToken(_ rules: String) async throws -> String {
        let name = "policy-\(UInt32.random(in: 0...UInt32.max))"
        let policy = try JSONEncoder().encode(["Name": name, "Rules": rules])
        let made = try await ask("PUT", "acl/policy", String(decoding: policy, as: UTF8.self))
        let answer = try await ask("PUT", "acl/token", "{\"Policies\":[{\"Name\":\"\(name)\"}]}")
        guard made.status == 200, answer.status == 200 else { throw LabError("no token: \(made) \(answer)") }
        guard case .object(let fields) = try JSONDecoder().decode(JSONValue.self, from: Data(answer.body.utf8)),
            case .string(let secret) = fields["SecretID"]
        else { throw LabError("no token: \(answer)") }
        return secret
    }

    private static func freePorts(_ count: Int) throws -> [UInt16] {
        // All are bound before the first is let go, so they differ.
        var descriptors: [Int32] = []
        defer { for descriptor in descriptors { close(descriptor) } }
        return try (0..<count).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { throw SystemError.last("make a socket") }
            descriptors.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let code = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
                }
            }
            guard code == 0 else { throw SystemError.last("find a free port on loopback") }
            return UInt16(bigEndian: address.sin_port)
        }
    }
}
