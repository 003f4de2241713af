import Cluster
import Logging
import Platform
import ServiceLifecycle
import Synchronization
import VIP

/// Puts each take-over of the addresses by this node into one line of the log, with where its time went, and counts them.
final class Takeovers: Service {
    struct Last: Sendable {
        var term: UInt64
        var cause: ElectionRecord.Cause
        var at: WallTime
        var split: TakeoverSplit
    }

    struct Summary: Sendable {
        var count: UInt64 = 0
        /// Of all take-overs together.
        var sums: [TakeoverSplit.Phase: Duration] = [:]
        var last: Last?
    }

    private struct State {
        var summary = Summary()
        /// The take-over of this term, if there was one, is told.
        var settledTerm: UInt64 = 0
    }

    private let cluster: ClusterNode
    private let ownership: Ownership
    private let logger: Logger
    private let state = Mutex(State())

    init(cluster: ClusterNode, ownership: Ownership, logger: Logger) {
        self.cluster = cluster
        self.ownership = ownership
        self.logger = logger
    }

    var summary: Summary { state.withLock { $0.summary } }

    /// The configuration of a term was taken up. What is configured later is no take-over.
    func tookUp(term: UInt64, hasAddresses: Bool) {
        guard !hasAddresses else { return }
        state.withLock { $0.settledTerm = max($0.settledTerm, term) }
    }

    func run() async throws {
        for await event in ownership.events.cancelOnGracefulShutdown() {
            if case .claimed(_, let term, _) = event { await claimed(in: term) }
        }
        try? await gracefulShutdown()
    }

    private func claimed(in term: UInt64) async {
        guard state.withLock({ $0.settledTerm < term }), let election = cluster.leadNumbers.election,
            election.term == term
        else { return }
        var addresses = await ownership.snapshot().addresses
        // The last one to be claimed completes it.
        guard addresses.allSatisfy({ $0.state != .released }) else { return }
        // An announcement may come a moment later; without a link it does not come at all.
        for _ in 0..<25 where addresses.contains(where: { $0.state == .held && $0.announcedAt == nil }) {
            try? await Task.sleep(for: .milliseconds(10))
            addresses = await ownership.snapshot().addresses
        }
        let held = addresses.filter { $0.state == .held && $0.term == term }
        guard !held.isEmpty else { return }
        let announced = held.compactMap(\.announcedAt)
        var ends: [TakeoverSplit.Phase: BootInstant] = [.detection: election.decidedAt, .election: election.leadsAt]
        ends[.lease] = election.leasedAt
        ends[.address] = held.compactMap(\.setAt).max()
        ends[.announcement] = announced.count == held.count ? announced.max() : nil
        tell(
            Last(
                term: term, cause: election.cause, at: .now, split: TakeoverSplit(start: election.lastSign, ends: ends)),
            held.map { "\($0.address)" })
    }

    private func tell(_ takeover: Last, _ addresses: [String]) {
        state.withLock { state in
            state.settledTerm = takeover.term
            state.summary.count += 1
            for (phase, duration) in takeover.split.durations {
                state.summary.sums[phase, default: .zero] += duration
            }
            state.summary.last = takeover
        }
        var metadata: Logger.Metadata = [
            "raft.term": "\(takeover.term)", "takeover.reason": "\(takeover.cause.rawValue)",
            "takeover.total.ms": "\(takeover.split.total.inTenthsOfMilliseconds)",
            "vip.address": "\(addresses.joined(separator: ","))",
        ]
        for (phase, duration) in takeover.split.durations {
            metadata["takeover.\(phase.rawValue).ms"] = "\(duration.inTenthsOfMilliseconds)"
        }
        logger.notice("took over the virtual IP", metadata: metadata)
    }
}

extension Duration {
    /// Milliseconds with one decimal.
    var inTenthsOfMilliseconds: Double { Double((inNanoseconds + 50_000) / 100_000) / 10 }
}
