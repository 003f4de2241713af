import Testing

@testable import Cluster

/// Each rule of the safety argument is needed: without it the simulation finds a run that breaks an invariant.
@Suite("bootstrap rules")
struct BootstrapRuleTests {
    struct Fault: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var change: @Sendable (inout BootstrapCore.Rules) -> Void
    }

    static let faults = [
        Fault(testDescription: "a majority of the founding set is enough to found") { $0.unanimity = false },
        Fault(testDescription: "a node promises itself twice") { $0.exclusiveAgreement = false },
        Fault(testDescription: "one withdrawal frees a member") { $0.withdrawalNeedsLosses = false },
        Fault(testDescription: "an old answer of the founder frees a member") { $0.wordAfterPromise = false },
        Fault(testDescription: "a late proposal binds a member that has left it") { $0.generations = false },
        Fault(testDescription: "a founding set need not be more than half of what is known") {
            $0.majorityOfKnown = false
        },
        Fault(testDescription: "a node with state founds another cluster") { $0.stateNeverPromises = false },
        Fault(testDescription: "a founder gives up after it added members") { $0.noWayBackAfterAdmitting = false },
        Fault(testDescription: "a member that accepted withdraws") { $0.acceptedNeverWithdraws = false },
        Fault(testDescription: "a cluster is formed without a majority of its founding set") {
            $0.formedNeedsMajority = false
        },
    ]

    @Test("each safety rule is needed", arguments: faults)
    func needed(fault: Fault) {
        var rules = BootstrapCore.Rules()
        fault.change(&rules)
        let limit = Environment.number("DQLITE_VIP_SIM_FAULT_SCHEDULES") ?? 20_000
        for seed in 0..<limit {
            var simulation = Simulation(SimSchedule(seed: seed, harsh: true), rules: rules, onlyClusters: true)
            do {
                _ = try simulation.run()
            } catch let error as Simulation.Violation where !error.description.hasPrefix("I1") {
                continue
            } catch {
                print("without rule: \(fault.testDescription): seed \(seed): \(error)")
                return
            }
        }
        Issue.record("no run broke an invariant")
    }
}
