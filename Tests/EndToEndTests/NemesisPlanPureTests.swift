import Platform
import Testing

@testable import Lab

/// The kinds of trouble around hand-overs, members and clocks: what they do, and how two holders are judged in them.
@Suite("Nemesis: plans of hand-overs, members and clocks")
struct NemesisPlanPureTests {
    private func at(_ milliseconds: Int64) -> BootInstant { BootInstant(nanoseconds: milliseconds * 1_000_000) }

    private func plans(_ trouble: NemesisCase) -> [NemesisPlan] {
        (UInt64(1)...400).map { trouble.plan(holder: 2, seed: $0) }
    }

    private static let soonAfterStart: [NemesisCase] = [
        .earlyHandOver, .handOverAfterRestartOfAll, .handOverAfterRestartOfOne, .handOverAfterWipe,
    ]

    @Test(
        "a hand-over soon after a start is asked for at every moment of its 600 ms, in half of the rounds to a named node",
        arguments: soonAfterStart)
    func soon(trouble: NemesisCase) throws {
        let plans = plans(trouble)
        #expect(plans.allSatisfy { !$0.preparation.isEmpty && $0.steps.count == 1 })
        let times = plans.compactMap { $0.steps.first?.at }
        #expect(times.allSatisfy { $0 >= .zero && $0 <= .milliseconds(600) })
        #expect(times.count { $0 < .milliseconds(100) } > 30 && times.count { $0 > .milliseconds(500) } > 30)
        let unnamed = plans.count { plan in
            if case .failOver(.anybody, _) = plan.steps[0].action { true } else { false }
        }
        #expect((150...250).contains(unnamed))
        // What comes of it is watched for longer than an election may take.
        #expect(plans.allSatisfy { $0.length >= $0.steps[0].at + .milliseconds(1500) })
    }

    @Test(
        "the node that was started is the one that is named",
        arguments: [NemesisCase.handOverAfterRestartOfOne, .handOverAfterWipe])
    func started(trouble: NemesisCase) {
        for plan in plans(trouble) {
            guard case .failOver(.node(let named), _) = plan.steps[0].action else { continue }
            #expect(plan.preparation.contains(.awaitMember(node: named)))
        }
    }

    @Test("the kills come 0 to 30 ms after the SIGTERM, to the same node")
    func severed() {
        for plan in plans(.terminateThenKill) {
            #expect(plan.steps[0].action == .terminate(node: 2) && plan.steps[1].action == .kill(.both, node: 2))
            #expect(plan.steps[1].at <= .milliseconds(30))
        }
        #expect(Set(plans(.terminateThenKill).map { $0.steps[1].at }).count == 31)
    }

    @Test("of two nodes either goes, by request or by itself, and comes back on its old disk or an empty one")
    func pair() {
        let gone = Set(plans(.twoBecomeOne).map { "\($0.steps[0].action)" })
        #expect(gone.count == 6, "\(gone.sorted())")
        let come = Set(plans(.oneBecomesTwo).map { "\($0.steps[0].action)" })
        #expect(come.count == 4, "\(come.sorted())")
        #expect(plans(.oneBecomesTwo).allSatisfy { $0.preparation.last == .awaitRest })
        // What puts things right is not part of what is measured.
        #expect(plans(.twoBecomeOne).allSatisfy { $0.firstRelief == 1 && $0.steps[1].at >= .seconds(2) })
        #expect(plans(.oneBecomesTwo).allSatisfy { $0.firstRelief == nil })
    }

    @Test("a second hand-over comes within 300 ms, in half of the rounds to the node that had the lead at first")
    func twice() {
        let plans = plans(.failOverTwice)
        #expect(plans.allSatisfy { $0.steps.count == 2 && $0.steps[1].at <= .milliseconds(300) })
        let back = plans.count { plan in
            if case .failOver(.node(2), _) = plan.steps[1].action { true } else { false }
        }
        #expect((150...250).contains(back))
    }

    @Test("a slow holder and fast others in half of the rounds, and no clock faster than chrony makes it")
    func slewed() {
        let plans = plans(.slewedClocks)
        let worst = plans.count { $0.preparation.contains(.slew(node: 2, rate: -83_000)) }
        #expect(worst > 200 && worst < 330)
        for plan in plans {
            let rates = plan.preparation.compactMap { action -> Int64? in
                if case .slew(_, let rate) = action { rate } else { nil }
            }
            #expect(rates.count == 3 && rates.allSatisfy { abs($0) <= 83_000 })
            #expect(rates.contains(83_000) && rates.contains(-83_000))
        }
    }

    @Test("the nodes stand still together for some time, and are continued whatever happens to the third")
    func stopped() {
        for plan in plans(.stoppedFollower) {
            let stops = plan.steps.filter { if case .stop(.daemon, _) = $0.action { true } else { false } }
            #expect(!stops.isEmpty && plan.steps[0].at == .zero)
            for case .stop(_, let node) in stops.map(\.action) {
                #expect(plan.steps.contains { $0.action == .resume(node: node) })
            }
        }
    }

    @Test("two holders are planned, severed, unheard or forbidden, by what was done to them and when")
    func meanings() {
        func overlap(_ nodes: Set<Int>, _ start: Int64, _ length: Int64) -> Timeline.Overlap {
            .init(address: Network.vip, nodes: nodes, start: at(start), length: .milliseconds(length))
        }
        var record = NemesisLab.Record()
        record.planned = [(1, at(1000))]
        #expect(record.meaning(of: overlap([1, 2], 1010, 5)) == .planned)
        #expect(record.meaning(of: overlap([1, 2], 990, 5)) == .forbidden)
        #expect(record.meaning(of: overlap([1, 2], 6001, 5)) == .forbidden)
        // The two that were elected, and neither is the one that gave the lead.
        #expect(record.meaning(of: overlap([2, 3], 1010, 5)) == .forbidden)

        record.lifeless = [(1, at(1015), true)]
        // Both had it when the one was killed.
        #expect(record.meaning(of: overlap([1, 2], 1010, 900)) == .severed)
        // The hand-over was over before.
        #expect(record.meaning(of: overlap([1, 2], 1005, 5)) == .planned)
        // Claimed from a dead host, and too late to be what it had told.
        #expect(record.meaning(of: overlap([1, 2], 1034, 900)) == .severed)
        #expect(record.meaning(of: overlap([1, 2], 1036, 900)) == .forbidden)
        record.lifeless = [(1, at(1015), false)]
        #expect(record.meaning(of: overlap([1, 2], 1036, 50)) == .planned)

        record.planned = []
        record.lifeless = [(1, at(1000), true)]
        record.cut = [.init(node: 1, start: at(1010), end: nil)]
        #expect(record.meaning(of: overlap([1, 2], 1200, 500)) == .unheard)
        #expect(record.meaning(of: overlap([2, 3], 1200, 500)) == .forbidden)
    }

    @Test("who has any virtual address is known, whichever it is, and a node's own address is none")
    func anyHolder() {
        func event(_ node: Int, _ address: IPAddress, _ isPresent: Bool) -> Timeline.Event {
            let change = AddressChange(
                address: address, prefixLength: 24, interface: 2, isPresent: isPresent, validLifetime: 1)
            return Timeline.Event(time: at(1), node: node, change: change)
        }
        let (own, other) = (Network.address(ofNode: 1), Network.vip6)
        var events = [event(1, own, true), event(2, Network.vip, true), event(3, other, true)]
        #expect(Timeline(events: events).holders(ofAnyBut: [own]) == [2, 3])
        events += [event(2, Network.vip, false), event(1, other, true)]
        #expect(Timeline(events: events).holders(ofAnyBut: [own]) == [1, 3])
        #expect(Timeline(events: []).holders(ofAnyBut: []).isEmpty)
    }

    @Test("what was planned may cost so much, and what the client did not ask does not count")
    func outage() {
        var record = ProbeRecord()
        record.replies = [0, 1, 2, 30, 31, 32].map { .init(sentAt: at($0), receivedAt: at($0), node: 1) }
        var view = FailoverView(record, fault: at(0), end: at(32), lead: .zero)
        #expect(view.outage == .milliseconds(28))
        #expect(view.exceeds(.milliseconds(20)) && !view.exceeds(.milliseconds(28)))
        record.stalls = [.init(end: at(29), length: .milliseconds(25))]
        view = FailoverView(record, fault: at(0), end: at(32), lead: .zero)
        #expect(!view.exceeds(.milliseconds(20)))
        // From the time before the fault only as much is looked at as was asked for.
        #expect(FailoverView(record, fault: at(100), end: at(101), lead: .milliseconds(10)).outage == .milliseconds(11))
    }

    @Test("why a node took over is the last word of its log on that")
    func reason() {
        let log = """
            a info dqlite-vip: took over the virtual IP raft.term=4 takeover.reason=dead takeover.total.ms=13.1
            b info dqlite-vip: took over the virtual IP raft.term=5 takeover.reason=transferred
            c info dqlite-vip: stopping
            """
        #expect(LogMarks.reasonOfLastTakeover(log) == "transferred")
        #expect(LogMarks.reasonOfLastTakeover("c info dqlite-vip: stopping") == nil)
    }

    @Test("a daemon that a signal of its own doing ended is a crash, and one that was killed is none")
    func crashes() {
        let words = "2026-11-21T14:37:58.266Z info dqlite-vip guard: the daemon was ended by signal"
        #expect(LogMarks.isBad("\(words) 11 (Segmentation fault) after 3 s"))
        #expect(LogMarks.isBad("\(words) 6 (Aborted) after 3 s"))
        #expect(!LogMarks.isBad("\(words) 9 (Killed) after 3 s"))
        #expect(!LogMarks.isBad("\(words) 15 (Terminated) after 3 s"))
    }
}
