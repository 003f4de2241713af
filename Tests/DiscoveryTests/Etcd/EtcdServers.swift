import Glibc
import Lab
import Platform
import Synchronization
import Testing

@testable import Discovery

/// Members of a real etcd on loopback, in a directory of their own. They end with this process, even when it is killed.
final class EtcdServers: Sendable {
    struct Options: Sendable {
        var members = 1
        /// Further options of each member.
        var arguments: [String] = []
        /// Certificates, when clients are to use TLS.
        var authority: TestAuthority?
    }

    private struct Ports {
        var client: UInt16
        var peer: UInt16
    }

    private struct Member {
        var process: ChildProcess
        var watchdog: ChildProcess
    }

    let directory: String
    private let options: Options
    private let ports: [Ports]
    private let members: Mutex<[Int: Member]> = Mutex([:])

    /// Starts all members, and waits until they serve.
    init(_ options: Options = Options()) async throws {
        self.options = options
        var template = Array("/tmp/dqlite-vip-etcd-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory in", "/tmp") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let free = try Self.freePorts(2 * options.members)
        ports = (0..<options.members).map { Ports(client: free[2 * $0], peer: free[2 * $0 + 1]) }
        for index in ports.indices { try start(index) }
        try await serves()
    }

    deinit {
        for index in ports.indices { kill(index) }
        // The members may still be dying: their files go on to be written for a moment.
        let remove = "rm -rf \"$@\" || { sleep 0.2; rm -rf \"$@\"; }"
        let directories = [directory] + (options.authority.map { [$0.directory] } ?? [])
        _ = try? ToolCommand.run(["sh", "-c", remove, "sh"] + directories)
    }

    /// The client addresses, with their scheme.
    var endpoints: [String] {
        ports.map { "\(options.authority == nil ? "http" : "https")://127.0.0.1:\($0.client)" }
    }

    var authority: TestAuthority? { options.authority }

    var peerAddresses: [String] { ports.map { "http://127.0.0.1:\($0.peer)" } }

    func start(_ index: Int) throws {
        let scheme = options.authority == nil ? "http" : "https"
        let client = "\(scheme)://127.0.0.1:\(ports[index].client)"
        let peer = "http://127.0.0.1:\(ports[index].peer)"
        let all = ports.enumerated().map { "m\($0)=http://127.0.0.1:\($1.peer)" }.joined(separator: ",")
        let tls = options.authority.map { ["--cert-file", $0.server.certificate, "--key-file", $0.server.key] } ?? []
        let process = try ChildProcess(
            [
                "etcd", "--name", "m\(index)", "--data-dir", "\(directory)/m\(index)", "--logger", "zap",
                "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", all, "--heartbeat-interval", "50",
                "--election-timeout", "500",
            ] + tls + options.arguments, log: "\(directory)/m\(index).log")
        // Nothing else ends a server when the tests are killed.
        let watchdog = try ChildProcess(
            [
                "sh", "-c", "while kill -0 \"$0\"; do sleep 1; done 2>/dev/null; kill -9 \"$1\"; rm -rf \"$2\"",
                "\(getpid())", "\(process.pid)", directory,
            ], log: "/dev/null")
        members.withLock { $0[index] = Member(process: process, watchdog: watchdog) }
    }

    /// Kills a member without warning, as a power failure does.
    func kill(_ index: Int) {
        guard let member = members.withLock({ $0.removeValue(forKey: index) }) else { return }
        member.watchdog.signal(SIGKILL)
        member.process.signal(SIGKILL)
    }

    func killAndWait(_ index: Int) async throws {
        let process = members.withLock { $0[index]?.process }
        kill(index)
        _ = try await process?.exit(within: .seconds(30))
    }

    /// A member that is there and does not answer.
    func suspend(_ index: Int) { members.withLock { $0[index] }?.process.signal(SIGSTOP) }
    func resume(_ index: Int) { members.withLock { $0[index] }?.process.signal(SIGCONT) }

    /// Starts a member again with nothing of what it knew.
    func startWiped(_ index: Int) async throws {
        _ = try await tool(["rm", "-rf", "\(directory)/m\(index)"])
        try start(index)
    }

    /// Waits until the members that run serve.
    func serves() async throws {
        let running = members.withLock { $0.keys.sorted() }
        try await eventually("answer of etcd", within: .seconds(30), every: .milliseconds(50), state: { await log() }) {
            for index in running {
                let result = try await tool(
                    etcdctl(["--command-timeout=2s", "get", "/"], endpoints: [endpoints[index]]))
                guard result.isSuccess || result.error.contains("user name is empty") else { return false }
            }
            return true
        }
    }

    private func log() async -> String {
        (try? await tool(["tail", "-n", "5"] + ports.indices.map { "\(directory)/m\($0).log" }).output) ?? ""
    }

    func etcdctl(_ arguments: [String], endpoints: [String]? = nil) -> [String] {
        let tls = options.authority.map {
            ["--cacert", $0.file, "--cert", $0.client.certificate, "--key", $0.client.key]
        }
        return ["etcdctl", "--endpoints", (endpoints ?? self.endpoints).joined(separator: ",")] + (tls ?? [])
            + arguments
    }

    /// Runs etcdctl, as an operator does.
    @discardableResult
    func control(_ arguments: String...) async throws -> String {
        let result = try await tool(etcdctl(arguments))
        guard result.isSuccess else { throw LabError("etcdctl \(arguments): \(result.text)") }
        return result.output
    }

    /// A configuration for all members, or those named, as `--disco-config` gives it.
    func configuration(_ fields: [String: JSONValue] = [:], members: [Int]? = nil) throws -> EtcdConfiguration {
        let named = (members ?? Array(ports.indices)).map { JSONValue.string(endpoints[$0]) }
        let own: [String: JSONValue] = ["endpoints": .array(named), "dial-timeout": .string("2s")]
        var reader = ConfigurationFields(own.merging(fields) { $1 })
        let configuration = EtcdConfiguration(from: &reader)
        reader.finish()
        guard reader.faults.isEmpty else { throw LabError("\(reader.faults)") }
        return configuration
    }

    /// Ports that nobody listens on: all held at once, so that they differ, and let go.
    static func freePorts(_ count: Int) throws -> [UInt16] {
        var descriptors: [Int32] = []
        defer { for descriptor in descriptors { close(descriptor) } }
        return try (0..<count).map { _ in
            let descriptor = try retryingOnInterrupt("open", "socket") {
                socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            }
            descriptors.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            try withUnsafeMutablePointer(to: &address) { pointer in
                try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    try retryingOnInterrupt("bind", "127.0.0.1") { bind(descriptor, pointer, length) }
                    try retryingOnInterrupt("name", "a socket") { getsockname(descriptor, pointer, &length) }
                }
            }
            return UInt16(bigEndian: address.sin_port)
        }
    }
}

/// Runs a command on a thread of its own.
func tool(_ arguments: [String]) async throws -> CommandResult {
    try await BlockingThread.run(named: "tool") { try ToolCommand.run(arguments) }
}

/// Starts servers before the tests of a suite and stops them after the last.
struct EtcdTrait: SuiteTrait, TestScoping {
    @TaskLocal static var servers: EtcdServers?

    let options: @Sendable () throws -> EtcdServers.Options

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let servers = try await EtcdServers(options())
        try await Self.$servers.withValue(servers) { try await function() }
    }
}

extension Trait where Self == EtcdTrait {
    static func etcd(_ options: @autoclosure @escaping @Sendable () throws -> EtcdServers.Options = .init())
        -> EtcdTrait
    {
        EtcdTrait(options: options)
    }
}
