import Platform

/// Plans of what is asked for, and interrupts nobody.
extension NemesisCase {
    /// A failover soon after something has started, or after another one.
    func handOver(_ holder: Int, _ all: [Int], _ random: inout SeededGenerator) -> NemesisPlan {
        let started = all.randomElement(using: &random) ?? holder
        let asked = all.randomElement(using: &random) ?? holder
        let isNamed = Bool.random(using: &random)
        let isOrderly = Bool.random(using: &random)
        let neighbour = Int.random(in: 1..<all.count, using: &random)
        var preparation: [NemesisAction] = []
        var successor = isNamed ? NemesisAction.Successor.next(neighbour) : .anybody
        switch self {
        case .handOverAfterRestartOfAll: preparation = [.restartAll(orderly: isOrderly), .awaitHolder]
        case .handOverAfterRestartOfOne:
            // A holder that is killed would be missed for seconds: that is no plan.
            preparation =
                isOrderly || started == holder
                ? [.restart(node: started)] : [.kill(.both, node: started), .revive(node: started)]
            preparation += [.awaitMember(node: started), .awaitHolder]
            if isNamed { successor = .node(started) }
        case .handOverAfterWipe:
            preparation = [
                .wipe(node: started, orderly: isOrderly || started == holder), .awaitMember(node: started),
                .awaitHolder,
            ]
            if isNamed { successor = .node(started) }
        case .failOverTwice:
            let second = random.milliseconds(0...300)
            let back: NemesisAction.Successor = Bool.random(using: &random) ? .node(holder) : .anybody
            return NemesisPlan(
                steps: [
                    .init(.zero, .failOver(to: successor, at: asked)), .init(second, .failOver(to: back, at: asked)),
                ],
                length: second + .milliseconds(2000))
        default: preparation = [.formAnew]
        }
        let at = random.milliseconds(0...600)
        return NemesisPlan(
            preparation: preparation, steps: [.init(at, .failOver(to: successor, at: asked))],
            length: at + .milliseconds(2000))
    }

    /// One of two nodes goes, or comes.
    func pair(_ holder: Int, _ others: [Int], _ random: inout SeededGenerator) -> NemesisPlan {
        let other = others.first ?? holder
        let leaver = Bool.random(using: &random) ? holder : other
        let is2nd = Bool.random(using: &random)
        // Long enough for whatever looks once a second.
        let time = random.milliseconds(2500...3500)
        if self == .oneBecomesTwo {
            let at = random.milliseconds(0...1000)
            return NemesisPlan(
                preparation: [
                    .remove(node: leaver, through: leaver == holder ? other : holder), .leave(node: leaver), .awaitRest,
                ],
                steps: [.init(at, .join(node: leaver, wiped: is2nd)), .init(at, .awaitFormation)], length: at + time)
        }
        let asked = Bool.random(using: &random) ? holder : other
        return NemesisPlan(
            steps: [
                .init(.zero, is2nd ? .remove(node: leaver, through: asked) : .leave(node: leaver)),
                .init(time, .revive(node: leaver)),
            ],
            length: time + .milliseconds(500))
    }
}

/// Plans against the rules that leases and logs rest on.
extension NemesisCase {
    /// A follower's frames wait in its buffers, and when it reads them the third node is away.
    static func late(_ holder: Int, _ others: [Int], _ random: inout SeededGenerator) -> NemesisPlan {
        let (follower, third) = (others[0], others[1])
        let isCut = Bool.random(using: &random)
        let cut = random.milliseconds(0...100)
        let awake = random.milliseconds(150...300)
        let back = awake + random.milliseconds(100...1000)
        return NemesisPlan(
            steps: [
                .init(.zero, .stop(.daemon, node: follower)),
                .init(cut, isCut ? .link(node: third, up: false) : .stop(.daemon, node: third)),
                .init(awake, .resume(node: follower)),
                .init(back, isCut ? .link(node: third, up: true) : .resume(node: third)),
            ],
            length: back + .milliseconds(500))
    }

    /// The leader stands still under writes, with some that nobody else has; it goes on when another one leads and the third
    /// is away, and then whoever may have led dies.
    static func deposed(_ holder: Int, _ others: [Int], _ random: inout SeededGenerator) -> NemesisPlan {
        let away = random.milliseconds(250...600)
        let awake = away + random.milliseconds(5...60)
        let death = awake + random.milliseconds(20...150)
        let back = death + random.milliseconds(500...3000)
        return NemesisPlan(
            steps: [
                .init(.zero, .stop(.daemon, node: holder)), .init(away, .stop(.daemon, node: others[0])),
                .init(awake, .resume(node: holder)), .init(death, .kill(.both, node: others[1])),
                .init(death, .resume(node: others[0])), .init(back, .revive(node: others[1])),
            ],
            length: back + .milliseconds(500))
    }

    /// The most that chrony corrects by, in millionths.
    static let fastestSlew: Int64 = 83_000

    /// In half of the rounds the worst that can be: a slow holder, and two fast others.
    static func slewed(_ holder: Int, _ others: [Int], _ random: inout SeededGenerator) -> NemesisPlan {
        let worst = [-fastestSlew, fastestSlew, fastestSlew]
        let rates =
            Bool.random(using: &random) ? worst : [-fastestSlew, 0, fastestSlew].shuffled(using: &random)
        let back = random.milliseconds(1300...3000)
        return NemesisPlan(
            preparation: zip([holder] + others, rates).map { .slew(node: $0, rate: $1) } + [.awaitRest],
            steps: [.init(.zero, .link(node: holder, up: false)), .init(back, .link(node: holder, up: true))],
            length: back + .milliseconds(500))
    }
}
