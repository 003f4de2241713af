import CLinux
import FoundationEssentials
import Glibc
import Platform

/// posix_spawn(3) with what the laboratory needs: own process group, working directory, and no inherited descriptor.
enum Spawning {
    /// Starts a program. The child has `descriptors` as 0, 1 and 2, and nothing else open.
    ///
    /// `arguments`: the program (searched in PATH when it has no slash) and its arguments.
    /// `environment`: added to this process's own.
    /// - Throws: `SystemError` when the program cannot be started.
    static func spawn(
        _ arguments: [String], directory: String? = nil, environment: [String: String] = [:],
        descriptors: (input: Int32, output: Int32, error: Int32)
    ) throws(SystemError) -> pid_t {
        let program = arguments.first ?? ""
        func check(_ code: Int32) throws(SystemError) {
            if code != 0 { throw SystemError("start", program, errno: code) }
        }
        var actions = posix_spawn_file_actions_t()
        try check(posix_spawn_file_actions_init(&actions))
        defer { posix_spawn_file_actions_destroy(&actions) }
        try check(posix_spawn_file_actions_adddup2(&actions, descriptors.input, 0))
        try check(posix_spawn_file_actions_adddup2(&actions, descriptors.output, 1))
        try check(posix_spawn_file_actions_adddup2(&actions, descriptors.error, 2))
        try check(clinux_spawn_close_from(&actions, 3))
        if let directory { try check(clinux_spawn_change_directory(&actions, directory)) }

        var attributes = posix_spawnattr_t()
        try check(posix_spawnattr_init(&attributes))
        defer { posix_spawnattr_destroy(&attributes) }
        // An own process group keeps a Ctrl-C at the terminal from ending the nodes before the laboratory does.
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        try check(posix_spawnattr_setflags(&attributes, Int16(flags)))
        var none = sigset_t()
        sigemptyset(&none)
        try check(posix_spawnattr_setsigmask(&attributes, &none))
        var all = sigset_t()
        sigfillset(&all)
        try check(posix_spawnattr_setsigdefault(&attributes, &all))

        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
        var pid = pid_t()
        let code = withCStrings(arguments) { argv in
            withCStrings(variables) { envp in posix_spawnp(&pid, program, &actions, &attributes, argv, envp) }
        }
        try check(code)
        return pid
    }

    private static func withCStrings<R>(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R
    ) -> R {
        let pointers = strings.map { strdup($0) }
        defer { pointers.forEach { free($0) } }
        return body(pointers + [nil])
    }
}

/// How a process ended.
public enum ExitStatus: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)

    /// Takes what waitpid(2) gave.
    init(waitStatus status: Int32) {
        // WIFSIGNALED and its like are macros: the low seven bits are the signal, 0 for a normal exit.
        self = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
    }

    public var isSuccess: Bool { self == .exited(0) }

    public var description: String {
        switch self {
        case .exited(let code): "exit status \(code)"
        case .signalled(let signal): "ended by signal \(signal)"
        }
    }
}
