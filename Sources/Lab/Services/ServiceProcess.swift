import Glibc
import Platform
import Synchronization

/// A server in the services' namespace that can be stopped, killed and started again.
final class ServiceProcess: Sendable {
    let name: String
    let namespace: Namespace
    /// The server's own: its files and its log.
    let directory: String
    private let process = Mutex<ChildProcess?>(nil)

    /// Starts nothing yet.
    init(_ name: String, in namespace: Namespace, of network: Network) throws(SystemError) {
        self.name = name
        self.namespace = namespace
        directory = "\(network.directory)/\(name)"
        if mkdir(directory, 0o755) != 0 && Glibc.errno != EEXIST {
            throw SystemError.last("make the directory", directory)
        }
    }

    var log: String { "\(directory)/log" }
    var logText: String { ProcessTable.text(log, limit: 64 << 20) }
    var isRunning: Bool { process.withLock { $0?.isRunning == true } }

    func start(_ arguments: [String], environment: [String: String] = [:]) throws {
        try process.withLock { process in
            if process?.isRunning == true { throw LabError("\(name) runs already") }
            process = try ChildProcess(
                arguments, in: namespace, directory: directory, environment: environment, log: log)
        }
    }

    func signal(_ number: Int32) {
        process.withLock { $0?.signal(number) }
    }

    /// Ends it with the signal, and waits for its end. Nothing happens when it does not run.
    func end(_ number: Int32) async throws {
        guard let running = process.withLock({ $0 }) else { return }
        running.signal(number)
        try await running.exit(within: .seconds(10))
    }

    /// Waits until the server does its work.
    ///
    /// - Throws: at once when the server ends instead, with the end of its log.
    func answering(within limit: Duration = .seconds(20), _ condition: () async throws -> Bool) async throws {
        var ended: ExitStatus?
        try await eventually("answer of \(name)", within: limit, state: { self.logTail }) {
            if let status = process.withLock({ $0?.exitStatus }) {
                ended = status
                return true
            }
            return try await condition()
        }
        if let ended { throw LabError("\(name) ended: \(ended): \(logTail)") }
    }

    var logTail: String { logText.split(separator: "\n").suffix(8).joined(separator: " | ") }
}
