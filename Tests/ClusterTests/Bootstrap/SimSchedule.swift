import Platform

@testable import Cluster

/// One run of the simulation, drawn from its seed: who there is, what they were told, and what befalls them.
struct SimSchedule {
    struct Node {
        var mode: BootstrapOptions.Mode
        var nonVoter = false
        var startsAt: Int64
        /// Stays down from the end of the faults on.
        var dies = false
    }

    var seed: UInt64
    var nodes: [Node] = []
    var expect: Int
    /// Fewer than 2·expect identities ever: then discovery may say anything while the faults last. Otherwise all nodes discover
    /// all addresses, and no disk is lost.
    var smallWorld: Bool
    var deadAddresses: Int
    /// The faults end here; nanoseconds.
    var calmAt: Int64
    /// Per thousand messages, while the faults last.
    var loss: UInt64 = 0
    var duplication: UInt64 = 0
    var slow: UInt64 = 0
    /// Per ten thousand directives: the process dies before it.
    var crashes: UInt64 = 0
    var partitions = 0
    var wipes = 0
    var raftWipes = 0
    var timing: BootstrapTiming
    /// No node expects others: a store says who founds.
    var claims = false
    /// Nanoseconds.
    var longestDowntime: UInt64 = 150_000_000
    /// The times of production although there are faults.
    var patient = false

    var isFaultless: Bool {
        loss + duplication + slow + crashes == 0 && partitions + wipes + raftWipes == 0 && !nodes.contains { $0.dies }
    }

    /// Shorter patience than in production, so that a run of a second sees withdrawals and dissolutions.
    private static var impatience: BootstrapTiming {
        var timing = BootstrapTiming()
        timing.hearingWindow = .milliseconds(300)
        timing.helloTimeout = .milliseconds(100)
        timing.proposalTimeout = .milliseconds(150)
        timing.retry = .milliseconds(40)
        timing.withdrawAfter = .milliseconds(250)
        timing.dissolveAfter = .milliseconds(400)
        timing.inviteTimeout = .milliseconds(150)
        timing.joinTimeout = .milliseconds(300)
        timing.lookUp = .milliseconds(200)
        timing.claimRetry = .milliseconds(100)
        timing.claimMargin = .milliseconds(100)
        return timing
    }

    /// From the end of the faults until all that are up must be members; nanoseconds.
    ///
    /// Without faults it is the two seconds of I7. With them what they left behind has to be cleared away first: requests
    /// that nobody answers any more, a silent founder (`withdrawAfter`), a founder without followers
    /// (`dissolveAfter`), a back-off.
    var bound: Int64 {
        isFaultless ? 2_000_000_000 : patient ? 12_000_000_000 : 3_000_000_000
    }

    /// Two to five nodes that are told of a store and of no number; processes that stay away for longer than the store
    /// waits, slow and lost questions, one-way partitions.
    init(claiming seed: UInt64) {
        self.init(seed: seed)
        var random = BootstrapRandom(seed: seed ^ 0xC1A1)
        let count = 2 + Int(random.below(4))
        let faulty = random.below(10) > 0
        claims = true
        smallWorld = true
        expect = 1
        wipes = 0
        raftWipes = 0
        deadAddresses = 0
        nodes = (0..<count).map { _ in Node(mode: .claim, startsAt: Int64(random.below(80_000_000))) }
        timing = Self.impatience
        patient = false
        guard faulty else {
            (loss, duplication, slow, crashes, partitions) = (0, 0, 0, 0, 0)
            calmAt = nodes.map(\.startsAt).max() ?? 0
            return
        }
        calmAt = 400_000_000 + Int64(random.below(2_000_000_000))
        loss = random.below(200)
        crashes = random.below(600)
        longestDowntime = [150_000_000, 1_500_000_000][Int(random.below(2))]
    }

    /// - Parameters:
    ///   - seed: what everything is drawn from.
    ///   - onlyHarsh: few nodes in common between founding sets, and many faults: what is rare becomes less rare. Else
    ///     one run in five is like that.
    init(seed: UInt64, harsh onlyHarsh: Bool = false) {
        var random = BootstrapRandom(seed: seed)
        let harsh = onlyHarsh || random.below(5) == 0
        self.seed = seed
        let size = random.below(100)
        let count =
            harsh
            ? [3, 4, 5, 5][Int(random.below(4))] : size < 60 ? 3 : size < 76 ? 4 : size < 91 ? 5 : size < 96 ? 6 : 7
        smallWorld = count < 4 || random.below(100) < 60
        expect =
            harsh && smallWorld
            ? count / 2 + 1
            : smallWorld
                ? count / 2 + 1 + Int(random.below(UInt64(count - count / 2)))
                : 2 + Int(random.below(UInt64(count / 2 - 1)))
        let kind = random.below(100)
        let faulty = harsh || kind >= 15
        calmAt = 0
        deadAddresses = 0
        timing = BootstrapTiming()
        let spread: Int64 = random.below(10) == 0 ? 800_000_000 : 60_000_000
        for _ in 0..<count {
            nodes.append(Node(mode: .expect(expect), startsAt: Int64(random.below(UInt64(spread)))))
        }
        guard faulty else {
            calmAt = nodes.map(\.startsAt).max() ?? 0
            return
        }
        calmAt = [150_000_000, 400_000_000, 900_000_000][Int(random.below(3))] + Int64(random.below(100_000_000))
        patient = random.below(60) == 0
        if patient {
            calmAt = Int64(random.below(6_000_000_000))
        } else {
            timing = Self.impatience
        }
        if random.below(3) > 0 { loss = random.below(150) }
        if random.below(3) > 0 { duplication = random.below(100) }
        if random.below(3) > 0 { slow = random.below(150) }
        if random.below(4) > 0 { crashes = 20 + random.below(400) }
        if random.below(2) > 0 { partitions = 1 + Int(random.below(4)) }
        if harsh {
            calmAt = 900_000_000 + Int64(random.below(600_000_000))
            loss = 50
            duplication = 300
            slow = 50 + random.below(300)
            crashes = random.below(150)
            partitions = 4 + Int(random.below(5))
        }
        // Losses for ever, as far as the guarantees go.
        var identities = count
        if smallWorld {
            while identities + 1 < 2 * expect, random.below(4) == 0 {
                identities += 1
                if random.below(3) == 0 { raftWipes += 1 } else { wipes += 1 }
            }
        }
        if random.below(4) == 0 {
            var alive = count
            while alive - 1 >= expect, 2 * (alive - 1) > count, random.below(2) == 0 {
                alive -= 1
                nodes[alive].dies = true
            }
        }
        let alive = nodes.count { !$0.dies }
        while 2 * alive > count + deadAddresses + 1, random.below(4) == 0 { deadAddresses += 1 }
        // One that never founds, when there are enough without it.
        let last = count - 1
        if alive == count, alive - 1 >= expect, 2 * (alive - 1) > count + deadAddresses, random.below(4) == 0 {
            nodes[last].mode = random.below(2) == 0 ? .joinOnly : .expect(expect + 1)
            nodes[last].nonVoter = nodes[last].mode == .joinOnly && random.below(2) == 0
        }
    }
}
