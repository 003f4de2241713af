/// What clients added to a set and took out of it, and what they were told. Each element is added once, and taken out at most
/// once.
public struct SetHistory: Equatable, Sendable {
    /// Both in one write.
    public struct Change: Equatable, Sendable {
        public var added: String
        public var dropped: String?
        public var outcome: WriteOutcome

        public init(add added: String, drop dropped: String? = nil, _ outcome: WriteOutcome) {
            self.added = added
            self.dropped = dropped
            self.outcome = outcome
        }
    }

    public var changes: [Change] = []

    public init() {}

    public func count(_ outcome: WriteOutcome) -> Int { changes.count { $0.outcome == outcome } }

    /// Why the set cannot be this after the end of all changes; empty when it can.
    ///
    /// `initial`: elements that were there before and that nobody takes out.
    public func objections(to found: [String], initial: Set<String>) -> [String] {
        let present = Set(found)
        var objections: [String] = []
        if present.count < found.count { objections.append("an element is twice in the set: \(found)") }
        // A change without an answer may have taken it out; a refused one has not.
        let mayBeGone = Set(changes.filter { $0.outcome != .refused }.compactMap(\.dropped))
        let isGone = Set(changes.filter { $0.outcome == .acknowledged }.compactMap(\.dropped))
        let mustBeThere = initial.union(changes.filter { $0.outcome == .acknowledged }.map(\.added))
            .subtracting(mayBeGone)
        let mayBeThere = initial.union(changes.filter { $0.outcome != .refused }.map(\.added)).subtracting(isGone)
        let lost = mustBeThere.subtracting(present)
        let risen = present.subtracting(mayBeThere)
        if !lost.isEmpty { objections.append("lost from the set: \(lost.sorted())") }
        if !risen.isEmpty {
            objections.append("in the set, though refused, taken out, or never added: \(risen.sorted())")
        }
        return objections
    }
}
