import ArgumentParser
import FoundationEssentials
import Glibc
import Logging

/// Looks for other nodes once, as `start` would, and shows what was found: for a cluster that does not form.
struct DiscoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "discover",
        abstract: "Look for other nodes once and show what was found, where, and what is wrong.",
        discussion: """
            Takes the options of "start" and changes nothing anywhere: in a command line that does not work, replace the \
            word start by discover. It needs no root, no data directory and no running daemon.

            Exit status: 0 addresses were found (what failed beside them is a warning); 1 none was found, or one is an API \
            port; 64 the command line cannot be understood; 78 a setting is wrong.
            """)

    @OptionGroup var options: NodeOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        var input = options.input
        input.fill(from: environment)
        let report: DiscoverReport
        do {
            let settings = try DiscoverSettings.validate(input, in: .process(environment))
            signal(SIGPIPE, SIG_IGN)
            LogSetup.bootstrap(level: settings.logLevel, format: settings.logFormat, environment: environment)
            report = try blockingRun { try await LookUp.run(settings, logger: Logger(label: "dqlite-vip")) }
        } catch {
            if let faults = error as? SettingsFaults {
                faults.complain()
            } else {
                Terminal.complain("dqlite-vip: \(error)")
            }
            throw error is SettingsFaults || (error as? StartFault)?.kind == .configuration
                ? ExitStatus.configuration : ExitStatus.failure
        }
        try Terminal.show(json ? try JSONText.of(report) : report.text)
        for warning in report.warnings { Terminal.complain("warning: \(warning)") }
        for failure in report.failures { Terminal.complain("dqlite-vip: \(failure)") }
        if !report.failures.isEmpty { throw ExitStatus.failure }
    }
}
