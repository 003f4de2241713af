import ArgumentParser
import Cluster
import Discovery

/// The options of a node, which `start` and `discover` share.
struct NodeOptions: ParsableArguments {
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

    @Option(
        name: .customLong("disco-mode"),
        help: ArgumentHelp(
            "How else to find other nodes: \(DiscoveryRegistry.modes.joined(separator: ", ")). \(DiscoveryRegistry.staticMode) "
                + "is --join alone; any other may stand beside --join.", valueName: "mode"))
    var discoveryMode: String?

    @Option(
        name: .customLong("disco-key"),
        help: ArgumentHelp(
            "Separates clusters that share one store or one network. Default: \(DiscoverySettings.defaultKey).",
            valueName: "key"))
    var discoveryKey: String?

    @Option(
        name: .customLong("disco-config"),
        help: ArgumentHelp(
            "Configuration of --disco-mode: a JSON object, or the path of a file. $NAME and ${NAME} in it are environment "
                + "variables.", valueName: "json|path"))
    var discoveryConfiguration: String?

    @Option(help: ArgumentHelp("Number of nodes that found the cluster together, 1 to 13.", valueName: "n"))
    var bootstrapExpect: String?

    @Flag(name: .customLong("non-voter"), help: "Join as a spare, and never vote, found or lead.")
    var isNonVoter = false

    @Option(
        help: ArgumentHelp(
            "Virtual address to set when the cluster forms; ignored when one is set already. Several, IPv4 and IPv6, are "
                + "separated by commas or the flag is repeated: they move as one.",
            valueName: "address/prefix"))
    var vip: [String] = []

    @Option(
        help: ArgumentHelp(
            "Number of voting nodes, odd, 1 to 7. Default: 3, or --bootstrap-expect if that is more. The same on all "
                + "members, as all options about roles.", valueName: "n"))
    var voters: String?

    @Option(
        help: ArgumentHelp(
            "Number of further nodes that hold the data, ready to take a voter's place; the rest are spares. Default: "
                + "\(MembershipOptions.defaultStandbys).", valueName: "n"))
    var standbys: String?

    @Option(
        help: ArgumentHelp(
            "How long a voter may be unreachable before a stand-by takes its place. Default: "
                + "\(MembershipOptions.defaultDemoteAfter.timeText).", valueName: "time"))
    var demoteAfter: String?

    @Option(
        help: ArgumentHelp(
            "A word for what this node shares its fate with, like rack-7: voters are spread over different ones.",
            valueName: "word"))
    var failureDomain: String?

    @Flag(help: "Leave the cluster when this node is told to stop; it joins anew when it starts again.")
    var leaveOnShutdown = false

    @Option(
        help: ArgumentHelp(
            "Remove a member that has been unreachable for so long: one time, or voter=24h,standby=24h,spare=1h. Default: "
                + "never.", valueName: "time"))
    var reapAfter: String?

    @Flag(help: "Join again if this node was removed from its cluster.")
    var rejoin = false

    @Option(
        help: ArgumentHelp(
            "How soon a lost leader is replaced: fast, lan or wan, or times such as latency=30ms,lease=180ms,silence=150ms. "
                + "The same on all members. Default: lan.", valueName: "profile|times"))
    var timing: String?

    @Option(
        help: ArgumentHelp(
            "Name of the cluster; nodes of another name are refused. Default: --disco-key, with dots for slashes.",
            valueName: "name"))
    var clusterName: String?

    @Option(
        help: ArgumentHelp("Name of this node, for people. Default: the host name.", valueName: "name"))
    var nodeName: String?

    @Option(
        help: ArgumentHelp(
            "What to attach to this node, for people and for programs that read the status; may be repeated.",
            valueName: "key=value"))
    var label: [String] = []

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
        input.give(.discoveryMode, discoveryMode)
        input.give(.discoveryKey, discoveryKey)
        input.give(.discoveryConfiguration, discoveryConfiguration)
        input.give(.bootstrapExpect, bootstrapExpect)
        if isNonVoter { input.give(.nonVoter, "true") }
        input.give(.vip, vip)
        input.give(.voters, voters)
        input.give(.standbys, standbys)
        input.give(.demoteAfter, demoteAfter)
        input.give(.failureDomain, failureDomain)
        if leaveOnShutdown { input.give(.leaveOnShutdown, "true") }
        input.give(.reapAfter, reapAfter)
        if rejoin { input.give(.rejoin, "true") }
        input.give(.timing, timing)
        input.give(.clusterName, clusterName)
        input.give(.nodeName, nodeName)
        input.give(.label, label)
        input.give(.logLevel, logLevel)
        input.give(.logFormat, logFormat)
        return input
    }
}
