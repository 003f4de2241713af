import Platform
import Testing

@testable import Lab

/// The judgement of the nemesis: if it were blind, every round would be fine.
@Suite("Nemesis: plans and reckoning")
struct NemesisPureTests {
    private let vip = Network.vip

    private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

    private func event(_ milliseconds: Int64, _ node: Int, _ isPresent: Bool) -> Timeline.Event {
        let change = AddressChange(address: vip, prefixLength: 24, interface: 2, isPresent: isPresent, validLifetime: 1)
        return Timeline.Event(time: at(milliseconds), node: node, change: change)
    }

    @Test("each overlap is told with its nodes, and one that a third joins is told in parts")
    func overlaps() {
        let timeline = Timeline(events: [
            event(10, 1, true), event(30, 2, true), event(35, 3, true), event(40, 1, false), event(41, 3, false),
            event(60, 1, true), event(60, 2, false),
        ])
        let found = timeline.overlaps(of: vip, from: at(0), to: at(100))
        #expect(
            found == [
                .init(address: vip, nodes: [1, 2], start: at(30), length: .milliseconds(5)),
                .init(address: vip, nodes: [1, 2, 3], start: at(35), length: .milliseconds(5)),
                .init(address: vip, nodes: [2, 3], start: at(40), length: .milliseconds(1)),
            ])
    }

    @Test("what a host without power has is no overlap and serves nobody; what it has before and after is")
    func powerless() {
        let timeline = Timeline(events: [
            event(10, 1, true), event(30, 2, true), event(80, 1, false), event(90, 2, false),
        ])
        let off = [Timeline.Interval(node: 1, start: at(20), end: at(70))]
        #expect(timeline.overlaps(of: vip, from: at(0), to: at(100), absent: off).map(\.length) == [.milliseconds(10)])
        #expect(timeline.vacancy(of: vip, from: at(10), to: at(90), absent: off) == .milliseconds(10))
        #expect(timeline.vacancy(of: vip, from: at(10), to: at(90)) == .zero)
        let forEver = [Timeline.Interval(node: 1, start: at(20), end: nil)]
        #expect(timeline.overlaps(of: vip, from: at(0), to: at(100), absent: forEver).isEmpty)
        let late = [Timeline.Interval(node: 1, start: at(85), end: at(95))]
        #expect(timeline.overlaps(of: vip, from: at(0), to: at(100), absent: late).map(\.length) == [.milliseconds(50)])
    }

    @Test("the longest time without a holder counts the ends of the window, too")
    func vacancy() {
        let timeline = Timeline(events: [
            event(20, 1, true), event(30, 1, false), event(45, 2, true), event(50, 2, false),
        ])
        #expect(timeline.vacancy(of: vip, from: at(20), to: at(50)) == .milliseconds(15))
        #expect(timeline.vacancy(of: vip, from: at(0), to: at(50)) == .milliseconds(20))
        #expect(timeline.vacancy(of: vip, from: at(20), to: at(100)) == .milliseconds(50))
        #expect(timeline.vacancy(of: vip, from: at(60), to: at(100)) == .milliseconds(40))
    }

    @Test("a register may hold the last acknowledged value or one of unknown fate, and nothing else")
    func register() {
        var history = RegisterHistory()
        history.writes = [
            .init("a", .acknowledged, from: at(0), to: at(10)), .init("b", .unknown, from: at(20), to: at(30)),
            .init("c", .acknowledged, from: at(40), to: at(50)), .init("d", .refused, from: at(60), to: at(70)),
        ]
        #expect(history.possible(initial: "start") == ["b", "c"])
        #expect(history.objection(to: "c", initial: "start") == nil)
        #expect(history.objection(to: "b", initial: "start") == nil)
        #expect(history.objection(to: "a", initial: "start")?.contains("lost") == true)
        #expect(history.objection(to: "d", initial: "start")?.contains("refused") == true)
        #expect(history.objection(to: "start", initial: "start") != nil)
        #expect(history.objection(to: "", initial: "start") != nil)
        #expect(RegisterHistory().objection(to: "start", initial: "start") == nil)
    }

    @Test("a set has what was acknowledged, nothing that was refused or taken out, and of unknown fate either")
    func set() {
        var history = SetHistory()
        history.changes = [
            .init(add: "a", .acknowledged), .init(add: "b", .unknown), .init(add: "c", .refused),
            .init(add: "d", .acknowledged), .init(add: "e", drop: "a", .acknowledged),
            .init(add: "f", drop: "d", .unknown), .init(add: "g", drop: "e", .refused),
        ]
        func objections(_ found: [String]) -> [String] { history.objections(to: found, initial: ["start"]) }
        for good in [["start", "d", "e"], ["start", "b", "e", "f"], ["e", "b", "start"]] {
            #expect(objections(good).isEmpty, "\(good)")
        }
        #expect(objections(["start", "d"]) == [#"lost from the set: ["e"]"#])
        #expect(objections(["d", "e"]) == [#"lost from the set: ["start"]"#])
        for risen in ["a", "c", "g", "x"] {
            #expect(objections(["start", "e", risen]).first?.hasSuffix(#"["\#(risen)"]"#) == true)
        }
        #expect(objections(["start", "e", "e"]).first?.contains("twice") == true)
    }

    @Test("of writes at the same time either may be the last, and one that ended before another began may not")
    func concurrentWrites() {
        var history = RegisterHistory()
        history.writes = [
            .init("a", .acknowledged, from: at(0), to: at(30)), .init("b", .acknowledged, from: at(10), to: at(20)),
            .init("c", .acknowledged, from: at(25), to: at(40)),
        ]
        #expect(history.possible(initial: "start") == ["a", "c"])
        history.writes.append(.init("d", .acknowledged, from: at(41), to: at(42)))
        #expect(history.possible(initial: "start") == ["d"])
    }

    @Test("the same seed gives the same plan, and another seed another one", arguments: NemesisCase.allCases)
    func plans(trouble: NemesisCase) {
        var different: [NemesisPlan] = []
        for seed in UInt64(1)...200 {
            let plan = trouble.plan(holder: 2, seed: seed)
            #expect(plan == trouble.plan(holder: 2, seed: seed))
            #expect(!plan.steps.isEmpty)
            #expect(plan.steps.map(\.at) == plan.steps.map(\.at).sorted())
            #expect(plan.length < .seconds(25))
            if !different.contains(plan) { different.append(plan) }
        }
        // What is done at once, and undone by nobody, has nothing to vary.
        let fixed: Set<NemesisCase> = [.killDaemon, .terminate]
        #expect(fixed.contains(trouble) || different.count > 4)
    }

    @Test("times of stops are spread over their whole range")
    func spread() {
        let times = (UInt64(1)...500).compactMap { NemesisCase.stopBoth.plan(holder: 1, seed: $0).steps.last?.at }
        #expect(times.allSatisfy { $0 >= .milliseconds(200) && $0 <= .seconds(10) })
        #expect(times.count { $0 < .seconds(1) } > 50)
        #expect(times.count { $0 > .seconds(4) } > 40)
    }

    @Test("the steps at the end that put things right are told from trouble")
    func relief() {
        #expect(NemesisCase.linkCut.plan(holder: 1, seed: 1).firstRelief == 1)
        #expect(NemesisCase.killDaemon.plan(holder: 1, seed: 1).firstRelief == nil)
        let flapping = NemesisCase.flappingLink.plan(holder: 1, seed: 1)
        #expect(flapping.firstRelief == flapping.steps.count - 1)
    }

    @Test("a partition closes both directions between groups and none within; in a ring each node sees two")
    func traffic() {
        let rules = TrafficRules.partition([[1, 2], [3]])
        #expect(
            rules.closed == [
                .init(from: 1, to: 3), .init(from: 3, to: 1), .init(from: 2, to: 3), .init(from: 3, to: 2),
            ])
        let ring = TrafficRules.ring(of: 5)
        for node in 1...5 {
            #expect(ring.closed.count { $0.from == node } == 2)
            #expect(ring.closed.count { $0.to == node } == 2)
            #expect(!ring.closed.contains(.init(from: node, to: node % 5 + 1)))
        }
    }

    @Test("lines at level error and crashes are found, and a word in a message is not a level")
    func logs() {
        #expect(LogMarks.isBad("2026-11-21T14:37:58.266Z critical dqlite-vip: gone"))
        #expect(LogMarks.isBad("2026-11-21T14:37:58.266Z error dqlite-vip: gone"))
        #expect(LogMarks.isBad("dqlite-vip: transport.c:1: x: Assertion `y' failed."))
        #expect(!LogMarks.isBad("2026-11-21T14:37:58.266Z info dqlite-vip: no error here"))
        #expect(!LogMarks.isBad("2026-11-21T14:37:58.266Z warning dqlite-vip: slow"))
    }

    @Test("the report counts rounds, failures and times, and says how a failure can be seen again")
    func report() {
        var report = NemesisReport(seed: 7, binary: "/x/dqlite-vip")
        for index in 0..<3 {
            var round = NemesisRound(.linkCut, seed: 7 + UInt64(index))
            round.outage = .milliseconds(100 * Int64(index + 1))
            round.overlap = .milliseconds(Int64(index))
            if index == 2 { round.findings = ["two holders: for 2 ms"] }
            report.rounds.append(round)
        }
        #expect(report.failures.map(\.seed) == [9])
        #expect(report.page.contains("| 3 | **1** | – | 100/200/300/300 |"))
        #expect(report.page.contains("--case link-cut --seed 9 --rounds 1"))
        #expect(report.page.contains("two holders: for 2 ms"))
    }

    @Test("the 99th of a hundred values is the percentile, and of fewer the largest")
    func percentile() {
        #expect(Distribution((1...100).map { .milliseconds($0) })?.percentile99 == .milliseconds(99))
        #expect(Distribution((1...200).map { .milliseconds($0) })?.percentile99 == .milliseconds(198))
        #expect(Distribution((1...10).map { .milliseconds($0) })?.percentile99 == .milliseconds(10))
        #expect(Distribution([.milliseconds(3)])?.percentile99 == .milliseconds(3))
    }
}
