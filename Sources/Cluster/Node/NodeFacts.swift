import Dqlite
import Platform
import Synchronization

/// What event loops and libdqlite's threads must know of the node at once, without waiting for its actor.
final class NodeFacts: Sendable {
    struct Values: Sendable {
        var clusterID: String?
        var isFormed = false
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

    /// Where members were met.
    let addressBook = AddressBook()

    /// Where to try to reach a member, the likeliest first.
    func places(of id: DqliteNodeID) -> [HostPort] {
        if let member = current.members.first(where: { $0.id == id }) { return addressBook.places(of: member) }
        return addressBook[id].map { [$0] } ?? []
    }

    /// Where a member is, as far as is known; nil when what the configuration has is no address.
    func address(of member: DqliteMember) -> HostPort? { addressBook.places(of: member).first }

    /// Takes in the members as they were read; what matters for connections is told to the local node.
    func take(_ members: [DqliteMember]) {
        let local = values.withLock { values in
            defer { values.members = members }
            return values.members == members ? nil : values.local
        }
        if !members.isEmpty { addressBook.keep(only: members.map(\.id)) }
        local?.warm(members)
    }
}
