import Platform

/// Where the time of a take-over went: its phases, one after the other without gaps.
struct TakeoverSplit: Hashable, Sendable {
    enum Phase: String, Hashable, Sendable, CaseIterable {
        /// From the last sign of the old leader to the decision to stand.
        case detection
        /// To the lead.
        case election
        /// To the first lease.
        case lease
        /// Until the address was set.
        case address
        /// Until it was announced.
        case announcement = "announce"
    }

    /// What was measured; a phase whose end is not known is part of the next one.
    let durations: [(phase: Phase, duration: Duration)]
    let total: Duration

    /// - Parameters:
    ///   - start: the last sign of the old leader; nil when there was none, and then the first mark is the start.
    ///   - ends: when each phase ended. One that seems to end before the one before took no time.
    init(start: BootInstant?, ends: [Phase: BootInstant]) {
        var from = start
        var durations: [(Phase, Duration)] = []
        for phase in Phase.allCases {
            guard let end = ends[phase] else { continue }
            if let from { durations.append((phase, max(.zero, from.duration(to: end)))) }
            from = max(from ?? end, end)
        }
        self.durations = durations
        total = durations.reduce(.zero) { $0 + $1.1 }
    }

    subscript(phase: Phase) -> Duration? { durations.first { $0.phase == phase }?.duration }

    static func == (left: Self, right: Self) -> Bool {
        left.durations.elementsEqual(right.durations) { $0 == $1 }
    }

    func hash(into hasher: inout Hasher) {
        for (phase, duration) in durations {
            hasher.combine(phase)
            hasher.combine(duration)
        }
    }
}
