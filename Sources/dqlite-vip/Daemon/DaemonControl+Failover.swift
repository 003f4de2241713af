import API
import Cluster
import Lease
import Platform
import VIP

extension DaemonControl {
    /// Timers, leases and take-overs, for the status.
    func numbers(_ counters: OwnershipCounters) -> FailoverReport {
        let (numbers, timing, summary) = (cluster.leadNumbers, cluster.timing, takeovers.summary)
        return FailoverReport(
            timing: .init(
                profile: timing.profile, latency: timing.latency.inTenthsOfMilliseconds,
                heartbeat: timing.heartbeat.inTenthsOfMilliseconds,
                electionTimeout: timing.electionTimeout.inTenthsOfMilliseconds,
                lease: timing.hold.inTenthsOfMilliseconds, silence: timing.silence.inTenthsOfMilliseconds),
            leaseRemaining: numbers.leaseRemaining?.inTenthsOfMilliseconds, leases: numbers.counters.leases,
            // Each reason from the start, so that a first one shows as a rise.
            leasesLost: Self.byName(LeaseLoss.allCases) { numbers.counters.leasesLost[$0] },
            elections: Self.byName([ElectionRecord.Cause.dead, .silent]) { numbers.counters.elections[$0] },
            unreadableStreams: numbers.unreadableStreams,
            takeovers: .init(
                count: summary.count,
                sums: Self.byName(TakeoverSplit.Phase.allCases) { summary.sums[$0]?.inTenthsOfMilliseconds ?? 0 },
                last: summary.last.map(Self.report)),
            addresses: .init(
                claims: counters.claims,
                releases: Self.byName(ReleaseReason.allCases) { counters.releases[$0] },
                reinstated: counters.reinstated, conflicts: counters.conflicts, announcements: counters.announcements,
                neighboursTold: counters.neighboursTold,
                errors: counters.kernelErrors + counters.guardErrors + counters.announceErrors))
    }

    private static func report(_ last: Takeovers.Last) -> FailoverReport.Takeover {
        let phases = last.split.durations.map { ($0.phase.rawValue, $0.duration.inTenthsOfMilliseconds) }
        return .init(
            term: last.term, at: last.at, reason: last.cause.rawValue, total: last.split.total.inTenthsOfMilliseconds,
            phases: Dictionary(phases) { first, _ in first })
    }

    private static func byName<Key: RawRepresentable<String>, Value: Numeric>(
        _ keys: [Key], _ value: (Key) -> Value?
    ) -> [String: Value] {
        Dictionary(keys.map { ($0.rawValue, value($0) ?? .zero) }) { first, _ in first }
    }
}
