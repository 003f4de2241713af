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

    init(cell: LeaseCell) {
        self.cell = cell
    }

    func connect(cluster: ClusterNode, ownership: Ownership) {
        parts.withLock { $0 = Parts(cluster: cluster, ownership: ownership) }
    }

    /// Called on the thread that watches leadership.
    func leadershipChanged() {
        _ = lease
        parts.withLock { $0.ownership }?.kick()
    }

    /// What this node may act on right now. The cell is told of it, which the cluster does not do by itself: so it has to be
    /// asked for well before the last answer is over.
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
