import Platform

/// How a laboratory must be made for a case.
public struct NemesisSetup: Hashable, Sendable {
    public var nodes: Int
    /// Each data directory is a small file system of its own.
    public var hasSmallDisks = false
    /// Each node's wall clock can be moved.
    public var hasWallClocks = false
    /// Each node's steady clocks can run too fast or too slow.
    public var hasSlewedClocks = false
    /// Options of the product.
    public var further: [String] = []
    /// Of the VIP.
    public var family = IPAddress.Family.v4

    public init(
        nodes: Int, hasSmallDisks: Bool = false, hasWallClocks: Bool = false, hasSlewedClocks: Bool = false,
        further: [String] = []
    ) {
        self.nodes = nodes
        self.hasSmallDisks = hasSmallDisks
        self.hasWallClocks = hasWallClocks
        self.hasSlewedClocks = hasSlewedClocks
        self.further = further
    }
}

/// What is done in one round, and when.
public struct NemesisPlan: Equatable, Sendable {
    public struct Step: Equatable, Sendable {
        /// Since the begin of the round; a step that takes longer delays what comes after it.
        public var at: Duration
        public var action: NemesisAction

        public init(_ at: Duration, _ action: NemesisAction) {
            self.at = at
            self.action = action
        }
    }

    /// What is done before the round begins: neither measured nor judged.
    public var preparation: [NemesisAction] = []
    /// In the order of time.
    public var steps: [Step]
    /// After so long everything is put right that is not yet.
    public var length: Duration

    /// Which step is the first of those at the end that put things right; nil when the last one does not.
    public var firstRelief: Int? {
        let trouble = steps.lastIndex { !$0.action.isRelief } ?? -1
        return trouble + 1 < steps.count ? trouble + 1 : nil
    }
}
