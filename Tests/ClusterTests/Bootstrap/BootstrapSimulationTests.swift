import Glibc
import Testing

@testable import Cluster

/// The bootstrap as a whole, in simulated time. See `Simulation`.
///
/// `DQLITE_VIP_SIM_SCHEDULES=n` runs n schedules instead of 20,000; `DQLITE_VIP_SIM_SEED=s` runs the one with seed s and
/// prints all that happens.
@Suite("bootstrap simulation")
struct BootstrapSimulationTests {
    static let schedules = Environment.number("DQLITE_VIP_SIM_SCHEDULES") ?? 20_000
    static let seed = Environment.number("DQLITE_VIP_SIM_SEED")
    static let claimSeed = Environment.number("DQLITE_VIP_SIM_CLAIM_SEED")
    /// Tests run in parallel, so that this many cores can be used.
    static let slices: UInt64 = 8

    @Test("identical nodes end in one cluster whatever happens meanwhile", arguments: 0..<slices)
    func oneCluster(slice: UInt64) throws {
        guard Self.seed == nil else { return }
        var stuck = 0
        let first = slice * Self.schedules / Self.slices
        let end = (slice + 1) * Self.schedules / Self.slices
        for seed in first..<end {
            do {
                var simulation = Simulation(SimSchedule(seed: seed))
                if case .stuckForLostDisk = try simulation.run() { stuck += 1 }
            } catch {
                Issue.record("seed \(seed): \(error); DQLITE_VIP_SIM_SEED=\(seed) prints the run")
                return
            }
        }
        #expect(Double(stuck) <= 0.05 * Double(end - first), "too many runs lost a disk that they needed")
    }

    @Test("nodes that expect nobody end in one cluster when a store says who founds", arguments: 0..<slices)
    func claims(slice: UInt64) throws {
        guard Self.seed == nil else { return }
        var formed = 0
        let count = Self.schedules / 4 / Self.slices
        for seed in slice * count..<(slice + 1) * count {
            do {
                var simulation = Simulation(SimSchedule(claiming: seed))
                if case .formed = try simulation.run() { formed += 1 }
            } catch {
                Issue.record("claiming, seed \(seed): \(error); DQLITE_VIP_SIM_CLAIM_SEED=\(seed) prints the run")
                return
            }
        }
        #expect(Double(formed) >= 0.9 * Double(count), "the store took too many clusters for dead")
    }

    @Test("a node that waited for the others for an hour forms one cluster with them, within the same two seconds")
    func earlyBird() throws {
        let hour: Int64 = 3_600_000_000_000
        let schedules = (UInt64(0)..<400).lazy.map { SimSchedule(seed: $0) }
            .filter { $0.isFaultless && $0.nodes.count == 3 && $0.expect == 3 && $0.nodes.allSatisfy { !$0.nonVoter } }
        for var schedule in schedules.prefix(3) {
            schedule.nodes[0].startsAt = 0
            for index in 1..<3 { schedule.nodes[index].startsAt += hour }
            schedule.calmAt = schedule.nodes.map(\.startsAt).max() ?? hour
            var simulation = Simulation(schedule)
            guard case .formed = try simulation.run() else {
                Issue.record("seed \(schedule.seed) did not form")
                continue
            }
        }
        #expect(schedules.prefix(3).count == 3)
    }

    @Test("one seed, with its trace", .enabled(if: seed != nil || claimSeed != nil))
    func oneSeed() throws {
        let schedule: SimSchedule
        if let seed = Self.seed {
            schedule = SimSchedule(seed: seed)
        } else if let seed = Self.claimSeed {
            schedule = SimSchedule(claiming: seed)
        } else {
            return
        }
        print(schedule)
        var simulation = Simulation(schedule, trace: { print($0) })
        print(try simulation.run())
    }
}

enum Environment {
    static func number(_ name: String) -> UInt64? {
        guard let text = getenv(name) else { return nil }
        return UInt64(String(cString: text))
    }
}
