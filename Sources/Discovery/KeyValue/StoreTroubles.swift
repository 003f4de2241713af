/// Which failures of a store a person has not been told of: one line when a trouble begins and one when all are over,
/// whoever of the two that ask the store notices first.
struct StoreTroubles: Sendable {
    enum Side: Hashable, Sendable {
        case lookUp
        case registration
    }

    private enum Kind: Hashable {
        /// Nobody answers.
        case absence
        case refusal
    }

    private var open: [Side: Set<Kind>] = [:]

    func isOpen(_ side: Side) -> Bool { open[side] != nil }

    /// - Returns: whether to tell of the failure.
    mutating func failed(_ side: Side, _ error: DiscoveryError) -> Bool {
        let kind = error.isAbsence ? Kind.absence : .refusal
        // A store that is away is away for both sides; a refusal may be of one alone, as a permission is.
        let isKnown = open[side]?.contains(kind) ?? (kind == .absence && open.values.contains { $0.contains(kind) })
        open[side, default: []].insert(kind)
        return !isKnown
    }

    /// - Returns: whether to tell that the last trouble is over.
    mutating func succeeded(_ side: Side) -> Bool {
        guard open.removeValue(forKey: side) != nil else { return false }
        return open.isEmpty
    }
}
