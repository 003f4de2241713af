import ArgumentParser
import Lab
import Platform
import Synchronization

/// Forms clusters from nothing, and hands the lead of each over within its first second.
struct FormationsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "formations",
        abstract:
            "Form many clusters of three, each followed by a hand-over to a named voter, and count what came of it.",
        discussion: """
            Ends with status 1 when a hand-over went elsewhere, when nobody had the address for more than 100 ms, when two had it \
            that may not, or when a log tells of an error.
            """)

    @Option(help: "How many clusters, of each program.")
    var count = 500

    @Option(help: "Busy loops beside.")
    var load = 0

    @Option(help: "What the moments and the successors follow from.")
    var seed: UInt64 = 1

    @Option(
        name: .customLong("binary"),
        help: "The program to try; given several times, they take turns. Default: as for all laboratories.")
    var binaries: [String] = []

    @Flag(name: .customLong("ipv6"), help: "The VIP is an IPv6 address.")
    var isIPv6 = false

    func validate() throws {
        guard count > 0 else { throw ValidationError("--count must be 1 or more") }
        guard (0...64).contains(load) else { throw ValidationError("--load must be 0 to 64") }
    }

    func run() async throws {
        let programs = try binaries.isEmpty ? [Product.locate()] : binaries.map { try Product.program($0) }
        let laboratory = try FormationLab(family: isIPv6 ? .v6 : .v4)
        defer { laboratory.close() }
        let result = Mutex(programs.map { FormationTally(binary: $0) })
        let (began, beside) = (BootClock.now, "seed \(seed), \(load) busy loops beside")
        @Sendable func tell() {
            say("\(beside), \(began.duration(to: BootClock.now).inMilliseconds / 1000) s")
            for tally in result.withLock({ $0 }) { say(tally.text) }
        }
        // What is counted is told, also when somebody has not the time for all of it.
        try Interruption.endsProcess {
            tell()
            laboratory.close()
        }
        try laboratory.load(load)
        for number in 1...count {
            for (index, program) in programs.enumerated() {
                let trial = try await laboratory.trial(number, seed: seed, binary: program)
                result.withLock { $0[index].add(trial) }
                describe(trial, of: index)
            }
        }
        tell()
        if result.withLock({ $0.contains(where: \.isBad) }) { throw ExitCode.failure }
    }

    private func describe(_ trial: FormationTrial, of index: Int) {
        remark(
            "\(trial.isBad ? "✗" : " ") \(trial.number)\(binaries.count > 1 ? ", program \(index + 1)" : ""): "
                + "formed in \(trial.formation.inWords), asked after \(trial.moment.inWords): \(trial.outcome), outage "
                + "\(trial.outage.inWords), nobody \(trial.vacancy.inWords)"
                + (trial.forbidden > .zero ? ", two holders \(trial.forbidden.inWords)" : "")
                + (trial.reason.map { ": \($0)" } ?? ""))
        for line in trial.bad { remark("    ✗ \(line)") }
    }
}
