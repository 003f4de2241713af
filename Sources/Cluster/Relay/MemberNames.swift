import Dqlite
import Platform

/// Which member libdqlite means when it dials an address.
///
/// libdqlite knows members by id and dials them by address, without saying whom it means; and what it then writes, a vote
/// say, is for that member alone. A member that has moved is still dialled by the address that raft's configuration has, or
/// that it had when it was dialled first, and by then that address may be another member's. So an address that may mean two
/// members means none: libdqlite asks again a second later, when the configuration will have been read.
///
/// A value type without clock.
struct MemberNames: Sendable {
    /// How long a configuration that was seen in a frame counts beside the one that is read from the local node: until that
    /// was certainly done.
    static let memory: Duration = .seconds(5)

    /// The newest configuration that passed, which the local node is about to have.
    private var passed: (members: [RaftConfiguration.Member], until: BootInstant)?
    /// Under which addresses each member was dialled. libdqlite keeps them for its whole life.
    private var dialled: [DqliteNodeID: Set<String>] = [:]

    mutating func saw(_ configuration: RaftConfiguration, now: BootInstant) {
        passed = (configuration.members, now.advanced(by: Self.memory))
    }

    mutating func wasDialled(_ id: DqliteNodeID, as address: String) {
        dialled[id, default: []].insert(address)
    }

    mutating func forget(_ id: DqliteNodeID) {
        dialled[id] = nil
    }

    /// The address that raft's configuration has for a member; nil when it has none, or the two known ones differ.
    func address(of id: DqliteNodeID, members: [DqliteMember], now: BootInstant) -> String? {
        let read = members.first { $0.id == id }?.address
        guard let passed, passed.until > now else { return read }
        let seen = passed.members.first { $0.id == id }?.address
        guard let read, let seen else { return seen ?? read }
        return read == seen ? read : nil
    }

    /// The address under which to introduce a peer to libdqlite: what the configuration has for it, else what it gives
    /// itself. While the configuration has another member there, which is gone although this node does not know it yet, that
    /// would mean both: then a name that means the peer alone.
    func introduction(
        of id: DqliteNodeID, as given: String, members: [DqliteMember], now: BootInstant
    ) -> String {
        // What has passed is not stored yet, and will not be unless this node can answer whoever sent it.
        func isOthers(_ address: String) -> Bool { members.contains { $0.address == address && $0.id != id } }
        if let configured = address(of: id, members: members, now: now), !isOthers(configured) { return configured }
        var isTaken = isOthers(given)
        if let passed, passed.until > now {
            isTaken = isTaken || passed.members.contains { $0.address == given && $0.id != id }
        }
        return isTaken ? "member-\(id):0" : given
    }

    /// - Parameters:
    ///   - members: as read from the local node last.
    ///   - introduced: how those have introduced themselves to libdqlite that are connected to this node. Counts for an
    ///     address that is in no configuration: a node that is just joining has none.
    ///   - isConnected: whether libdqlite holds a connection for the member: it dials no second one.
    /// - Returns: nil when that is nobody, or may be more than one.
    func member(
        dialledAs address: String, own: DqliteNodeID, members: [DqliteMember], introduced: [DqliteNodeID: String],
        isConnected: (DqliteNodeID) -> Bool, now: BootInstant
    ) -> DqliteNodeID? {
        var claims = Set(members.filter { $0.address == address }.map(\.id))
        if let passed, passed.until > now {
            claims.formUnion(passed.members.filter { $0.address == address }.map(\.id))
        }
        for (id, addresses) in dialled where addresses.contains(address) { claims.insert(id) }
        claims.remove(own)
        if claims.isEmpty {
            claims = Set(introduced.filter { $0.value == address && $0.key != own }.map(\.key))
        }
        if claims.count > 1 { claims = claims.filter { !isConnected($0) } }
        return claims.count == 1 ? claims.first : nil
    }
}
