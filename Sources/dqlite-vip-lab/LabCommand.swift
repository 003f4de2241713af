import ArgumentParser
import Lab

/// The laboratory's commands, for `make demo`, `make bench` and for whoever wants to see a fault happen.
@main
struct LabCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dqlite-vip-lab",
        abstract: "Clusters of dqlite-vip in network namespaces of this host: shown, measured, broken.",
        subcommands: [
            DemoCommand.self, BenchCommand.self, NemesisCommand.self, FormationsCommand.self, SoakCommand.self,
            CleanCommand.self,
        ])
}

struct CleanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clean",
        abstract: "Remove the namespaces, processes and files that laboratories of ended processes left behind.")

    @Flag(help: "Leave alone what `demo --keep` left on purpose.")
    var spareKept = false

    func run() throws {
        for prefix in Leftovers.clean(sparingKept: spareKept) { say("removed \(prefix)") }
    }
}
