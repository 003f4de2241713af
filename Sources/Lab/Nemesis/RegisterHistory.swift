import Platform

/// What clients wrote into a register, and what they were told.
///
/// A write without an acknowledgement may have happened, may happen later, or never: its value is possible from then on. An
/// acknowledged one has happened, and a value that was acknowledged before its begin can be read no more. Of acknowledged
/// writes that went on at the same time either may have been the later one.
public struct RegisterHistory: Equatable, Sendable {
    public struct Write: Equatable, Sendable {
        public var value: String
        public var outcome: WriteOutcome
        public var begin: BootInstant
        public var end: BootInstant

        public init(_ value: String, _ outcome: WriteOutcome, from begin: BootInstant, to end: BootInstant) {
            self.value = value
            self.outcome = outcome
            self.begin = begin
            self.end = end
        }
    }

    /// Values must differ from each other, and from that before the first write.
    public var writes: [Write] = []

    public init() {}

    public func count(_ outcome: WriteOutcome) -> Int { writes.count { $0.outcome == outcome } }

    /// What may be read after the end of all writes, and nothing else.
    ///
    /// `initial`: the value before the first write.
    public func possible(initial: String) -> Set<String> {
        let acknowledged = writes.filter { $0.outcome == .acknowledged }
        let unknown = writes.filter { $0.outcome == .unknown }
        let latestBegin = acknowledged.map(\.begin).max()
        let last = acknowledged.filter { $0.end >= latestBegin ?? $0.end }
        return Set((unknown + last).map(\.value)).union(acknowledged.isEmpty ? [initial] : [])
    }

    /// Why `value` cannot have been read after the end of all writes; nil when it can.
    public func objection(to value: String, initial: String) -> String? {
        let possible = possible(initial: initial)
        guard !possible.contains(value) else { return nil }
        let others = possible.sorted().joined(separator: ", ")
        switch writes.first(where: { $0.value == value })?.outcome {
        case .acknowledged: return "\(value) was read, and after it there were others: a write was lost of \(others)"
        case .refused: return "\(value) was read, whose write had been refused"
        case .unknown, nil: return "\"\(value)\" was read, and it can be one of \(others) only"
        }
    }
}
