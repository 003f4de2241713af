import CLinux
import Glibc
import Platform

/// What a command printed and how it ended.
public struct CommandResult: Sendable {
    public var status: ExitStatus
    public var output: String
    public var error: String

    public var isSuccess: Bool { status.isSuccess }
    /// Both outputs, for messages.
    public var text: String {
        [output, error].map { $0.trimmingNewlines() }.filter { !$0.isEmpty }.joined(separator: "\n")
    }
}

/// Short-lived commands such as ip(8): run to their end, output captured, bounded in time.
public enum ToolCommand {
    /// Runs a command to its end and blocks the calling thread meanwhile.
    ///
    /// `limit`: after it the command is killed.
    /// - Throws: `SystemError` when it cannot be started, `LabError` when it did not end in time.
    @discardableResult
    public static func run(
        _ arguments: [String], in namespace: Namespace? = nil, directory: String? = nil,
        environment: [String: String] = [:], within limit: Duration = .seconds(20)
    ) throws -> CommandResult {
        let full = (namespace.map { ["ip", "netns", "exec", $0.name] } ?? []) + arguments
        let output = try Pipe()
        let error = try Pipe()
        let null = try retryingOnInterrupt("open", "/dev/null") { open("/dev/null", O_RDWR | O_CLOEXEC) }
        defer { close(null) }
        let pid = try Spawning.spawn(
            full, directory: directory, environment: environment, descriptors: (null, output.write, error.write))
        output.closeWriteEnd()
        error.closeWriteEnd()
        let (captured, ended) = read([output.read, error.read], until: BootClock.now.advanced(by: limit))
        // With its children, which are in the process group that it was given.
        if !ended { kill(-pid, SIGKILL) }
        var status: Int32 = 0
        try retryingOnInterrupt("wait for", full[0]) { waitpid(pid, &status, 0) }
        let result = CommandResult(
            status: ExitStatus(waitStatus: status), output: String(decoding: captured[0], as: UTF8.self),
            error: String(decoding: captured[1], as: UTF8.self))
        guard ended else {
            throw LabError(
                "\(arguments.joined(separator: " ")): did not end within \(limit.inMilliseconds) ms: \(result.text)")
        }
        return result
    }

    /// The same, and any exit status but 0 is an error.
    ///
    /// - Throws: `LabError` with what the command printed.
    @discardableResult
    public static func check(
        _ arguments: [String], in namespace: Namespace? = nil, within limit: Duration = .seconds(20)
    ) throws -> String {
        let result = try run(arguments, in: namespace, within: limit)
        guard result.isSuccess else {
            throw LabError("\(arguments.joined(separator: " ")): \(result.status): \(result.text)")
        }
        return result.output
    }

    /// Reads all descriptors to their ends, and says whether these were reached in time.
    private static func read(_ descriptors: [Int32], until deadline: BootInstant) -> ([[UInt8]], ended: Bool) {
        var captured = [[UInt8]](repeating: [], count: descriptors.count)
        var open = Set(descriptors.indices)
        var chunk = [UInt8](repeating: 0, count: 65536)
        while !open.isEmpty {
            let remaining = BootClock.now.duration(to: deadline).inMilliseconds
            if remaining <= 0 { return (captured, false) }
            let order = open.sorted()
            var polled = order.map { pollfd(fd: descriptors[$0], events: Int16(POLLIN), revents: 0) }
            if poll(&polled, nfds_t(polled.count), Int32(clamping: remaining)) < 0 && Glibc.errno != EINTR {
                return (captured, false)
            }
            for (index, entry) in zip(order, polled) where entry.revents != 0 {
                let count = Glibc.read(entry.fd, &chunk, chunk.count)
                if count > 0 {
                    captured[index].append(contentsOf: chunk[..<count])
                } else if count == 0 || Glibc.errno != EINTR {
                    open.remove(index)
                }
            }
        }
        return (captured, true)
    }

    private final class Pipe {
        let read: Int32
        private(set) var write: Int32

        init() throws(SystemError) {
            var ends: [Int32] = [-1, -1]
            try retryingOnInterrupt("make a pipe") { pipe(&ends) }
            // Not pipe2(2), which the overlay hides: children close all descriptors anyway (Spawning).
            read = ends[0]
            write = ends[1]
        }

        func closeWriteEnd() {
            if write >= 0 { close(write) }
            write = -1
        }

        deinit {
            close(read)
            closeWriteEnd()
        }
    }
}

extension String {
    /// Without line ends at its end.
    func trimmingNewlines() -> String {
        var text = Substring(self)
        while text.last?.isNewline == true { text.removeLast() }
        return String(text)
    }
}
