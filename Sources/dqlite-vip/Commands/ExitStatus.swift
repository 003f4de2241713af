import ArgumentParser

/// The exit statuses of all commands; DOC/CLI.md lists them. From 64 on they are those of sysexits.h.
enum ExitStatus {
    static let success = ExitCode(0)
    static let failure = ExitCode(1)
    /// `status`: the daemon answered, and the node is not ready.
    static let notReady = ExitCode(3)
    /// EX_USAGE, which ArgumentParser uses as well.
    static let usage = ExitCode(64)
    /// EX_UNAVAILABLE: the API cannot be reached.
    static let unreachable = ExitCode(69)
    /// EX_CONFIG: a setting is wrong; starting again will not help.
    static let configuration = ExitCode(78)
}
