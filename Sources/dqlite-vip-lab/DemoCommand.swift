import ArgumentParser
import Glibc
import Lab
import Platform

/// Shows a cluster form, lose its leader and go on; fails when a step does not go as it should.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Three servers and a client: form a cluster, set the VIP, kill the leader, watch the address move.")

    @Flag(help: "Leave everything running at the end, and say how to look around.")
    var keep = false

    func run() async throws {
        let lab: LabCluster
        do {
            lab = try LabCluster(nodes: 3)
        } catch {
            say("The demo cannot begin: \(error)")
            throw ExitCode.failure
        }
        defer { lab.close() }
        try Interruption.endsProcess { lab.close() }
        var demo = Demo(lab: lab)
        do {
            try await demo.play()
        } catch {
            demo.narrator.bad("\(error)")
            for node in lab.nodes { demo.narrator.output(node.logTail(lines: 15)) }
            throw ExitCode.failure
        }
        if keep {
            try lab.keep()
            demo.explainKept()
        } else {
            lab.close()
            demo.narrator.note("\nEverything is removed again. `make demo KEEP=1` leaves it running.")
        }
    }
}

private struct Demo {
    let lab: LabCluster
    var narrator = Narrator()
    private let began = BootClock.now

    init(lab: LabCluster) {
        self.lab = lab
    }

    /// The one command line of all nodes.
    private var options: StartOptions {
        var options = StartOptions()
        options.bindHTTP = nil
        options.bootstrapExpect = 3
        options.join = [lab.nodes.map { "\($0.address)" }.joined(separator: ",")]
        return options
    }

    mutating func play() async throws {
        narrator.title("dqlite-vip: three servers and a client on one switch, each in a network namespace of its own")
        let formation = try await form()
        let holder = try await setVIP(formation)
        try await ping(holder)
        let report = try await killLeader(holder)
        try await restart(report, formation)
    }

    private mutating func form() async throws -> LabCluster.Formation {
        narrator.begin("The same command on each of the three servers, \(lab[1].address) to \(lab[3].address)")
        narrator.command("dqlite-vip " + options.arguments.joined(separator: " "))
        try lab.startAll(options)
        let started = BootClock.now
        let formation = try await lab.formation(within: .seconds(20))
        narrator.good(
            "one cluster of three voters after \(started.duration(to: BootClock.now).inMilliseconds) ms; "
                + "node \(formation.leader) leads; cluster id \(formation.clusterID)")
        return formation
    }

    private mutating func setVIP(_ formation: LabCluster.Formation) async throws -> Int {
        // Through a follower: any node takes it.
        let node = lab.nodes.first { $0.number != formation.leader } ?? lab[1]
        narrator.begin("The virtual address, set on node \(node.number), which does not lead")
        let arguments = ["curl", "-sS", "-XPUT", "-d", "{\"vip\":\"\(lab.vipText)\"}", "http://localhost:9900/vip"]
        narrator.command("curl -XPUT -d '{\"vip\":\"\(lab.vipText)\"}' http://localhost:9900/vip")
        let answer = try await run(arguments, in: node.namespace)
        narrator.output(answer)
        guard answer.contains("\"OK\"") else { throw LabError("the API did not take the address") }
        let holder = try await lab.holder()
        guard try await lab.formation().leader == holder else {
            throw LabError("node \(holder) holds the address and is not the leader")
        }
        narrator.good(
            "node \(holder), the leader, has it: \(try lab.network.addresses(ofNode: holder).joined(separator: ", "))")
        return holder
    }

    private mutating func ping(_ holder: Int) async throws {
        narrator.begin("The client asks for it")
        let arguments = ["ping", "-c", "3", "-i", "0.2", "-W", "2", "\(lab.vip)"]
        narrator.command(arguments.joined(separator: " "))
        let text = try await run(arguments, in: lab.network.client)
        narrator.output(text.split(separator: "\n").filter { $0.contains("time") }.joined(separator: "\n"))
        guard try await lab.settled(for: .seconds(1)) == holder else {
            throw LabError("the address left node \(holder) without a reason")
        }
        narrator.good("node \(holder) answers")
    }

    private mutating func killLeader(_ holder: Int) async throws -> FaultReport {
        narrator.begin("kill -9 of everything dqlite-vip runs on node \(holder): the daemon, then its guard")
        let pids = [lab[holder].daemonPID, lab[holder].guardPID].compactMap { $0 }
        narrator.command("kill -9 \(pids.map(String.init).joined(separator: " "))")
        let report = try await lab.measure(.kill9, observe: .milliseconds(1500))
        guard let takeover = report.view.takeover, let after = report.view.after, !report.view.isOpen else {
            throw LabError("no other node answered for \(lab.vip)")
        }
        let holders = lab.witness.holders(of: lab.vip)
        guard holders == [after], after != holder else {
            throw LabError("node \(after) answers, and nodes \(holders) have the address")
        }
        guard !report.announcements.isEmpty else { throw LabError("the client heard no gratuitous ARP") }
        narrator.good(
            "the client, asking every millisecond, had its answers from node \(holder) before and from node \(after) after"
        )
        narrator.good("first answer of node \(after) \(takeover.inWords) ms after the kill")
        narrator.good(
            "longest time without an answer: \(report.view.outage.inWords) ms; \(report.view.lost) questions lost")
        let requests = report.announcements.count { $0.frame.operation == .request }
        narrator.good(
            "gratuitous ARP heard by the client: \(requests) requests, \(report.announcements.count - requests) replies, "
                + "from \(report.announcements[0].frame.senderHardware.hex)")
        if let lost = report.oldLost {
            narrator.good(
                "the address was gone from node \(holder) \(lost.inWords) ms after the kill"
            )
        }
        narrator.note("  time in which two nodes had the address: \(report.overlap.inWords) ms")
        return report
    }

    private mutating func restart(_ report: FaultReport, _ formation: LabCluster.Formation) async throws {
        narrator.begin("Node \(report.oldHolder) again, with the same command")
        let process = try lab[report.oldHolder].startAgain()
        let again = try await lab.formation(within: .seconds(20))
        guard process.isRunning, again.clusterID == formation.clusterID else {
            throw LabError("node \(report.oldHolder) is in cluster \(again.clusterID), not \(formation.clusterID)")
        }
        guard lab.witness.holders(of: lab.vip).count == 1 else { throw LabError("not exactly one holder") }
        narrator.good("it is back in the same cluster, and took nothing away: node \(again.leader) still leads")
        narrator.command("dqlite-vip status")
        let status = try await lab[report.oldHolder].command(["status"])
        narrator.output(status.text)
        guard status.isSuccess else { throw LabError("dqlite-vip status: \(status.status)") }
        narrator.note("\nAll as it should be, in \(began.duration(to: BootClock.now).inMilliseconds / 1000) s.")
    }

    func explainKept() {
        let (client, first) = (lab.network.client.name, lab[1].namespace.name)
        say(
            """

            It goes on running (as root):
              ip netns exec \(client) ping \(lab.vip)
              ip netns exec \(client) tcpdump -ni eth0 arp
              ip netns exec \(first) \(lab[1].binary) status       # \(first.dropLast())2 and ...3 are the others
              ip netns exec \(first) curl -s http://localhost:9900/status
              ip -n \(first) address show dev eth0
              ip -n \(lab.network.switchNamespace.name) link set p1 down      # cut the cable of node 1; up mends it
              tail -f \(lab[1].log)
            Remove it all:
              make clean-lab
            """)
    }

    private func run(_ arguments: [String], in namespace: Namespace) async throws -> String {
        try await offloading { try ToolCommand.check(arguments, in: namespace) }
    }
}

extension [UInt8] {
    /// "02:00:0a:…", as hardware addresses are written.
    fileprivate var hex: String {
        map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
