import CLinux
import Glibc
import Platform

/// A command on a terminal: it is asked, and answers as a person would.
public enum TerminalCommand {
    /// What is typed when the prompt is there.
    public enum Answer: Sendable, Hashable {
        case line(String)
        /// Ctrl-D on an empty line.
        case end
        /// The terminal goes away, as when a connection breaks.
        case hangUp
    }

    /// Runs a command on a pseudo-terminal of its own, types one answer when the prompt has been printed, and waits for the
    /// end. Blocks the calling thread.
    ///
    /// - Throws: `SystemError` when it cannot be started, `LabError` when it did not end in time.
    public static func run(
        _ arguments: [String], in namespace: Namespace? = nil, directory: String? = nil, prompt: String,
        answer: Answer, within limit: Duration = .seconds(20)
    ) throws -> CommandResult {
        let full = (namespace.map { ["ip", "netns", "exec", $0.name] } ?? []) + arguments
        var (master, slave) = (Int32(-1), Int32(-1))
        guard clinux_open_terminal(&master, &slave) == 0 else {
            throw SystemError.last("make a pseudo-terminal for", full[0])
        }
        defer { if master >= 0 { close(master) } }
        let pid: pid_t
        do {
            defer { close(slave) }
            pid = try Spawning.spawn(full, directory: directory, descriptors: (slave, slave, slave))
        }
        let deadline = BootClock.now.advanced(by: limit)
        var (output, hasAnswered, isOpen) = ([UInt8](), false, true)
        while isOpen {
            guard let chunk = read(master, until: deadline) else { break }
            isOpen = !chunk.isEmpty
            output += chunk
            guard !hasAnswered, String(decoding: output, as: UTF8.self).contains(prompt) else { continue }
            hasAnswered = true
            switch answer {
            case .line(let text): try type(Array("\(text)\n".utf8), on: master)
            case .end: try type([4], on: master)
            case .hangUp:
                close(master)
                master = -1
                isOpen = false
            }
        }
        let status = try wait(for: pid, name: full[0], until: deadline)
        let text = String(decoding: output, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
            .joined(separator: "\n")
        guard let status else { throw LabError("\(arguments.joined(separator: " ")): did not end in time: \(text)") }
        return CommandResult(status: status, output: text, error: "")
    }

    /// What the terminal shows next; empty when all its users are gone, nil when the time is over.
    private static func read(_ terminal: Int32, until deadline: BootInstant) -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let remaining = BootClock.now.duration(to: deadline).inMilliseconds
            guard remaining > 0 else { return nil }
            var polled = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
            if poll(&polled, 1, Int32(clamping: remaining)) <= 0 { continue }
            let count = Glibc.read(terminal, &chunk, chunk.count)
            if count > 0 { return Array(chunk[..<count]) }
            // A terminal without users gives EIO, and no end of file.
            if count == 0 || Glibc.errno != EINTR { return [] }
        }
    }

    private static func type(_ bytes: [UInt8], on terminal: Int32) throws(SystemError) {
        guard write(terminal, bytes, bytes.count) == bytes.count else { throw .last("type on", "the terminal") }
    }

    /// nil when it had to be killed.
    private static func wait(for pid: pid_t, name: String, until deadline: BootInstant) throws -> ExitStatus? {
        var status: Int32 = 0
        while BootClock.now < deadline {
            if try retryingOnInterrupt("wait for", name, { waitpid(pid, &status, WNOHANG) }) == pid {
                return ExitStatus(waitStatus: status)
            }
            usleep(5000)
        }
        kill(-pid, SIGKILL)
        waitpid(pid, &status, 0)
        return nil
    }
}

extension LabNode {
    /// Runs the product's command line on this node, on a terminal.
    public func command(
        _ arguments: [String], prompt: String, answer: TerminalCommand.Answer
    ) async throws -> CommandResult {
        let (binary, namespace, directory) = (binary, namespace, directory)
        return try await offloading {
            try TerminalCommand.run(
                [binary] + arguments, in: namespace, directory: directory, prompt: prompt, answer: answer)
        }
    }
}
