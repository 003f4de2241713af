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
        /// Another is about to give this node the lead.
        var expected: ExpectedLead?
        /// Raft's configuration as this node last saw it.
        var members: [DqliteMember] = []
        /// What the leader said last of the members, or what this node says as the leader.
        var roster: HeardRoster?
        /// Under which MACs this host answers for the virtual addresses.
        var ownMACs = MemberMACs([])
        /// Those of all others, of late.
        var macBook = MACBook()
        /// Nodes that were removed for good.
        var removed: Set<DqliteNodeID> = []
        /// Nodes whose address is being changed: members, or about to be again.
        var moving: Set<DqliteNodeID> = []
        /// What was counted by local nodes that are no more.
        var past = LeadCounters()

        /// Takes in the members as the local node has them in its log. A spare's log says nothing, or what was true when it
        /// was none: there the leader's word counts.
        mutating func note(_ list: [DqliteMember]) {
            defer { noteMACs(now: BootClock.now) }
            guard let roster = roster?.roster, let own = local?.dqliteID,
                list.isEmpty || roster.members.contains(where: { $0.id == own && $0.role == .spare })
            else {
                members = list
                return
            }
            members = roster.list
        }

        mutating func hear(_ roster: Roster, now: BootInstant) {
            self.roster = HeardRoster(roster: roster, at: now)
            if let own = local?.dqliteID, roster.members.contains(where: { $0.id == own && $0.role == .spare }) {
                members = roster.list
            }
            noteMACs(now: now)
        }

        /// Who were members until now counts, and who are.
        mutating func noteMACs(now: BootInstant) {
            macBook.note(members, roster?.roster, but: local?.dqliteID ?? 0, now: now)
        }
    }

    struct Giving: Sendable {
        var term: UInt64
        var successor: DqliteNodeID
        /// Set when the successor is told to stand: until then at the latest this node keeps the addresses. nil also when it
        /// had no lease at that moment, and so nothing to keep.
        var until: BootInstant?
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

    /// Whether a member is known to be at an address: where it is listed, was met, or its raft stream comes from, which need not
    /// be the same on a host with two cards.
    func isAt(_ id: DqliteNodeID, _ address: IPAddress?) -> Bool {
        guard let address else { return false }
        return places(of: id).contains { $0.address == address } || addressBook.sources(of: id).contains(address)
    }

    /// Whether any member is known to be there.
    func isMember(_ address: IPAddress) -> Bool {
        current.members.contains { isAt($0.id, address) }
    }

    /// Takes in the members as they were read; what matters for connections is told to the local node.
    func take(_ members: [DqliteMember]) {
        let local = values.withLock { values in
            let before = values.members
            values.note(members)
            return values.members == before ? nil : values.local
        }
        let (known, moving) = values.withLock { ($0.members, $0.moving) }
        if !known.isEmpty { addressBook.keep(only: moving.union(known.map(\.id))) }
        local?.warm(known)
    }
}
