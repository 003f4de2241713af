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

    private let parts = Mutex(Parts())

    func connect(cluster: ClusterNode, ownership: Ownership) {
        parts.withLock { $0 = Parts(cluster: cluster, ownership: ownership) }
    }

    /// Called on the thread that watches leadership.
    func leadershipChanged() {
        parts.withLock { $0.ownership }?.kick()
    }

    /// What this node may act on right now.
    var lease: Lease? {
        parts.withLock { $0.cluster }?.leadershipProof.map { Lease(term: $0.term, end: $0.end) }
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
