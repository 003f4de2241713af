import Platform

/// Smallest, middle and largest of some durations.
public struct Distribution: Sendable, Equatable, CustomStringConvertible {
    public var minimum: Duration
    public var median: Duration
    /// The smallest value that 99 of 100 do not exceed: the largest of fewer than a hundred values.
    public var percentile99: Duration
    public var maximum: Duration
    public var count: Int

    /// Nil for no values. The median of an even number is the mean of the middle two.
    public init?(_ values: [Duration]) {
        let sorted = values.sorted()
        guard let first = sorted.first, let last = sorted.last else { return nil }
        minimum = first
        maximum = last
        percentile99 = sorted[(sorted.count * 99 + 99) / 100 - 1]
        let middle = sorted.count / 2
        median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        count = sorted.count
    }

    /// "min/median/max" in milliseconds.
    public var description: String {
        [minimum, median, maximum].map { $0.inWords }.joined(separator: "/")
    }
}

extension Duration {
    /// Milliseconds as a number; one decimal below 10.
    public var inWords: String {
        let milliseconds = Double(inNanoseconds) / 1_000_000
        return abs(milliseconds) < 10
            ? "\((milliseconds * 10).rounded() / 10)" : "\(Int(milliseconds.rounded()))"
    }
}
