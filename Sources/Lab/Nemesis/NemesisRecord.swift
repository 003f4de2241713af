import Platform

extension NemesisLab {
    /// What audits need to know of a round.
    struct Record: Sendable {
        /// Asked to end, or with reason to hand over by itself.
        var planned: [(node: Int, time: BootInstant)] = []
        /// Without power: what its namespace's kernel still has is on no wire.
        var powerless: [Timeline.Interval] = []
        /// The cable was out.
        var cut: [Timeline.Interval] = []
        /// Daemon and guard were stopped or killed in one instant.
        var lifeless: [(node: Int, time: BootInstant, isKilled: Bool)] = []

        /// When a kernel may have had the address that nobody could take from it, and that nobody else could hear: see
        /// DOC/SAFETY.md, what is not covered. A death that was seen before the cable went is covered.
        var unheard: [Timeline.Interval] {
            lifeless.flatMap { deed in
                cut.compactMap { cut in
                    guard cut.node == deed.node else { return nil }
                    let ahead = deed.time.duration(to: cut.start)
                    guard ahead < (deed.isKilled ? .milliseconds(20) : .seconds(2)) else { return nil }
                    let start = max(deed.time, cut.start)
                    return Timeline.Interval(node: deed.node, start: start, end: start.advanced(by: .seconds(2)))
                }
            }
        }
    }
}

extension NemesisLab.Record {
    /// What two holders mean.
    enum Meaning: Sendable {
        /// There must be none.
        case forbidden
        /// A planned hand-over: both have the address until the one before lets go.
        case planned
        /// The one before was killed whole in the middle of a planned hand-over, and its kernel serves on.
        case severed
        /// Of the one before nobody can hear.
        case unheard
    }

    /// A hand-over may still be carried out so long after the one that gave the lead has died: the successor was told, and
    /// hears of the death only when the kernel closes the connections. That may be sooner: so the successor's own word counts, too, see `judge`.
    static let severance: Duration = .milliseconds(20)
    /// A hand-over that was asked for takes so long at most.
    static let plannedTime: Duration = .seconds(5)

    func meaning(of overlap: Timeline.Overlap) -> Meaning {
        let isUnheard = unheard.contains { deed in
            overlap.nodes.contains(deed.node) && deed.start <= overlap.start
                && deed.end.map { overlap.start < $0 } ?? true
        }
        if isUnheard { return .unheard }
        if let death = death(in: overlap) {
            return death.time.duration(to: overlap.start) < Self.severance ? .severed : .forbidden
        }
        let isPlanned = planned.contains { overlap.nodes.contains($0.node) && isRecent($0.time, at: overlap.start) }
        return isPlanned ? .planned : .forbidden
    }

    /// When one of two holders was killed whole that had been asked to hand over before; nil when neither was.
    func death(in overlap: Timeline.Overlap) -> (node: Int, time: BootInstant)? {
        let end = overlap.start.advanced(by: overlap.length)
        return lifeless.last { death in
            death.isKilled && overlap.nodes.contains(death.node) && death.time < end
                && planned.contains { $0.node == death.node && isRecent($0.time, at: death.time) }
        }.map { ($0.node, $0.time) }
    }

    private func isRecent(_ plan: BootInstant, at time: BootInstant) -> Bool {
        plan <= time && plan.duration(to: time) < Self.plannedTime
    }
}
