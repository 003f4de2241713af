import API
import ArgumentParser

/// Shows the members and takes one out, from any node.
struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "List the nodes of the cluster, or remove one.",
        subcommands: [List.self, Remove.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the nodes of the cluster, those removed last, and how many failures it survives.")

        @OptionGroup var api: APIOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            let (report, status) = try api.ask { (try await $0.nodes(), try await $0.status()) }
            if json { return try Terminal.show(try JSONText.of(report)) }
            try Terminal.show(NodeTable.text(report, leader: status.leaderID, own: status.id))
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a node out of the cluster for good.",
            discussion: """
                It is refused, with the reason, when the cluster would lose its quorum; nothing has changed then. If the node \
                leads, another takes the lead first. A node that still runs gives up everything, and stays out until it is \
                started with --rejoin or with an empty data directory.
                """)

        @OptionGroup var api: APIOptions

        @Argument(help: ArgumentHelp("The node.", valueName: "id|name|address"))
        var node: String

        @Flag(help: "Remove it even if the cluster then has no leader until more of the others are up.")
        var force = false

        @Flag(help: "Print JSON.")
        var json = false

        func validate() throws {
            if node.isEmpty { throw ValidationError("the node is empty: \"dqlite-vip node list\" shows the nodes") }
        }

        func run() throws {
            let (node, force) = (node, force)
            let report = try api.ask { try await $0.removeNode(node, force: force) }
            if json { return try Terminal.show(try JSONText.of(report)) }
            let name = report.name.map { "\($0) (\(report.address))" } ?? report.address
            try Terminal.show("\(name), id \(report.id), is no member any more")
        }
    }
}

/// Members as a person reads them on a terminal.
enum NodeTable {
    static func text(_ report: NodesReport, leader: UInt64, own: UInt64) -> PrintableText {
        var text = PrintableText(rows: rows(report.nodes, leader: leader, own: own))
        if !report.summary.isEmpty { text = text + "\n\(report.summary)\n" }
        guard !report.removed.isEmpty else { return text }
        let removed = report.removed.map { ["\($0.id)", $0.name ?? "-", $0.address, "\($0.reason) \($0.at)"] }
        return text + "\nno members any more:\n" + PrintableText(rows: removed)
    }

    static func rows(_ members: [ClusterMember], leader: UInt64, own: UInt64) -> [[String]] {
        let isLabelled = members.contains { $0.labels?.isEmpty == false }
        return [["ID", "NAME", "ADDRESS", "ROLE"] + (isLabelled ? ["LABELS"] : []) + [""]]
            + members.map { member in
                let marks = [
                    member.id == leader ? "leader" : "", member.id == own ? "this node" : "",
                    member.isNonVoter == true ? "non-voter" : "", member.failureDomain.map { "in \($0)" } ?? "",
                    member.isReachable == false
                        ? "unreachable" + (member.unreachableSince.map { " since \($0)" } ?? "") : "",
                    member.configuredAddress.map { "listed at \($0)" } ?? "",
                ]
                let labels = (member.labels ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                return ["\(member.id)", member.name ?? "-", member.address, member.role.rawValue]
                    + (isLabelled ? [labels.isEmpty ? "-" : labels.joined(separator: ",")] : [])
                    + [marks.filter { !$0.isEmpty }.joined(separator: ", ")]
            }
    }
}
