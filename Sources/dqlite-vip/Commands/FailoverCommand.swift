import API
import ArgumentParser

/// Gives the lead to another node, from any node.
struct FailoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover",
        abstract: "Hand the lead, and the virtual IP addresses with it, over to another node, without interruption.",
        discussion: """
            The successor sets and announces the addresses before the present holder lets go of them. It is refused, with \
            the reason, when no other voter can take them now; nothing has changed then.
            """)

    @OptionGroup var api: APIOptions

    @Option(
        help: ArgumentHelp("The node that takes over; the most up-to-date one otherwise.", valueName: "id|name|address")
    )
    var to: String?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let successor = to
        let report = try api.ask { try await $0.failOver(to: successor) }
        if json { return try Terminal.show(try JSONText.of(report)) }
        let remark = report.isSeamless ? "" : "; it did not confirm in time, so there was a short gap"
        try Terminal.show("\(report.leaderAddress) leads now, after \(report.tookMilliseconds) ms\(remark)")
    }
}
