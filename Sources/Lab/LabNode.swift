import FoundationEssentials
import Glibc
import Platform
import Synchronization

/// A server of the laboratory with its dqlite-vip.
public final class LabNode: Sendable {
    /// 1...n.
    public let number: Int
    public let namespace: Namespace
    public let address: IPAddress
    /// The working directory of the node's processes; the data directory is "data" in it.
    public let directory: String
    public let binary: String
    /// What each start has besides its own environment: the disk of `SlowDisk`.
    private let given: [String: String]

    private struct State {
        var process: ChildProcess?
        var arguments: [String] = []
        var environment: [String: String] = [:]
    }
    private let state = Mutex(State())

    init(
        number: Int, namespace: Namespace, directory: String, binary: String, environment: [String: String] = [:]
    ) throws(SystemError) {
        self.number = number
        self.namespace = namespace
        self.address = Network.address(ofNode: number)
        self.directory = directory
        self.binary = binary
        given = environment
        if mkdir(directory, 0o755) != 0 { throw SystemError.last("make the directory", directory) }
    }

    public var dataDirectory: String { "\(directory)/data" }
    public var log: String { "\(directory)/dqlite-vip.log" }
    public var clusterAddress: HostPort { HostPort(host: "\(address)", port: 8800) }
    public var httpAddress: HostPort { HostPort(host: "127.0.0.1", port: 9900) }

    // MARK: Processes

    /// Starts the product. Earlier output stays in the log.
    ///
    /// `prefix`: a command that becomes the product, such as setpriv with its options.
    @discardableResult
    public func start(
        _ options: StartOptions, prefix: [String] = [], binary other: String? = nil,
        environment: [String: String] = [:]
    ) throws -> ChildProcess {
        try launch(prefix + [other ?? binary] + options.arguments, environment: environment)
    }

    /// Starts any command in the product's place, such as a shell with the seed's own words.
    @discardableResult
    public func start(commandLine arguments: [String]) throws -> ChildProcess {
        try launch(arguments, environment: [:])
    }

    /// Starts it again with the command line and environment of the last start.
    @discardableResult
    public func startAgain() throws -> ChildProcess {
        let last = state.withLock { $0 }
        guard !last.arguments.isEmpty else { throw LabError("node \(number) was never started") }
        return try launch(last.arguments, environment: last.environment)
    }

    private func launch(_ arguments: [String], environment: [String: String]) throws -> ChildProcess {
        if let running = process, running.isRunning { throw LabError("node \(number) runs already") }
        let process = try ChildProcess(
            arguments, in: namespace, directory: directory,
            environment: PreloadLibrary.merge(given, environment), log: log)
        state.withLock { $0 = State(process: process, arguments: arguments, environment: environment) }
        return process
    }

    /// What the last start started: the guard.
    public var process: ChildProcess? { state.withLock { $0.process } }
    public var guardPID: pid_t? { process.flatMap { $0.isRunning ? $0.pid : nil } }
    /// The guard's child: the daemon proper.
    public var daemonPID: pid_t? {
        guardPID.flatMap { ProcessTable.children(of: $0).first { ProcessTable.isAlive($0) } }
    }

    /// Sends a signal to all processes of the product on this node, children before parents.
    public func signalAll(_ number: Int32) {
        let tree = guardPID.map { ProcessTable.tree(of: $0) } ?? []
        // Also what lost its parent: it is still in the namespace.
        let others = Set(namespace.processes()).subtracting(tree)
        for pid in others.sorted(by: >) + tree.reversed() { kill(pid, number) }
    }

    /// Ends everything of the product on this node with SIGKILL, and waits for it.
    public func kill9() async throws {
        signalAll(SIGKILL)
        try await eventually("end of all processes of node \(number)", within: .seconds(5)) {
            signalAll(SIGKILL)
            return namespace.processes().isEmpty
        }
        if let process { try await process.exit(within: .seconds(5)) }
    }

    /// Asks for an orderly end with SIGTERM, and waits for it.
    @discardableResult
    public func terminate(within limit: Duration = .seconds(10)) async throws -> ExitStatus {
        guard let process else { throw LabError("node \(number) was never started") }
        process.signal(SIGTERM)
        return try await process.exit(within: limit)
    }

    /// Removes the data directory, as a new disk would.
    public func wipe() {
        FileTree.remove(dataDirectory)
    }

    // MARK: API and command line

    public func request(
        _ method: String, _ path: String, headers: [String: String] = [:], body: String? = nil,
        within limit: Duration = .seconds(6)
    ) async throws -> HTTPResponse {
        try await HTTPExchange.request(
            method, path, headers: headers, body: body.map { Array($0.utf8) }, at: httpAddress, in: namespace,
            within: limit)
    }

    /// GET /status.
    ///
    /// - Throws: what `request` throws, and `LabError` for any answer but a decodable 200.
    public func status(within limit: Duration = .seconds(6)) async throws -> NodeStatus {
        let response = try await request("GET", "/status", within: limit)
        guard response.status == 200 else {
            throw LabError("node \(number): GET /status: \(response.status) \(response.message)")
        }
        do {
            return try JSONDecoder().decode(NodeStatus.self, from: Data(response.body))
        } catch {
            throw LabError("node \(number): GET /status: \(error): \(response.text)")
        }
    }

    /// PUT /vip.
    public func setVIP(_ text: String, within limit: Duration = .seconds(6)) async throws -> HTTPResponse {
        let body = String(decoding: try JSONEncoder().encode(VIPBody(vip: text)), as: UTF8.self)
        return try await request("PUT", "/vip", body: body, within: limit)
    }

    /// GET /vip; "" while none is set.
    public func vip() async throws -> String {
        let response = try await request("GET", "/vip")
        guard response.status == 200 else {
            throw LabError("node \(number): GET /vip: \(response.status) \(response.message)")
        }
        return try JSONDecoder().decode(VIPBody.self, from: Data(response.body)).vip
    }

    /// Runs the product's command line on this node, for instance `status`.
    public func command(_ arguments: [String], within limit: Duration = .seconds(20)) async throws -> CommandResult {
        let (binary, namespace, directory) = (binary, namespace, directory)
        return try await offloading {
            try ToolCommand.run([binary] + arguments, in: namespace, directory: directory, within: limit)
        }
    }

    // MARK: Log

    public var logText: String { ProcessTable.text(log, limit: 64 << 20) }

    /// The last lines of the log, each marked with the node's number.
    public func logTail(lines count: Int = 25) -> String {
        logText.split(separator: "\n").suffix(count).map { "[node \(number)] \($0)" }.joined(separator: "\n")
    }
}
