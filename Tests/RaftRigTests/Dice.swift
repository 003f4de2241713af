/// A seeded source of numbers: SplitMix64.
struct Dice {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x5DEE_CE66_D1CE_4E5B }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// 0 up to the bound, which is left out.
    mutating func below(_ bound: Int64) -> Int64 { Int64(next().multipliedFullWidth(by: UInt64(max(1, bound))).high) }
    mutating func pick(_ count: Int) -> Int { Int(below(Int64(count))) }
    mutating func chance(perThousand: Int64) -> Bool { below(1000) < perThousand }
    /// Around the mean: from nothing to its double.
    mutating func around(_ mean: Int64) -> Int64 { below(2 * mean) }
}
