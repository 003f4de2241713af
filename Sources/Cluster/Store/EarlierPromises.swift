import Platform

/// Until when this process has to reckon with what was promised to leaders before it, or before its present local node: a
/// promise is kept in memory only. A value type without clock.
///
/// A vote that leaves before that could depose a leader who counts on the promise. It is no longer than that, because as long
/// as it is kept back this node can neither be given the lead nor help another to it.
struct EarlierPromises: Sendable, Equatable {
    /// How long promises of this run bind; `Timing.hold`.
    var hold: Duration
    /// How long those of an earlier run did, as far as it has noted that; nil: it has not.
    var earlier: Duration?
    /// `DataDirectory.openedAt`.
    var openedAt: BootInstant
    /// `DataDirectory.isNew`.
    var isNew: Bool

    /// When the last promise of an earlier process is over; nil when there can be none.
    var ofProcesses: BootInstant? {
        isNew ? nil : openedAt.advanced(by: max(hold, earlier ?? hold))
    }

    /// Promises that outlast those of this run: waited for before it notes its own, shorter time, which a next run would
    /// believe. nil when there are none.
    var longer: BootInstant? {
        guard let earlier, earlier > hold else { return nil }
        return ofProcesses
    }

    /// Until when the votes of a local node that starts now are kept back; nil: not at all.
    ///
    /// - Parameter isFirst: it is the first one of this process. The one before may have promised until its end.
    func over(isFirst: Bool, now: BootInstant) -> BootInstant? {
        let latest = isFirst ? ofProcesses : max(ofProcesses ?? now, now.advanced(by: hold))
        return latest.flatMap { $0 > now ? $0 : nil }
    }
}
