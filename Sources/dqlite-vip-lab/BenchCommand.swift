import ArgumentParser
import FoundationEssentials
import Lab
import Platform

/// Measures what the project promises, as a client and the kernels see it. Nothing is judged here.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure formation, fail-over, stability under load and the cost at rest; print the figures.")

    @Option(help: "Trials of each fault, and of the formation.")
    var trials = 10

    @Option(
        help:
            "Faults to measure, separated by commas. Known: \(Fault.allCases.map(\.rawValue).joined(separator: ", ")).")
    var faults =
        "kill -9 of the daemon,kill -9,SIGSTOP of the daemon,SIGSTOP of all,SIGTERM,link cut,silent partition,power off"

    @Option(help: "Faults to measure once more while a client writes, as above.")
    var faultsUnderWrites = "kill -9 of the daemon"

    @Option(help: "How often that client writes in a second, 1 to 1000.")
    var writes = 20

    @Option(
        help:
            "What to measure beside the product, separated by commas, or \"\". Known: \(Keepalived.Variant.allCases.map(\.rawValue).joined(separator: ", "))."
    )
    var peers = Keepalived.Variant.allCases.map(\.rawValue).joined(separator: ",")

    @Option(help: "Trials of each fault with each of those.")
    var peerTrials = 5

    @Option(
        help:
            "Ways to form a cluster, separated by commas. Known: \(FormationMode.allCases.map(\.rawValue).joined(separator: ", "))."
    )
    var formationModes = FormationMode.allCases.map(\.rawValue).joined(separator: ",")

    @Option(help: "Seconds of load with busy loops, and of rest.")
    var seconds = 60

    @Option(help: "Busy loops that load the machine.")
    var loops = 4

    @Option(help: "Processes that write to the disk and wait for it meanwhile.")
    var writers = 2

    @Option(help: "Also write the figures to this file, as JSON.")
    var json: String?

    func run() async throws {
        let choice = Choice(
            modes: try Self.named(formationModes, "mode"), faults: try Self.named(faults, "fault"),
            underWrites: try Self.named(faultsUnderWrites, "fault"), peers: try Self.named(peers, "peer"))
        guard (1...1000).contains(writes) else { throw ValidationError("--writes must be 1 to 1000, not \(writes)") }
        let lab = try LabCluster(nodes: 3)
        defer { lab.close() }
        try Interruption.endsProcess { lab.close() }
        let result: BenchResult
        do {
            result = try await measure(Bench(lab: lab), choice)
        } catch {
            for node in lab.nodes { remark(node.logTail(lines: 30)) }
            remark("\(error); \(lab.whoHasIt)")
            throw ExitCode.failure
        }
        if let json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            try DurableFile.write(Array(try encoder.encode(result)), to: json, mode: 0o644)
        }
    }

    private struct Choice {
        var modes: [FormationMode]
        var faults: [Fault]
        var underWrites: [Fault]
        var peers: [Keepalived.Variant]
    }

    private static func named<T: RawRepresentable & CaseIterable>(
        _ names: String, _ what: String
    ) throws -> [T] where T.RawValue == String {
        try names.split(separator: ",").map { name in
            guard let value = T(rawValue: String(name)) else {
                throw ValidationError("\"\(name)\" is no \(what); known: \(T.allCases.map(\.rawValue))")
            }
            return value
        }
    }

    private func measure(_ bench: Bench, _ choice: Choice) async throws -> BenchResult {
        var result = BenchResult()
        bench.printHead()
        if trials > 0 { result.formations = try await bench.formations(choice.modes, trials: trials) }
        if seconds > 0 {
            result.rest = try await bench.rest(.seconds(seconds))
            result.load = try await bench.load(.seconds(seconds), loops: loops, writers: writers)
        }
        if trials > 0 {
            for fault in choice.faults { result.failovers.append(try await bench.failover(fault, trials: trials)) }
            for fault in choice.underWrites {
                result.failovers.append(try await bench.failover(fault, trials: trials, writesPerSecond: writes))
            }
        }
        if peerTrials > 0 && !choice.peers.isEmpty {
            try await bench.stopAll()
            for peer in choice.peers {
                result.failovers += try await bench.failovers(peer, choice.faults, trials: peerTrials)
            }
        }
        bench.compare(result.failovers)
        return result
    }
}

/// All figures; durations in milliseconds.
struct BenchResult: Codable {
    struct Formation: Codable {
        var mode: String
        /// From the start of the last node to the first answer of the VIP.
        var answers: [Double]
        /// From the start of the last node until all nodes say that they are in one formed cluster.
        var complete: [Double]
    }
    struct Failover: Codable {
        struct Trial: Codable {
            var from: Int
            var to: Int?
            var takeover: Double?
            var outage: Double
            /// Questions of the client that were not answered.
            var lost: Int
            var overlap: Double
            var oldHolderLostAddress: Double?
            var announcements: Int
            var stall: Double
            /// The longest time without an answer after the fault was put right, where that may cost something.
            var healing: Double?
            var healingLost: Int?
        }
        /// "dqlite-vip", or what was measured beside it.
        var manager: String
        var fault: String
        var trials: [Trial]
    }
    struct Rest: Codable {
        struct Node: Codable {
            var processorPercent: Double
            /// What guard and daemon share counted once.
            var residentKiB: Int
            var ownKiB: Int
            var packetsPerSecond: Double
        }
        var nodes: [Node]
    }
    struct Load: Codable {
        var leaderChanges: Int
        var holderChanges: Int
    }
    var formations: [Formation] = []
    var rest: Rest?
    var load: Load?
    var failovers: [Failover] = []
}
