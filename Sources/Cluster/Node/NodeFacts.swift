import Dqlite
import Platform
import Synchronization

/// What event loops and libdqlite's threads must know of the node at once, without waiting for its actor.
final class NodeFacts: Sendable {
    struct Values: Sendable {
        var clusterID: String?
        var isFormed = false
        /// The cluster that this one was recovered from may be alive: the lead is not acted on.
        var isSuspended = false
        /// The local node, once it takes part in raft.
        var local: LocalNode?
        /// The term for which this node, as its leader, has taken up the committed configuration.
        var configuredTerm: UInt64?
        /// The lead is being given to another voter.
        var giving: Giving?
        /// Another gives this node the lead.
        var expected: Expected?
        /// Raft's configuration as this node last saw it.
        var members: [DqliteMember] = []
        /// What was counted by local nodes that are no more.
        var past = LeadCounters()
    }

    struct Giving: Sendable {
        var term: UInt64
        var successor: DqliteNodeID
        /// Set when the successor is told to stand: until then at the latest this node keeps the addresses.
        var until: BootInstant?
    }

    struct Expected: Sendable {
        /// Of the leader that gives it.
        var term: UInt64
        var from: String
        var until: BootInstant
    }

    /// This process, told from earlier ones of the same node.
    let incarnation = UInt64.random(in: 1 ... .max)

    private let values = Mutex(Values())

    var current: Values { values.withLock { $0 } }

    func update(_ change: (inout Values) -> Void) {
        values.withLock { change(&$0) }
    }

    /// The member at an address, to say in the handshake whom we mean to reach.
    func member(at address: String) -> DqliteMember? {
        values.withLock { $0.members.first { $0.address == address } }
    }
}
