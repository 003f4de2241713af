import Testing

@testable import Cluster

/// Each rule of the safety argument is needed: without it the simulation finds a run that breaks an invariant.
@Suite("bootstrap rules")
struct BootstrapRuleTests {
    struct Fault: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// Where the search begins: a little before a run that breaks an invariant, so that it is found soon. After a change
        /// of the core or of the simulation it may be elsewhere; then the search takes longer, and wants a new number.
        var firstSeed: UInt64
        var change: @Sendable (inout BootstrapCore.Rules) -> Void
    }

    static let faults = [
        Fault(testDescription: "a majority of the founding set is enough to found", firstSeed: 350) {
            $0.unanimity = false
        },
        Fault(testDescription: "a node promises itself twice", firstSeed: 50) { $0.exclusiveAgreement = false },
        Fault(testDescription: "one withdrawal frees a member", firstSeed: 3260) { $0.withdrawalNeedsLosses = false },
        Fault(testDescription: "an old answer of the founder frees a member", firstSeed: 110) {
            $0.wordAfterPromise = false
        },
        Fault(testDescription: "a late proposal binds a member that has left it", firstSeed: 5380) {
            $0.generations = false
        },
        Fault(testDescription: "a founding set need not be more than half of what is known", firstSeed: 0) {
            $0.majorityOfKnown = false
        },
        Fault(testDescription: "a node with state founds another cluster", firstSeed: 190) {
            $0.stateNeverPromises = false
        },
        Fault(testDescription: "a founder gives up after it added members", firstSeed: 2500) {
            $0.noWayBackAfterAdmitting = false
        },
        Fault(testDescription: "a member that accepted withdraws", firstSeed: 70) { $0.acceptedNeverWithdraws = false },
        Fault(testDescription: "a cluster is formed without a majority of its founding set", firstSeed: 0) {
            $0.formedNeedsMajority = false
        },
    ]

    @Test("a founder by claim has to ask the store again before its cluster is formed")
    func claimTwice() {
        var rules = BootstrapCore.Rules()
        rules.claimBeforeForming = false
        for seed in 0..<UInt64(20_000) {
            var simulation = Simulation(SimSchedule(claiming: seed), rules: rules, onlyClusters: true)
            do {
                _ = try simulation.run()
            } catch let error as Simulation.Violation where error.description.hasPrefix("I1") {
                return
            } catch {
                continue
            }
        }
        Issue.record("no run broke an invariant")
    }

    @Test("each safety rule is needed", arguments: faults)
    func needed(fault: Fault) {
        var rules = BootstrapCore.Rules()
        fault.change(&rules)
        let limit = Environment.number("DQLITE_VIP_SIM_FAULT_SCHEDULES") ?? 20_000
        for seed in fault.firstSeed..<fault.firstSeed + limit {
            var simulation = Simulation(SimSchedule(seed: seed, harsh: true), rules: rules, onlyClusters: true)
            do {
                _ = try simulation.run()
            } catch let error as Simulation.Violation where !error.description.hasPrefix("I1") {
                continue
            } catch {
                return
            }
        }
        Issue.record("no run broke an invariant")
    }
}
