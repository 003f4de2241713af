import Glibc
import Testing

@testable import Lease

/// `DQLITE_VIP_LEASE_SCHEDULES=n` runs n schedules instead of 20,000; `DQLITE_VIP_LEASE_SEED=s` prints the one with seed s.
@Suite("Simulation of leases")
struct LeaseSimulationTests {
    static let schedules = number("DQLITE_VIP_LEASE_SCHEDULES") ?? 20_000
    static let slices: UInt64 = 8

    static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }

    @Test(
        "never have two nodes a lease at one instant, and after the faults there is a holder again",
        arguments: 0..<slices)
    func neverTwo(slice: UInt64) throws {
        var longest: Int64 = 0
        var extensions = 0
        for seed in slice * Self.schedules / Self.slices..<(slice + 1) * Self.schedules / Self.slices {
            var simulation = LeaseSimulation(LeaseSchedule(seed: seed))
            do {
                longest = max(longest, try simulation.run())
                extensions += simulation.extensions
            } catch {
                Issue.record("\(error); DQLITE_VIP_LEASE_SEED=\(seed) prints the run")
                return
            }
        }
        #expect(extensions > Int(Self.schedules / Self.slices) * 5, "runs without leases prove nothing")
        print("slice \(slice): holder at most \(longest / 1_000_000) ms after the calm, \(extensions) extensions")
    }

    struct Fault: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var drift: Int64 = 1000
        var change: @Sendable (inout LeaseSimulation.Rules) -> Void
    }

    static let faults = [
        Fault(testDescription: "votes leave in spite of a promise") { $0.gate.gate = false },
        Fault(testDescription: "a process that was started again votes at once") { $0.gate.closedAtStart = false },
        Fault(testDescription: "leaders of the past are acknowledged") { $0.gate.refusesPast = false },
        Fault(testDescription: "a leader that voted for another keeps its lease") { $0.surrenders = false },
        Fault(testDescription: "a majority of earlier voters is enough") { $0.followsChanges = false },
        // More drift than a clock has, so that it shows soon.
        Fault(testDescription: "clocks are taken for equal", drift: 20_000) { $0.margin = false },
    ]

    @Test("each rule is needed", arguments: faults)
    func needed(fault: Fault) {
        var rules = LeaseSimulation.Rules()
        fault.change(&rules)
        for seed in 0..<UInt64(60_000) {
            var schedule = LeaseSchedule(seed: seed)
            schedule.drift = fault.drift
            var simulation = LeaseSimulation(schedule, rules: rules)
            do {
                _ = try simulation.run()
            } catch let error as LeaseSimulation.Violation where error.description.contains("have a lease") {
                print("found at seed \(seed)")
                return
            } catch {
                continue
            }
        }
        Issue.record("no run broke the promise")
    }

    @Test("one seed, with its trace", .enabled(if: number("DQLITE_VIP_LEASE_SEED") != nil))
    func oneSeed() throws {
        guard let seed = Self.number("DQLITE_VIP_LEASE_SEED") else { return }
        let schedule = LeaseSchedule(seed: seed)
        print(schedule)
        var simulation = LeaseSimulation(schedule, trace: { print($0) })
        print(try simulation.run())
    }
}
