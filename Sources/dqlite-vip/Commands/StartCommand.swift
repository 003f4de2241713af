import ArgumentParser
import FoundationEssentials
import Glibc
import Logging
import Platform
import VIP

/// Runs a node in the foreground.
struct StartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Run a node of the cluster in the foreground.",
        discussion: """
            The same command line serves each node, before and after the cluster exists: --join, --disco-mode and \
            --bootstrap-expect are ignored once the node belongs to a cluster. With neither --join nor --disco-mode the node \
            founds a cluster of one; with one of them alone it joins, or, with a key-value store, founds if it is the first \
            there; with --bootstrap-expect that many nodes found a cluster together, whichever starts first. \
            "dqlite-vip discover" with the same options shows what a node would find.

            Each option can be given by an environment variable instead, like DQLITE_VIP_DATA_DIR for --data-dir; \
            the option wins.
            """)

    @OptionGroup var options: NodeOptions

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        // Before the configuration and its secrets are read, and while there is one thread. Only the guard starts a program.
        let faults =
            ProcessRights.refuseCores()
            + ProcessRights.reduce(startsPrograms: environment[GuardEnvironment.channel] == nil)
        var input = options.input
        input.fill(from: environment)
        let settings: StartSettings
        do throws(SettingsFaults) {
            settings = try StartSettings.validate(input, in: .process(environment))
        } catch {
            error.complain()
            throw ExitStatus.configuration
        }
        // A peer, a log reader or libdqlite's other end that has gone is an error of write(2) and no reason to die.
        signal(SIGPIPE, SIG_IGN)
        // Elsewhere it means "read the configuration anew". There is nothing to read anew yet, and to stop would be the
        // worst answer. Ignored signals stay so in the daemon.
        signal(SIGHUP, SIG_IGN)
        LogSetup.bootstrap(level: settings.logLevel, format: settings.logFormat, environment: environment)
        for fault in faults {
            Logger(label: "dqlite-vip").warning(
                "this process has more rights than it needs", metadata: ["error": "\(fault)"])
        }
        throw ExitCode(GuardEntry.run(settings, environment))
    }
}
