import Platform

/// SplitMix64: the same seed gives the same faults on every machine. After Steele, Lea and Flood, "Fast Splittable
/// Pseudorandom Number Generators", OOPSLA 2014.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// A whole number of milliseconds, both ends included.
    mutating func milliseconds(_ range: ClosedRange<Int>) -> Duration {
        .milliseconds(Int.random(in: range, using: &self))
    }

    /// The same on a logarithmic scale: as many short times as long ones. The range must be above 0.
    mutating func milliseconds(logarithmic range: ClosedRange<Int>) -> Duration {
        // By doublings and not by logarithms: a plan must not depend on a machine's rounding.
        var ends = [range.lowerBound]
        while let last = ends.last, last < range.upperBound { ends.append(min(last * 2, range.upperBound)) }
        let octave = Int.random(in: 0..<max(1, ends.count - 1), using: &self)
        return milliseconds(ends[octave]...ends[min(octave + 1, ends.count - 1)])
    }
}
