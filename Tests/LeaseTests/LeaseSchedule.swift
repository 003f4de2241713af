/// A seeded source of numbers: SplitMix64.
struct SimRandom {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 ^ 0x1234_5678_9ABC_DEF1 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int64) -> Int64 { Int64(next().multipliedFullWidth(by: UInt64(bound)).high) }
    mutating func chance(_ perThousand: Int64) -> Bool { below(1000) < perThousand }
}

/// One run, drawn from its seed: how many nodes, and what befalls them.
struct LeaseSchedule {
    static let millisecond: Int64 = 1_000_000

    /// What happens to the holder in the end, when all is calm and settled.
    enum Blow: CaseIterable {
        /// Its process dies, the host goes on.
        case crash
        /// Nothing passes between it and the others any more.
        case cut
    }

    var seed: UInt64
    var count: Int
    var initialVoters: Int
    /// Faults until here; then calm.
    var calmAt: Int64
    /// How far the rate of a clock is off at most, in millionths.
    var drift: Int64 = 1000
    /// Per thousand messages.
    var loss: Int64
    var duplication: Int64
    var slow: Int64
    /// Mean time between two faults of a kind; nil: none.
    var crashes: Int64?
    var pauses: Int64?
    var partitions: Int64?
    var transfers: Int64?
    var changes: Int64?
    /// Mean time between two untimely elections of a node.
    var elections: Int64
    /// Mean time between two writes, before and after the calm; nil: none.
    var writes: Int64?
    /// The longest time that a term and a vote take to the disk, before a request for votes or a vote leaves.
    var disk: Int64 = 0
    /// Nodes without a vote are sent nothing, as dqlite's spares.
    var hasSpares: Bool
    var blow: Blow?

    init(seed: UInt64) {
        var random = SimRandom(seed ^ 0xA11C_E5ED)
        func perhaps(_ mean: Int64) -> Int64? { random.chance(600) ? mean * Self.millisecond : nil }
        self.seed = seed
        let size = random.below(10)
        count = size < 2 ? 2 : size < 6 ? 3 : size < 8 ? 4 : 5
        initialVoters = count > 3 && random.chance(500) ? count - 1 - Int(random.below(2)) : count
        calmAt = (600 + random.below(1200)) * Self.millisecond
        loss = random.chance(500) ? random.below(250) : 0
        duplication = random.chance(500) ? random.below(200) : 0
        slow = random.chance(600) ? random.below(300) : 0
        crashes = perhaps(150 + random.below(600))
        pauses = perhaps(150 + random.below(600))
        partitions = perhaps(150 + random.below(600))
        transfers = perhaps(200 + random.below(600))
        changes = perhaps(100 + random.below(400))
        elections = (60 + random.below(500)) * Self.millisecond
        writes = random.chance(200) ? 50 * Self.millisecond : nil
        hasSpares = random.chance(500)
        // One in eight: the long calm before and after costs as much as all that went before.
        blow = random.chance(125) ? (random.chance(500) ? .crash : .cut) : nil
    }

    /// A cluster in which nothing happens until the blow.
    init(calm seed: UInt64, count: Int, blow: Blow, writes: Int64? = nil) {
        self.init(seed: seed)
        self.count = count
        initialVoters = count
        calmAt = 1
        crashes = nil
        pauses = nil
        partitions = nil
        transfers = nil
        changes = nil
        self.blow = blow
        self.writes = writes
    }
}
