import ArgumentParser
import FoundationEssentials
import Glibc

/// Runs a node in the foreground.
struct StartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Run a node of the cluster in the foreground.",
        discussion: """
            The same command line serves each node, before and after the cluster exists: --join and --bootstrap-expect are \
            ignored once the node belongs to a cluster. Without --join the node founds a cluster of one; with --join alone \
            it joins; with both, that many nodes found a cluster together, whichever starts first.

            Each option can be given by an environment variable instead, like DQLITE_VIP_DATA_DIR for --data-dir; \
            the option wins.
            """)

    @Option(
        name: [.customShort("d"), .customLong("data-dir")],
        help: ArgumentHelp("Directory of this node's state; made if it is not there.", valueName: "dir"))
    var dataDirectory: String?

    @Option(
        help: ArgumentHelp(
            "Where peers reach this node: the one port they need. Default: the first global IPv4 address of --iface, "
                + "port 8800. 0.0.0.0:8800 listens on all addresses and tells peers that one.", valueName: "ip:port"))
    var bindCluster: String?

    @Option(
        name: .customLong("bind-http"),
        help: ArgumentHelp("Where the HTTP API listens. Default: 127.0.0.1:9900.", valueName: "address:port"))
    var bindHTTP: String?

    @Option(
        name: [.customShort("i"), .customLong("iface")],
        help: ArgumentHelp("Network interface of the virtual address.", valueName: "name"))
    var interface: String?

    @Option(
        name: [.customShort("j"), .customLong("join")],
        help: ArgumentHelp(
            "Cluster addresses of other nodes, separated by commas; may be repeated, and may name this node too. "
                + "Default port: 8800.", valueName: "address[:port]"))
    var join: [String] = []

    @Option(help: ArgumentHelp("Number of nodes that found the cluster together, 1 to 13.", valueName: "n"))
    var bootstrapExpect: String?

    @Option(
        help: ArgumentHelp(
            "Virtual address to set when the cluster forms; ignored when one is set already.",
            valueName: "address/prefix"))
    var vip: String?

    @Option(
        help: ArgumentHelp(
            "Number of voting nodes, odd, 1 to 7; further nodes are stand-bys. Default: 3, or --bootstrap-expect if "
                + "that is more.", valueName: "n"))
    var voters: String?

    @Option(
        help: ArgumentHelp(
            "Name of the cluster; nodes of another name are refused. Default: dqlite-vip.", valueName: "name"))
    var clusterName: String?

    @Option(
        help: ArgumentHelp("trace, debug, info, notice, warning, error or critical. Default: info.", valueName: "level")
    )
    var logLevel: String?

    @Option(help: ArgumentHelp("text or json. Default: text.", valueName: "format"))
    var logFormat: String?

    /// What the flags say, unchecked.
    var input: StartInput {
        var input = StartInput()
        input.give(.dataDirectory, dataDirectory)
        input.give(.bindCluster, bindCluster)
        input.give(.bindHTTP, bindHTTP)
        input.give(.interface, interface)
        input.give(.join, join)
        input.give(.bootstrapExpect, bootstrapExpect)
        input.give(.vip, vip)
        input.give(.voters, voters)
        input.give(.clusterName, clusterName)
        input.give(.logLevel, logLevel)
        input.give(.logFormat, logFormat)
        return input
    }

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        var input = input
        input.fill(from: environment)
        let settings: StartSettings
        do throws(SettingsFaults) {
            settings = try StartSettings.validate(input, vipFault: Self.fault(ofVIP:))
        } catch {
            complain("dqlite-vip: \(error)")
            throw ExitStatus.configuration
        }
        // A peer, a log reader or libdqlite's other end that has gone is an error of write(2) and no reason to die.
        signal(SIGPIPE, SIG_IGN)
        // Elsewhere it means "read the configuration anew". There is nothing to read anew yet, and to stop would be the
        // worst answer. Ignored signals stay so in the daemon.
        signal(SIGHUP, SIG_IGN)
        LogSetup.bootstrap(level: settings.logLevel, format: settings.logFormat, environment: environment)
        throw ExitCode(GuardEntry.run(settings, environment))
    }

    private static func fault(ofVIP text: String) -> String? {
        do {
            _ = try DaemonControl.checked(text)
            return nil
        } catch {
            return "\(error)"
        }
    }
}
