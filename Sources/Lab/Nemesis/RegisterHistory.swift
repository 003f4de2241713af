/// What one client wrote into a register, one write after the other, and what it was told.
///
/// A write without an acknowledgement may have happened, may happen later, or never: its value is possible from then on. An
/// acknowledged one has happened, and what was acknowledged before it can be read no more.
public struct RegisterHistory: Equatable, Sendable {
    public enum Outcome: Equatable, Sendable {
        case acknowledged
        /// No answer, or one that says that the write may still take effect.
        case unknown
        /// Surely without effect.
        case refused
    }

    public struct Write: Equatable, Sendable {
        public var value: String
        public var outcome: Outcome

        public init(_ value: String, _ outcome: Outcome) {
            self.value = value
            self.outcome = outcome
        }
    }

    /// Values must differ from each other.
    public var writes: [Write] = []

    public init() {}

    public func count(_ outcome: Outcome) -> Int { writes.count { $0.outcome == outcome } }

    /// What may be read after the last write, and nothing else.
    ///
    /// `initial`: the value before the first write.
    public func possible(initial: String) -> Set<String> {
        let last = writes.last { $0.outcome == .acknowledged }?.value ?? initial
        return Set(writes.filter { $0.outcome == .unknown }.map(\.value)).union([last])
    }

    /// Why `value` cannot have been read after the last write; nil when it can.
    public func objection(to value: String, initial: String) -> String? {
        guard !possible(initial: initial).contains(value) else { return nil }
        let last = writes.last { $0.outcome == .acknowledged }?.value ?? initial
        switch writes.first(where: { $0.value == value })?.outcome {
        case .acknowledged: return "\(value) was read, and \(last) had been acknowledged after it: a write was lost"
        case .refused: return "\(value) was read, whose write had been refused"
        case .unknown, nil:
            return "\"\(value)\" was read, which is not what was written: the last acknowledged value is \(last)"
        }
    }
}
