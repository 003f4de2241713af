import Platform
import Testing

@testable import Lab

@Suite("Formations: outcomes and their count")
struct FormationPureTests {
    @Test("an outcome is what the kernels say, and a refusal only what has changed nothing and is told")
    func outcomes() {
        func outcome(_ status: Int?, _ holders: [Int]) -> FormationTrial.Outcome {
            FormationTrial.outcome(status: status, holders: holders, giver: 1, named: 2)
        }
        #expect(outcome(200, [2]) == .meant)
        #expect(outcome(503, [2]) == .meant)
        #expect(outcome(409, [1]) == .refused)
        #expect(outcome(nil, [1]) == .refused)
        #expect(outcome(200, [1]) == .elsewhere)
        #expect(outcome(503, [3]) == .elsewhere)
        #expect(outcome(200, [3]) == .elsewhere)
        #expect(outcome(200, []) == .nobody)
        #expect(outcome(200, [1, 2]) == .nobody)
    }

    @Test("giver and successor may have the address for 100 ms, and nobody else for any time")
    func overlaps() {
        func overlap(_ nodes: Set<Int>, _ length: Int64) -> Timeline.Overlap {
            .init(address: Network.vip, nodes: nodes, start: BootInstant(nanoseconds: 0), length: .milliseconds(length))
        }
        #expect(FormationTrial.forbidden([overlap([1, 2], 99)], giver: 1, named: 2) == .zero)
        #expect(FormationTrial.forbidden([overlap([1, 2], 101)], giver: 1, named: 2) == .milliseconds(101))
        let others = [overlap([2, 3], 4), overlap([1, 2], 50), overlap([1, 2, 3], 2)]
        #expect(FormationTrial.forbidden(others, giver: 1, named: 2) == .milliseconds(4))
    }

    @Test("reasons that differ in numbers only are one, and the most frequent comes first")
    func reasons() {
        var tally = FormationTally(binary: "/x/dqlite-vip")
        func add(_ outcome: FormationTrial.Outcome, _ reason: String?, outage: Int64 = 3) {
            tally.add(
                FormationTrial(
                    number: 1, moment: .zero, outcome: outcome, reason: reason, outage: .milliseconds(outage)))
        }
        add(.meant, nil)
        add(.refused, "409 10.42.0.2:8800: it has not joined yet")
        add(.refused, "409 nobody")
        add(.refused, "409 10.42.0.31:8800: it has not joined yet")
        #expect(tally.reasons(of: .refused).map(\.count) == [2, 1])
        #expect(tally.reasons(of: .refused)[0].reason == "N N: it has not joined yet")
        #expect(!tally.isBad && tally.text.contains("refused: 3") && tally.text.contains("to whom it was meant for: 1"))
        add(.elsewhere, "503 10.42.0.3:8800 was elected", outage: 500)
        #expect(tally.isBad && tally.text.contains("elsewhere: 1, outage 500/500/500/500"))
    }

    @Test("a trial is bad when nobody had the address, when two had it, or when a log tells of an error")
    func bad() {
        func trial(_ change: (inout FormationTrial) -> Void) -> Bool {
            var trial = FormationTrial(number: 1, moment: .zero, outcome: .meant, outage: .zero)
            change(&trial)
            return trial.isBad
        }
        #expect(!trial { _ in })
        #expect(!trial { $0.vacancy = .milliseconds(100) } && trial { $0.vacancy = .milliseconds(101) })
        #expect(!trial { $0.forbidden = .milliseconds(1) } && trial { $0.forbidden = .milliseconds(2) })
        #expect(trial { $0.bad = ["node 1 logged: error"] })
        #expect(trial { $0.outcome = .nobody })
    }

    @Test("the same seed gives the same trials, spread over the first second and over both successors")
    func plans() {
        let plans = (1...500).map { FormationLab.Plan(seed: 7, number: $0) }
        #expect(plans == (1...500).map { FormationLab.Plan(seed: 7, number: $0) })
        #expect(plans.allSatisfy { $0.moment >= .zero && $0.moment <= .seconds(1) })
        #expect(plans.count { $0.moment < .milliseconds(200) } > 70)
        #expect((200...300).contains(plans.count { $0.neighbour == 1 }))
    }
}
