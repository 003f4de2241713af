import CLinux
import Glibc
import Platform

/// A command of a test that did not do its work.
struct CommandFailure: Error, CustomStringConvertible {
    var arguments: [String]
    var status: Int32
    var output: String

    var description: String { "`\(arguments.joined(separator: " "))` ended with status \(status): \(output)" }
}

/// Runs a command in the calling thread's network namespace and waits for it.
///
/// - Returns: its standard output and standard error.
func runCommand(_ arguments: [String]) throws -> String {
    var ends: [Int32] = [-1, -1]
    // Closed on exec from the start: else a child that another test starts meanwhile keeps it open. (pipe2 is a GNU call.)
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
        throw SystemError.last("make a pipe")
    }
    defer { close(ends[0]) }

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    var process = pid_t()
    let code = posix_spawnp(&process, arguments[0], &actions, nil, &argv, Glibc.environ)
    close(ends[1])
    guard code == 0 else { throw SystemError("run", arguments.joined(separator: " "), errno: code) }

    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = try retryingOnInterrupt("read the output of", arguments[0]) { read(ends[0], &chunk, chunk.count) }
        if count == 0 { break }
        output += chunk[..<count]
    }
    var status: Int32 = 0
    try retryingOnInterrupt("wait for", arguments[0]) { waitpid(process, &status, 0) }
    let text = String(decoding: output, as: UTF8.self)
    guard status == 0 else {
        let code = status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
        throw CommandFailure(arguments: arguments, status: code, output: text)
    }
    return text
}
