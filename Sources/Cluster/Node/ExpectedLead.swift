import Dqlite
import Platform

/// A lead that another node is about to give to this one. A value type without clock.
///
/// The two then have the addresses at the same time for a moment, and both know it. That this node may set them without
/// asking the LAN is true only of a lead that really came about in that way, and as long as the other lets go by itself: an
/// offer alone says nothing, as the leader may die after it.
struct ExpectedLead: Sendable, Equatable {
    /// Of the leader that gives it.
    var term: UInt64
    var leader: DqliteNodeID
    /// Its cluster port.
    var address: String
    /// It has the addresses itself. One that has not may be waiting for a former holder's kernel to let go.
    var isHolder: Bool
    /// It has said that it has let go of the addresses.
    var hasLetGo = false

    /// How long after the giver's own limit its death can be seen: the kernel closes the connections of a process some 20 to 60 ms
    /// after the kill.
    private static let afterthought: Duration = .milliseconds(150)

    /// Whether the leader before has died in the middle of the hand-over, before it had let go: its kernel may have the addresses
    /// still, beside this node.
    ///
    /// - Parameters:
    ///   - asked: as in `isGiven`.
    ///   - leads: the term in which this node leads.
    func isSevered(asked: RelayFacts.Request?, leads: UInt64, hasEnded: Bool, now: BootInstant) -> Bool {
        guard !hasLetGo, hasEnded, leads == term &+ 1, let asked = request(asked) else { return false }
        return now < asked.at.advanced(by: ClusterNode.handOverLimit + Self.afterthought)
    }

    /// Whether this node may take the addresses from a leader that knows of it.
    ///
    /// - Parameters:
    ///   - asked: who asked this node to stand, as the relay has noted it.
    ///   - ownTerm: the highest term in which this node has voted or followed.
    ///   - isHeard: the leader before has acknowledged something that this node sent as the leader: its process lives.
    ///   - hasEnded: the process of the leader before was seen to end: its kernel may have the address still.
    func isGiven(
        asked: RelayFacts.Request?, ownTerm: UInt64, isHeard: Bool, hasEnded: Bool, now: BootInstant
    ) -> Bool {
        guard ownTerm == term &+ 1, isHeard, !hasEnded, let asked = request(asked) else { return false }
        // The leader's time began a little earlier, when it asked.
        return asked.at <= now && now < asked.at.advanced(by: ClusterNode.handOverLimit)
    }

    /// The request to stand, if it is this leader's, in this term, and it has what it gives.
    private func request(_ asked: RelayFacts.Request?) -> RelayFacts.Request? {
        guard isHolder, let asked, asked.node == leader, asked.term == term else { return nil }
        return asked
    }
}
