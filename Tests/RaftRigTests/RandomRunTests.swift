import Glibc
import Testing

@testable import Lease

/// `DQLITE_VIP_RIG_RUNS=n` runs n seeds, `DQLITE_VIP_RIG_FROM=s` begins with seed s; `DQLITE_VIP_RIG_SEED=s` prints one.
@Suite("Random runs of libraft behind relays")
struct RandomRunTests {
    static let runs = number("DQLITE_VIP_RIG_RUNS") ?? 2000
    static let first = number("DQLITE_VIP_RIG_FROM") ?? 0
    static let slices: UInt64 = 4

    static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

    @Test(
        "never two votes of a server in one term, two leaders of one term or two leases, and no acknowledged write is lost",
        arguments: 0..<slices)
    func sound(slice: UInt64) throws {
        var sum = RandomRun.Outcome()
        let share = Self.runs / Self.slices
        for seed in Self.first + slice * share..<Self.first + (slice + 1) * share {
            do {
                var run = try RandomRun(Weather(seed: seed))
                let outcome = try run.run()
                sum.acknowledgements += outcome.acknowledgements
                sum.leads += outcome.leads
                sum.transfers += outcome.transfers
                sum.declined += outcome.declined
                sum.dropped += outcome.dropped
                sum.unavailable += outcome.unavailable
                sum.recovery = max(sum.recovery, outcome.recovery)
            } catch {
                Issue.record("\(error); DQLITE_VIP_RIG_SEED=\(seed) prints the run")
            }
        }
        print("slice \(slice): \(sum)")
        #expect(sum.acknowledgements > Int(share) * 10, "runs without writes prove nothing")
    }

    struct Fault: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var kind: Violation.Kind
        /// Makes what the rule is against more frequent.
        var tempt: @Sendable (inout Weather) -> Void = { _ in }
        var change: @Sendable (inout RelayCore.Rules) -> Void
    }

    static let faults = [
        Fault(testDescription: "votes leave twice in a term", kind: .twoVotes, tempt: { $0.temptVotes() }) {
            $0.gate.oneVote = false
        },
        Fault(testDescription: "what was not compared counts", kind: .lostWrite) { $0.comparesCopies = false },
        Fault(testDescription: "votes leave in spite of a promise", kind: .twoLeases) { $0.gate.gate = false },
        Fault(testDescription: "a new process votes at once", kind: .twoLeases, tempt: { $0.temptRestarts() }) {
            $0.gate.closedAtStart = false
        },
        Fault(testDescription: "a leader that voted for another keeps its lease", kind: .twoLeases) {
            $0.surrenders = false
        },
    ]

    @Test("each of these rules is needed: without it the runs find what it prevents", arguments: faults)
    func needed(fault: Fault) throws {
        var rules = RelayCore.Rules()
        fault.change(&rules)
        for seed in 0..<UInt64(20_000) {
            var weather = Weather(seed: seed)
            fault.tempt(&weather)
            do {
                var run = try RandomRun(weather, rules: rules)
                _ = try run.run()
            } catch let violation as Violation where violation.kind == fault.kind {
                print("\(fault.testDescription): seed \(seed): \(violation)")
                return
            } catch { continue }
        }
        Issue.record("no run found it")
    }

    @Test("one seed, with its trace", .enabled(if: number("DQLITE_VIP_RIG_SEED") != nil))
    func oneSeed() throws {
        guard let seed = Self.number("DQLITE_VIP_RIG_SEED") else { return }
        let weather = Weather(seed: seed)
        print(weather)
        var rules = RelayCore.Rules()
        if getenv("DQLITE_VIP_RIG_COPIES") != nil { rules.comparesCopies = false }
        var run = try RandomRun(weather, rules: rules, trace: { print($0) })
        print(try run.run())
    }
}
