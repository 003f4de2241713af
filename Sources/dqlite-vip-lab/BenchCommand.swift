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
    var faults = "kill -9,kill -9 of the daemon,SIGTERM,link cut,silent partition,SIGSTOP of all,power off"

    @Option(
        help:
            "Ways to form a cluster, separated by commas. Known: \(FormationMode.allCases.map(\.rawValue).joined(separator: ", "))."
    )
    var formationModes = FormationMode.allCases.map(\.rawValue).joined(separator: ",")

    @Option(help: "Seconds of load with busy loops, and of rest.")
    var seconds = 60

    @Option(help: "Busy loops that load the machine.")
    var loops = 4

    @Option(help: "Also write the figures to this file, as JSON.")
    var json: String?

    func run() async throws {
        let kinds = try faults.split(separator: ",").map { name in
            guard let fault = Fault(rawValue: String(name)) else {
                throw ValidationError("\"\(name)\" is no fault; known: \(Fault.allCases.map(\.rawValue))")
            }
            return fault
        }
        let modes = try formationModes.split(separator: ",").map { name in
            guard let mode = FormationMode(rawValue: String(name)) else {
                throw ValidationError("\"\(name)\" is no mode; known: \(FormationMode.allCases.map(\.rawValue))")
            }
            return mode
        }
        let lab = try LabCluster(nodes: 3)
        defer { lab.close() }
        try Interruption.endsProcess { lab.close() }
        let result: BenchResult
        do {
            result = try await measure(Bench(lab: lab), modes, kinds)
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

    private func measure(
        _ bench: Bench, _ modes: [FormationMode], _ kinds: [Fault]
    ) async throws -> BenchResult {
        var result = BenchResult()
        bench.printHead()
        if trials > 0 { result.formations = try await bench.formations(modes, trials: trials) }
        if seconds > 0 {
            result.rest = try await bench.rest(.seconds(seconds))
            result.load = try await bench.load(.seconds(seconds), loops: loops)
        }
        for fault in kinds where trials > 0 {
            result.failovers.append(try await bench.failover(fault, trials: trials))
        }
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
            var overlap: Double
            var oldHolderLostAddress: Double?
            var announcements: Int
            var stall: Double
        }
        var fault: String
        var trials: [Trial]
    }
    struct Rest: Codable {
        struct Node: Codable {
            var processorPercent: Double
            var residentKiB: Int
            var proportionalKiB: Int
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
