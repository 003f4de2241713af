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
    /// Mean time between two reads; nil: none.
    var reads: Int64?
    /// The nodes have never run before.
    var areNew = false
    /// Connections keep the order of what is sent; else messages overtake each other.
    var keepsOrder = false
    /// One hand-over, so long after the first holder; nothing else happens.
    var handsOverAfter: Int64?
    /// When the first node stands, as one that founds its cluster; nil: when its timer goes off.
    var firstElection: Int64?
    /// How many of a hundred processes that die take their guard with them.
    var guardsDie: Int64 = 0
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
        writes = random.chance(400) ? 30 * Self.millisecond : nil
        reads = writes == nil ? nil : 20 * Self.millisecond
        areNew = random.chance(300)
        keepsOrder = random.chance(600)
        guardsDie = random.chance(300) ? 50 : 0
        hasSpares = random.chance(500)
        // One in eight: the long calm before and after costs as much as all that went before.
        blow = random.chance(125) ? (random.chance(500) ? .crash : .cut) : nil
    }

    /// Hand-overs soon after starts, which is when libraft votes twice.
    mutating func handOversEarly() {
        transfers = 100 * Self.millisecond
        crashes = 200 * Self.millisecond
        changes = nil
        elections = 250 * Self.millisecond
    }

    /// A cluster in which nothing happens but one hand-over, soon after the start of all nodes.
    init(handOver seed: UInt64, areNew: Bool) {
        self.init(calm: seed, count: 3, blow: .crash)
        var random = SimRandom(seed ^ 0x0FFE_12ED)
        blow = nil
        self.areNew = areNew
        handsOverAfter = random.below(600 * Self.millisecond)
        firstElection = random.below(100 * Self.millisecond)
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
        reads = nil
    }
}
