import Dqlite
import Platform

/// Who leads, as this node can tell.
public struct Leadership: Sendable, Equatable {
    /// Raft's term; 0 while the node takes part in none.
    public var term: UInt64
    /// The leader's dqlite id; nil while none is known.
    public var leader: DqliteNodeID?
    /// Whether this node leads.
    public var isLeader: Bool

    public init(term: UInt64 = 0, leader: DqliteNodeID? = nil, isLeader: Bool = false) {
        self.term = term
        self.leader = leader
        self.isLeader = isLeader
    }
}
