import Platform

/// Pauses between attempts: their upper bound doubles from one failure to the next, and chance takes off up to half of it,
/// so that nodes that lost a store together do not all come back to it at once.
struct Backoff: Sendable {
    /// The first upper bound, and the last.
    let range: ClosedRange<Duration>
    private var failures = 0
    private var random: SplitMix

    init(_ range: ClosedRange<Duration>, seed: UInt64) {
        self.range = range
        random = SplitMix(state: seed)
    }

    /// The pause after one more failure.
    mutating func next() -> Duration {
        let bound = min(range.upperBound, range.lowerBound * (1 << min(failures, 16)))
        failures += 1
        return bound / 2 + .nanoseconds(Int64.random(in: 0...(bound / 2).inNanoseconds, using: &random))
    }

    mutating func reset() { failures = 0 }
}

/// splitmix64 (Steele, Lea and Flood, 2014): enough for jitter, and repeatable.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
