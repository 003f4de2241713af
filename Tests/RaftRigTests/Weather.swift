import RaftRig

/// What befalls a cluster in one run, drawn from its seed. Times are in nanoseconds.
struct Weather {
    static let ms: Int64 = 1_000_000

    var seed: UInt64
    var count: Int
    /// Trouble until here; then calm.
    var calmAt: Int64
    /// Mean time between two of a kind; nil for none.
    var crashes: Int64?
    var cuts: Int64?
    var disconnections: Int64?
    var pauses: Int64?
    var transfers: Int64?
    /// Changes of roles; the last voters but so many stay.
    var changes: Int64?
    var leastVoters = 2
    var writes: Int64
    /// Per thousand parts of a way, those that take long, and how long at most.
    var slow: Int64
    var longest: Int64
    /// How long a disk takes at most, and how long now and then.
    var disk: Int64
    var slowDisk: Int64
    /// Per thousand starts, those after which the lead is handed to the new process at once.
    var early: Int64

    init(seed: UInt64) {
        var dice = Dice(seed ^ 0x0BAD_5EED)
        func perhaps(_ mean: Int64, _ perThousand: Int64 = 650) -> Int64? {
            dice.chance(perThousand: perThousand) ? mean * Self.ms : nil
        }
        self.seed = seed
        count = dice.chance(perThousand: 700) ? 3 : dice.chance(perThousand: 500) ? 5 : 4
        calmAt = (1000 + dice.below(2500)) * Self.ms
        crashes = perhaps(700)
        cuts = perhaps(400)
        disconnections = perhaps(300, 400)
        pauses = perhaps(600, 400)
        transfers = perhaps(400)
        writes = (5 + dice.below(80)) * Self.ms
        slow = dice.chance(perThousand: 500) ? dice.below(60) : 0
        longest = (5 + dice.below(300)) * Self.ms
        disk = (1 + dice.below(4)) * Self.ms
        slowDisk = dice.chance(perThousand: 500) ? (20 + dice.below(400)) * Self.ms : disk
        early = dice.chance(perThousand: 500) ? 700 : 0
        // Each fourth run is one of these.
        if seed % 4 == 1 { temptVotes() }
        if seed % 8 == 3 { temptRestarts() }
        if seed % 8 == 7 { changes = (50 + dice.below(200)) * Self.ms }
    }

    /// Leaders that hear nobody, hand over all the same, and are heard late.
    mutating func temptVotes() {
        count = 3 + 2 * (count % 2)
        cuts = 150 * Self.ms
        transfers = 100 * Self.ms
        crashes = nil
        pauses = nil
        slow = 30
        longest = 300 * Self.ms
        calmAt = 4000 * Self.ms
    }

    /// Processes that are back at once, and elections.
    mutating func temptRestarts() {
        count = 3
        crashes = 150 * Self.ms
        cuts = 200 * Self.ms
        transfers = 300 * Self.ms
        early = 0
    }
}
