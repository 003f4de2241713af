import Glibc
import Platform
import Synchronization

/// A process that the laboratory started: its output goes to a file, and its end is noticed at once.
public final class ChildProcess: Sendable {
    public let pid: pid_t
    /// The command line, for messages.
    public let command: String
    private let status = Mutex<ExitStatus?>(nil)

    /// Starts the program; both its outputs are appended to `log`.
    ///
    /// - Throws: `SystemError` when the log cannot be opened or the program not be started.
    public init(
        _ arguments: [String], in namespace: Namespace? = nil, directory: String? = nil,
        environment: [String: String] = [:], log: String
    ) throws(SystemError) {
        // `ip netns exec` becomes the program itself, so the pid is the program's.
        let full = (namespace.map { ["ip", "netns", "exec", $0.name] } ?? []) + arguments
        let null = try retryingOnInterrupt("open", "/dev/null") { open("/dev/null", O_RDONLY | O_CLOEXEC) }
        defer { close(null) }
        let output = try retryingOnInterrupt("open", log) {
            open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        }
        defer { close(output) }
        command = arguments.joined(separator: " ")
        pid = try Spawning.spawn(
            full, directory: directory, environment: environment, descriptors: (null, output, output))
        // The thread keeps the object alive until the process ended: nothing that was started goes unreaped.
        try OwnThread("lab-reaper") { [self] in
            var raw: Int32 = 0
            // Without reaping: the pid must stay taken until the status stands, or `signal` could hit a stranger.
            var information = siginfo_t()
            while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) < 0 && Glibc.errno == EINTR {}
            status.withLock { status in
                while waitpid(pid, &raw, 0) < 0 && Glibc.errno == EINTR {}
                status = ExitStatus(waitStatus: raw)
            }
        }.detach()
    }

    /// How it ended; nil while it runs.
    public var exitStatus: ExitStatus? { status.withLock { $0 } }

    public var isRunning: Bool { exitStatus == nil }

    /// Sends a signal to this process alone; nothing happens when it has ended.
    public func signal(_ number: Int32) {
        status.withLock { status in
            if status == nil { kill(pid, number) }
        }
    }

    /// Waits for its end.
    ///
    /// - Throws: `LabError` when it still runs after `limit`.
    @discardableResult
    public func exit(within limit: Duration) async throws -> ExitStatus {
        try await eventually("end of process \(pid) (\(command))", within: limit, every: .milliseconds(1)) {
            exitStatus
        }
    }
}
