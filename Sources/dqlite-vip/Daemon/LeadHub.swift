import Cluster
import Platform
import Synchronization
import VIP

/// Joins cluster and ownership, neither of which knows the other: leadership on one side is a lease on the other.
final class LeadHub: Sendable {
    private struct Parts: Sendable {
        var cluster: ClusterNode?
        var ownership: Ownership?
    }

    /// What the guard follows.
    private let cell: LeaseCell
    private let parts = Mutex(Parts())
    private let wasLeading = Atomic<Bool>(false)
    private let wasHandedOver = Atomic<Bool>(false)

    private let disk: DiskWatch

    init(cell: LeaseCell, disk: DiskWatch) {
        self.cell = cell
        self.disk = disk
    }

    func connect(cluster: ClusterNode, ownership: Ownership) {
        parts.withLock { $0 = Parts(cluster: cluster, ownership: ownership) }
    }

    /// Called on the cluster's threads whenever the proof of leadership may be another. The cell wakes whoever has to know.
    func leadershipChanged() {
        _ = lease
        let (cluster, ownership) = parts.withLock { ($0.cluster, $0.ownership) }
        let leads = cluster?.leads == true
        // Before there is a lease the LAN can be asked for the addresses already.
        if leads, !wasLeading.exchange(leads, ordering: .relaxed) {
            ownership?.kick()
        } else if !leads {
            wasLeading.store(false, ordering: .relaxed)
        }
        // The lease may have begun before it was known that the leader before lives.
        let isHandedOver = leads && cluster?.isHandedOver == true
        if isHandedOver, !wasHandedOver.exchange(isHandedOver, ordering: .relaxed) {
            ownership?.kick()
        } else if !isHandedOver {
            wasHandedOver.store(false, ordering: .relaxed)
        }
        // What was given by one that has died since has to go, now.
        if leads, cluster?.isSevered == true { ownership?.kick() }
    }

    /// Another node is back: behind a partition that has healed there may be neighbours who know the last holder only.
    func nodeReturned() {
        if leads { parts.withLock { $0.ownership }?.announceAgain() }
    }

    private var leads: Bool { parts.withLock { $0.cluster }?.leads == true }

    /// What is known of the lead beyond the lease.
    var hint: LeadHint {
        guard let cluster = parts.withLock({ $0.cluster }) else { return LeadHint() }
        let predecessor = cluster.predecessors.map {
            Predecessor(endedAt: $0.endedAt, answeredSince: $0.answeredSince)
        }
        return LeadHint(
            leads: cluster.leads, isHandedOver: cluster.isHandedOver, isBeingHandedOver: cluster.isBeingHandedOver,
            isSevered: cluster.isSevered, handsOver: cluster.handsOver,
            predecessor: predecessor, memberMACs: cluster.leads ? cluster.memberMACs : nil)
    }

    /// Has the hosts of leaders whose process ended asked whether they can be heard.
    func inquire() {
        let parts = parts.withLock { $0 }
        parts.cluster?.inquire { [weak ownership = parts.ownership] in ownership?.kick() }
    }

    /// Why this node should not be given the lead now; nil when it can lead.
    func unfit() async -> String? {
        guard let ownership = parts.withLock({ $0.ownership }) else { return "it is starting" }
        if let reason = disk.current.reason { return reason }
        let snapshot = await ownership.snapshot()
        return snapshot.isLinkUp ? nil : "its interface \(snapshot.interface) is down or without carrier"
    }

    /// Whether all addresses are set here now.
    func holdsAddresses() async -> Bool {
        guard let ownership = parts.withLock({ $0.ownership }) else { return false }
        return await ownership.snapshot().addresses.allSatisfy { $0.state == .held }
    }

    /// What this node may act on right now; the cell is told of it. It is written here only, one thread at a time.
    var lease: Lease? {
        parts.withLock { parts in
            guard let proof = parts.cluster?.leadershipProof else {
                cell.revoke()
                return nil
            }
            cell.extend(term: proof.term, until: proof.end)
            return cell.lease
        }
    }
}

/// Does something once, when it has been counted down to zero.
final class Countdown: Sendable {
    private let left: Mutex<Int>
    private let action: @Sendable () -> Void

    init(from count: Int, _ action: @escaping @Sendable () -> Void) {
        left = Mutex(count)
        self.action = action
    }

    func count() {
        let isZero = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isZero { action() }
    }
}
