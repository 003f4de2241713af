import Dqlite
import Logging
import Platform

/// Members that come back under another address.
///
/// Raft has no way to change an address: the member is removed and added again, with the role that it had. It keeps its
/// id, its log and its vote, and is reached all the time, because nobody dials by the configuration alone (`AddressBook`). So
/// nothing is in a hurry, and it is done only when what is left can commit it. It is written down first: should this leader be
/// lost in between, the next one goes on with it (`MoveCore`).
extension Membership {
    /// How fresh an acknowledgement must be to count for a voter that is there.
    static let freshness: Duration = .milliseconds(500)

    /// Changes the address of a member.
    ///
    /// - Throws: `PortFailure` `.notReady` when the voters that are left would not be a majority of themselves.
    func move(_ member: DqliteMember, to address: String) async throws {
        guard member.id != ownID else {
            throw PortFailure(
                reason: .notReady, text: "\(member.address) leads: its address is changed when another node leads")
        }
        if await sight?.isAtHome(member) == true {
            throw PortFailure(
                reason: .wrongNode,
                text:
                    "a node with the same identity also answers at \(member.address), its address before: one of the two runs "
                    + "on a copy of the other's data directory; stop that one and empty its data directory")
        }
        if member.role == .voter { try await requireQuorum(without: member) }
        logger.notice(
            "a member has moved",
            metadata: [
                "node.dqlite_id": "\(member.id)", "node.address.before": "\(member.address)",
                "node.address": "\(address)",
            ])
        try await write(MovingNode(dqliteID: member.id, address: address, role: member.role))
        try await change { try await $0.remove(id: member.id) }
        try await change { try await $0.add(id: member.id, address: address) }
        if member.role != .spare {
            let role = member.role
            try await change { try await $0.assign(id: member.id, role: role, timeout: .seconds(15)) }
        }
        try await store.apply(.forgetMove(member.id))
    }

    /// - Throws: why it could not be written down, without which the move is not begun.
    private func write(_ move: MovingNode) async throws {
        do {
            try await store.apply(.noteMove(move))
        } catch let error as DqliteError where error.code == .notLeader {
            throw error
        } catch {
            throw PortFailure(
                reason: .unavailable,
                text:
                    "its address is not changed to \(move.address), because that could not be written down first: \(error)"
            )
        }
    }

    /// Makes the next change of a move that was begun and not brought to its end.
    ///
    /// - Parameters:
    ///   - present: who answers, the leader among them.
    ///   - confirm: asks the node at the member's very address who it is, right before it is given a role.
    /// - Returns: what was done; nil when nothing is left of the move.
    func goOn(
        with move: MovingNode, _ core: MoveCore, present: Set<DqliteNodeID>, place: HostPort?, isNonVoter: Bool,
        confirm: @escaping @Sendable (DqliteMember) async throws -> Void
    ) async throws -> MoveCore.Step? {
        try await queue.run {
            // It may have been brought to its end, or given up, while this waited.
            guard try await self.store.moves().contains(move) else { return nil }
            let members = try await self.members()
            let step = core.next(move, members, present: present, place: place, isNonVoter: isNonVoter)
            let id = move.dqliteID
            switch step {
            case .forget:
                try await self.store.apply(.forgetMove(id))
            case .add(let address):
                try await self.change { try await $0.add(id: id, address: address) }
            case .assign(let role):
                if let member = members.first(where: { $0.id == id }) { try await confirm(member) }
                try await self.change { try await $0.assign(id: id, role: role, timeout: .seconds(5)) }
            case .wait:
                break
            }
            return step
        }
    }

    /// Does something while no member is added, removed or given a role.
    func whileUnchanged<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await queue.run(body)
    }

    /// Frees the address of a member that lives at another one, when somebody else needs it.
    ///
    /// Its own new address may be taken in turn: two members that have changed places. So it gets a name at which nobody is,
    /// and the rest when it asks for it.
    ///
    /// - Returns: whether it lives.
    func makeWay(_ member: DqliteMember) async throws -> Bool {
        guard let place = await sight?.elsewhere(member) else { return false }
        let taken = try await members().contains { $0.id != member.id && $0.address == place.description }
        try await move(member, to: taken ? Self.placeholder(for: member.id) : place.description)
        return true
    }

    /// A member wants the address that the leader's own entry has: it gets a name at which nobody is, so that both entries can
    /// change once another node leads.
    ///
    /// - Throws: always; it has to ask again.
    func park(_ candidate: Candidate) async throws {
        let placeholder = Self.placeholder(for: candidate.dqliteID)
        if let member = try await members().first(where: { $0.id == candidate.dqliteID }), member.address != placeholder
        {
            try await move(member, to: placeholder)
        }
        throw PortFailure(
            reason: .notReady,
            text:
                "\(candidate.address) is the address that the configuration has for the leader, which has moved, too: "
                + "it gives the lead away first")
    }

    /// Parses as no address, so that nobody tries to connect there.
    static func placeholder(for id: DqliteNodeID) -> String { "moving-\(id):0" }

    /// Between removal and addition the others decide alone. If they are too few, nobody could ever lead again.
    private func requireQuorum(without member: DqliteMember) async throws {
        let others = try await members().filter { $0.role == .voter && $0.id != member.id }.map(\.id)
        let present = await sight?.responsive(within: Self.freshness) ?? []
        let there = others.filter { $0 == ownID || present.contains($0) }
        guard there.count > others.count / 2 else {
            throw PortFailure(
                reason: .notReady,
                text:
                    "only \(there.count) of the \(others.count) other voters are there, and without a majority of them "
                    + "the change could not be committed: start the others; the node is reached meanwhile")
        }
    }
}
