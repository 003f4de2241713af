import API
import ArgumentParser

/// Shows the cluster as one node sees it.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the cluster, its virtual address and this node.",
        discussion: """
            Exit status: 0 the node is ready; 3 it answered and is not ready, with the reasons shown; 1 the answer makes no \
            sense; 69 the API cannot be reached.
            """)

    @OptionGroup var api: APIOptions

    @Flag(help: "Print the daemon's answer as it is (JSON).")
    var json = false

    func run() throws {
        let printsJSON = json
        let (text, readiness) = try api.ask { client in
            let text =
                printsJSON
                ? PrintableText(json: try await client.statusJSON()) : StatusTable(try await client.status()).text
            return (text, try await client.readiness())
        }
        try Terminal.show(text)
        guard !readiness.isReady else { return }
        for reason in readiness.reasons { Terminal.complain("not ready: \(reason)") }
        if readiness.reasons.isEmpty { Terminal.complain("not ready") }
        throw ExitStatus.notReady
    }
}
