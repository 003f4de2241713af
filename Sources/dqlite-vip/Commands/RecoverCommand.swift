import ArgumentParser
import Cluster
import Dqlite
import Glibc
import Platform

/// Makes a cluster of one out of a stopped node, when the majority of its cluster is lost for ever.
struct RecoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Bring a cluster back that has lost the majority of its voters for ever, from one stopped node.",
        discussion: """
            The node becomes the only voter of a cluster with a new id, with the data that it has. All other nodes of the \
            cluster have to be stopped, their data directories emptied, and started again: they join as new nodes. What only \
            the lost nodes knew is lost. Where several nodes are left, recover the one whose log is newest: --dry-run shows \
            term and index of its last entry.

            Without a terminal it does nothing unless --yes is given. Exit status: 0 done; 1 refused or failed, and nothing \
            has changed; 64 the command line cannot be understood.
            """)

    @Option(
        name: [.customShort("d"), .customLong("data-dir")],
        help: ArgumentHelp("Data directory of the stopped node.", valueName: "dir"))
    var dataDirectory: String

    @Option(
        help: ArgumentHelp(
            "The other nodes that are to come back, separated by commas: for the instructions that are printed. They "
                + "join by themselves when they are started with an empty data directory. Default: all members.",
            valueName: "address[:port]"))
    var members: [String] = []

    @Option(
        help: ArgumentHelp(
            "Where the others reach this node from now on. Default: where they reached it before.",
            valueName: "ip:port"))
    var address: String?

    @Flag(name: .customLong("yes"), help: "Do not ask.")
    var isConfirmed = false

    @Flag(help: "Only show what would be done.")
    var dryRun = false

    @Flag(
        name: .customLong("accept-data-loss"),
        help: "Go on with what can be read of a damaged log; what was committed after the damage is lost.")
    var acceptsLoss = false

    func validate() throws {
        _ = try otherAddresses()
        _ = try ownAddress()
    }

    func run() throws {
        do {
            try recover()
        } catch let refused as Recovery.Refused {
            Terminal.complain("dqlite-vip: \(refused)")
            throw ExitStatus.failure
        } catch let error as ExitCode {
            throw error
        } catch {
            Terminal.complain("dqlite-vip: the recovery failed: \(error)")
            throw ExitStatus.failure
        }
    }

    private func recover() throws {
        let recovery = try Recovery(directory: dataDirectory, address: try ownAddress())
        let plan = RecoveryPlan(recovery, comingBack: try otherAddresses())
        try Terminal.show(plan.text)
        if !recovery.damage.isEmpty, !acceptsLoss {
            throw Recovery.Refused(
                description: "the log is damaged. Is there a node whose log is whole? Recover that one. If not: "
                    + "--accept-data-loss goes on with what can be read")
        }
        let running = try blockingRun { await recovery.running() }
        if !running.isEmpty {
            throw Recovery.Refused(
                description:
                    "members of the cluster are running: \(running.map(\.description).joined(separator: ", ")). "
                    + "If they have a majority, the cluster is not lost: start this node. If not: stop them first")
        }
        if dryRun { return }
        if !isConfirmed { try ask() }
        let backup = try blockingRun { try await recovery.carryOut() }
        try Terminal.show(plan.done(backup: backup))
    }

    private func ask() throws {
        guard isatty(STDIN_FILENO) == 1 else {
            throw Recovery.Refused(description: "there is no terminal to ask on: give --yes. Nothing has changed")
        }
        try Terminal.show("Type the word recover to go on: ", ending: "")
        guard readLine(strippingNewline: true) == "recover" else {
            throw Recovery.Refused(description: "nothing has changed")
        }
    }

    private func ownAddress() throws -> HostPort? {
        try address.map { text in
            do throws(HostPort.ParseError) {
                return try HostPort(parsing: text, defaultPort: StartSettings.defaultClusterPort)
            } catch {
                throw ValidationError("--address \"\(text)\": \(error.reason): give IP:PORT, like 192.0.2.1:8800")
            }
        }
    }

    private func otherAddresses() throws -> [HostPort]? {
        let texts = members.flatMap { $0.split(separator: ",") }
        guard !texts.isEmpty else { return nil }
        return try texts.map { text in
            do throws(HostPort.ParseError) {
                return try HostPort(
                    parsing: text.drop { $0 == " " }, defaultPort: StartSettings.defaultClusterPort)
            } catch {
                throw ValidationError("--members \"\(text)\": \(error.reason): give addresses like 192.0.2.2:8800")
            }
        }
    }
}

/// What a recovery would change, for whoever has to decide.
struct RecoveryPlan {
    private let recovery: Recovery
    private let comingBack: [String]
    private let lost: [String]

    /// - Parameter comingBack: nil stands for all other members.
    init(_ recovery: Recovery, comingBack: [HostPort]?) {
        self.recovery = recovery
        let others = recovery.others.map(\.address)
        let named = comingBack?.map(\.description) ?? others
        self.comingBack = named
        lost = others.filter { !named.contains($0) }
    }

    var text: PrintableText {
        var lines = [
            "data directory   \(recovery.path)",
            "cluster          \(recovery.clusterID), named \"\(recovery.clusterName)\"",
            "log              ends at entry \(recovery.log.lastIndex) of term \(recovery.log.lastTerm)",
            "",
            "members now:",
        ]
        lines += recovery.log.members.map { member in
            "  \(member.id)  \(member.address)  \(member.role)\(member.id == recovery.dqliteID ? "  (this node)" : "")"
        }
        lines += [
            "members then, of the cluster \(recovery.newClusterID):",
            "  \(recovery.dqliteID)  \(recovery.address)  voter  (this node)", "",
        ]
        if !recovery.damage.isEmpty {
            lines.append("The log is damaged, and what came after the damage is lost:")
            lines += recovery.damage.map { "  \($0)" } + [""]
        }
        lines += [
            "Do this only when the majority of the voters is lost for ever. From here nobody can know whether others still run",
            "behind a broken network: then two clusters would have the virtual address. Make sure that the other nodes are",
            "stopped, or switched off.",
        ]
        return PrintableText(lines: lines)
    }

    /// What to do now.
    func done(backup: String) -> PrintableText {
        var lines = [
            "", "Done: cluster \(recovery.newClusterID). What was before is kept in \(backup)", "", "Now:",
            "1. Start this node as usual, and wait until `dqlite-vip status` says that it leads.",
        ]
        if !comingBack.isEmpty {
            lines.append("2. On each of \(comingBack.joined(separator: ", ")), one after the other:")
            lines += [
                "     stop dqlite-vip", "     empty its data directory: find DATA-DIR -mindepth 1 -delete",
                "     start dqlite-vip with --join \(recovery.address), and wait until `dqlite-vip status` says ready",
            ]
        }
        if !lost.isEmpty {
            lines.append("Never start \(lost.joined(separator: ", ")) again with the data that they have.")
        }
        return PrintableText(lines: lines)
    }
}
