import Platform

/// The generator of the bootstrap: xoshiro256** (Blackman and Vigna, 2018), so that a simulation can repeat a run.
///
/// In production it is seeded with 256 bits of the system's generator, so that what it draws is as unique as that.
public struct BootstrapRandom: RandomNumberGenerator, Sendable {
    private var s0: UInt64
    private var s1: UInt64
    private var s2: UInt64
    private var s3: UInt64

    /// For production.
    public init() {
        var system = SystemRandomNumberGenerator()
        s0 = system.next()
        s1 = system.next()
        s2 = system.next()
        // The state must not be all zero.
        s3 = system.next() | 1
    }

    /// For tests: the same seed gives the same numbers.
    public init(seed: UInt64) {
        // SplitMix64 (Steele, Lea and Flood, 2014) spreads the seed over the state.
        var state = seed
        func mix() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var word = state
            word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
            return word ^ word >> 31
        }
        s0 = mix()
        s1 = mix()
        s2 = mix()
        s3 = mix() | 1
    }

    public mutating func next() -> UInt64 {
        let product = s1 &* 5
        let result = (product << 7 | product >> 57) &* 9
        let shifted = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        s3 = s3 << 45 | s3 >> 19
        return result
    }

    /// A number from 0 to `bound` − 1; `bound` must be above 0. Its bias is below 2^-32 for small bounds.
    mutating func below(_ bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// A time from the range, in whole microseconds.
    mutating func duration(_ range: ClosedRange<Duration>) -> Duration {
        let low = range.lowerBound.inNanoseconds / 1000
        let high = range.upperBound.inNanoseconds / 1000
        return .microseconds(low + Int64(below(UInt64(max(0, high - low)) + 1)))
    }
}
