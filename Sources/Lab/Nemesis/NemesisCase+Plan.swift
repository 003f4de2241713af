import Platform

extension NemesisCase {
    /// The steps of one round.
    ///
    /// `holder`: the node that has the VIP.
    /// `seed`: the same seed, holder and count give the same plan.
    public func plan(holder: Int, seed: UInt64) -> NemesisPlan {
        var random = SeededGenerator(seed: seed)
        let all = Array(1...nodes)
        let others = all.filter { $0 != holder }.shuffled(using: &random)
        switch self {
        case .killDaemon:
            return NemesisPlan(steps: [.init(.zero, .kill(.daemon, node: holder))], length: .seconds(2))
        case .killGuard, .killBoth:
            let target: NemesisAction.Target = self == .killGuard ? .guardProcess : .both
            let back = random.milliseconds(300...3000)
            return NemesisPlan(
                steps: [.init(.zero, .kill(target, node: holder)), .init(back, .revive(node: holder))],
                length: back + .milliseconds(500))
        case .stopDaemon, .stopGuard, .stopBoth:
            let target: NemesisAction.Target =
                switch self {
                case .stopDaemon: .daemon
                case .stopGuard: .guardProcess
                default: .both
                }
            let back = random.milliseconds(logarithmic: 200...10_000)
            return NemesisPlan(
                steps: [.init(.zero, .stop(target, node: holder)), .init(back, .resume(node: holder))],
                length: back + .milliseconds(500))
        case .debugger:
            let back = random.milliseconds(logarithmic: 200...10_000)
            return NemesisPlan(
                steps: [.init(.zero, .debug(node: holder)), .init(back, .detach(node: holder))],
                length: back + .milliseconds(500))
        case .terminate:
            return NemesisPlan(steps: [.init(.zero, .restart(node: holder))], length: .seconds(1))
        case .rollingRestart:
            let order = all.shuffled(using: &random)
            return NemesisPlan(
                steps: order.flatMap {
                    [NemesisPlan.Step(.zero, .restart(node: $0)), NemesisPlan.Step(.zero, .awaitFormation)]
                }, length: .zero)
        case .powerOff:
            let back = random.milliseconds(500...3000)
            return NemesisPlan(
                steps: [.init(.zero, .powerOff(node: holder)), .init(back, .revive(node: holder))],
                length: back + .milliseconds(500))
        case .linkCut:
            return Self.cable(holder, for: random.milliseconds(logarithmic: 200...6000))
        case .flappingLink:
            return Self.flapping(holder, &random)
        case .silentPartition:
            return Self.traffic(.partition([[holder], [0] + others]), &random)
        case .peerPartition:
            return Self.traffic(.partition([[holder], others]), &random)
        case .deafPeers, .deafHolder:
            var rules = TrafficRules()
            for other in others {
                rules.closed.insert(
                    self == .deafPeers
                        ? TrafficRules.Way(from: holder, to: other) : TrafficRules.Way(from: other, to: holder))
            }
            return Self.traffic(rules, &random)
        case .minority:
            return Self.traffic(.partition([[holder, others[0]], Array(others[1...])]), &random)
        case .ringOfMajorities:
            return Self.traffic(.ring(of: nodes), &random)
        case .followerCut:
            return Bool.random(using: &random)
                ? Self.cable(others[0], for: random.milliseconds(logarithmic: 200...6000))
                : Self.traffic(.partition([[others[0]], [0] + all.filter { $0 != others[0] }]), &random)
        case .loss5, .loss30:
            var rules = TrafficRules()
            rules.loss = self == .loss5 ? 5 : 30
            let time = random.milliseconds(4000...8000)
            return NemesisPlan(
                steps: [.init(.zero, .traffic(rules)), .init(time, .traffic(TrafficRules()))],
                length: time + .milliseconds(500))
        case .deletedAddress:
            var at = Duration.zero
            var steps: [NemesisPlan.Step] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                steps.append(.init(at, .deleteAddress(node: holder)))
                at += random.milliseconds(logarithmic: 100...1500)
            }
            return NemesisPlan(steps: steps, length: at + .milliseconds(500))
        case .fullDisk:
            let back = random.milliseconds(12_000...20_000)
            return NemesisPlan(
                steps: [
                    .init(.zero, .fillDisk(node: holder)), .init(.zero, .awaitFullDisk(node: holder)),
                    .init(back, .freeDisk(node: holder)),
                ],
                length: back + .milliseconds(500))
        case .clockForward, .clockBack:
            let seconds: Int64 = self == .clockForward ? 3600 : -3600
            let victims = Bool.random(using: &random) ? [holder] : all
            let back = random.milliseconds(1500...4000)
            return NemesisPlan(
                steps: victims.map { .init(.zero, .wallClock(node: $0, seconds: seconds)) }
                    + victims.map { .init(back, .wallClock(node: $0, seconds: 0)) },
                length: back + .milliseconds(1500))
        case .starvedProcessors:
            let time = random.milliseconds(3000...6000)
            return NemesisPlan(
                steps: [.init(.zero, .starveProcessors(loops: 24, time))], length: time + .milliseconds(500))
        case .starvedDisk:
            let time = random.milliseconds(3000...6000)
            return NemesisPlan(steps: [.init(.zero, .starveDisk(writers: 3, time))], length: time + .milliseconds(500))
        case .twoFaults:
            return Self.two(holder, others, &random)
        case .earlyHandOver, .handOverAfterRestartOfAll, .handOverAfterRestartOfOne, .handOverAfterWipe, .failOverTwice:
            return handOver(holder, all, &random)
        case .terminateThenKill:
            let kill = random.milliseconds(0...30)
            let back = random.milliseconds(500...3000)
            return NemesisPlan(
                steps: [
                    .init(.zero, .terminate(node: holder)), .init(kill, .kill(.both, node: holder)),
                    .init(back, .revive(node: holder)),
                ],
                length: back + .milliseconds(500))
        case .twoBecomeOne, .oneBecomesTwo:
            return pair(holder, others, &random)
        case .stoppedFollower:
            return Bool.random(using: &random)
                ? Self.late(holder, others, &random) : Self.deposed(holder, others, &random)
        case .slewedClocks:
            return Self.slewed(holder, others, &random)
        }
    }

    private static func cable(_ node: Int, for time: Duration) -> NemesisPlan {
        NemesisPlan(
            steps: [.init(.zero, .link(node: node, up: false)), .init(time, .link(node: node, up: true))],
            length: time + .milliseconds(500))
    }

    private static func traffic(_ rules: TrafficRules, _ random: inout SeededGenerator) -> NemesisPlan {
        let time = random.milliseconds(logarithmic: 200...6000)
        return NemesisPlan(
            steps: [.init(.zero, .traffic(rules)), .init(time, .traffic(TrafficRules()))],
            length: time + .milliseconds(500))
    }

    private static func flapping(_ node: Int, _ random: inout SeededGenerator) -> NemesisPlan {
        var at = Duration.zero
        var steps: [NemesisPlan.Step] = []
        for _ in 0..<Int.random(in: 4...8, using: &random) {
            steps.append(.init(at, .link(node: node, up: false)))
            at += random.milliseconds(logarithmic: 20...800)
            steps.append(.init(at, .link(node: node, up: true)))
            at += random.milliseconds(logarithmic: 20...800)
        }
        return NemesisPlan(steps: steps, length: at + .milliseconds(500))
    }

    /// The first fault hits the holder, the second comes up to 100 ms later, there or at another node.
    private static func two(_ holder: Int, _ others: [Int], _ random: inout SeededGenerator) -> NemesisPlan {
        let second = Bool.random(using: &random) ? holder : others[0]
        let pause = random.milliseconds(0...100)
        let back = random.milliseconds(500...4000)
        var faults: [(NemesisAction, undone: NemesisAction?)] = []
        for (index, node) in [holder, second].enumerated() {
            let isCut = faults.contains { if case .link = $0.0 { true } else { false } }
            switch Int.random(in: 0..<(isCut && node == holder && index == 1 ? 4 : 5), using: &random) {
            case 0: faults.append((.kill(.daemon, node: node), nil))
            case 1: faults.append((.kill(.both, node: node), .revive(node: node)))
            case 2: faults.append((.stop(.both, node: node), .resume(node: node)))
            case 3: faults.append((.kill(.guardProcess, node: node), .revive(node: node)))
            default: faults.append((.link(node: node, up: false), .link(node: node, up: true)))
            }
        }
        var steps = zip([Duration.zero, pause], faults).map { NemesisPlan.Step($0, $1.0) }
        steps += faults.compactMap { fault in fault.undone.map { NemesisPlan.Step(back, $0) } }
        return NemesisPlan(steps: steps, length: back + .milliseconds(500))
    }
}
