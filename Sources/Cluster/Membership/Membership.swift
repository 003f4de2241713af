import Dqlite
import Logging
import NIOCore
import Platform

/// The leader's work on the list of members: it adds, replaces and promotes, one change at a time.
///
/// Raft takes one change of its configuration at once, and a change that waits for an unreachable node blocks every
/// other for 50 s. So every node is asked first, at the very address it gives, whether it is there and who it is.
actor Membership {
    let store: ConfigurationStore
    private let policy: RolePolicy
    let logger: Logger
    private(set) var ownID: DqliteNodeID = 0
    private(set) var sight: (any MemberSight)?
    /// One for each purpose: a connection carries one request at a time, and a change can take seconds; nobody else shall
    /// wait for it.
    let viewing, changing, transferring: NodeConnection
    let queue = SerialQueue()
    /// Candidates that wait for, or are in, the queue.
    private var underWay: [Candidate: Task<MemberRole, any Error>] = [:]
    /// More would only wait longer than they ask.
    private static let mostUnderWay = 16

    init(group: any EventLoopGroup, store: ConfigurationStore, policy: RolePolicy, logger: Logger) {
        self.store = store
        self.policy = policy
        self.logger = logger
        viewing = NodeConnection(group: group)
        changing = NodeConnection(group: group)
        transferring = NodeConnection(group: group)
    }

    /// Names the local node, its socket and what it sees of the others, or that there is none.
    func use(_ socket: DqliteAddress?, id: DqliteNodeID = 0, sight: (any MemberSight)? = nil) async {
        ownID = id
        self.sight = sight
        for connection in [viewing, changing, transferring] { await connection.use(socket) }
    }

    /// The members as the local node has them in its raft configuration. Whoever has to know them is told.
    @discardableResult
    func members() async throws -> [DqliteMember] {
        let sight = sight
        let reading = sight?.beginReading()
        let members = try await run(viewing) { try await $0.cluster() }
        if let reading { sight?.learnt(members, by: reading) }
        return members
    }

    /// Makes one change of raft's configuration, and reads the members that follow from it.
    ///
    /// Raft itself asks for less than it should before a change (Ongaro, raft-dev, 10 July 2015): that an entry of this
    /// leader's term is committed. Without that two leaders could get majorities that have nobody in common.
    func change<Result: Sendable>(_ body: @Sendable (DqliteClient) async throws -> Result) async throws -> Result {
        try await store.confirmLead()
        let outcome: Swift.Result<Result, any Error>
        do {
            outcome = .success(try await run(changing, body))
        } catch {
            outcome = .failure(error)
        }
        // Also after a failure: it counts from the moment in which it is in the log. The relay must know who votes, since a sole
        // voter has nobody to tell it to; and who dials must know whom an address means before raft does.
        do {
            try await members()
        } catch {
            logger.debug("the members cannot be read after a change", metadata: ["error": "\(error)"])
        }
        return try outcome.get()
    }

    /// Makes a node a member; repeatable, so that a lost answer costs nothing.
    ///
    /// - Parameter confirm: asks the node at the address who it is.
    func admit(
        _ candidate: Candidate, as kind: Candidate.Kind,
        confirm: @escaping @Sendable (Candidate) async throws -> Void
    ) async throws -> MemberRole {
        // Outside of the queue: a candidate that does not answer must not hold up those that do.
        try await confirm(candidate)
        if let same = underWay[candidate] { return try await same.value }
        guard underWay.count < Self.mostUnderWay else {
            throw PortFailure(
                reason: .unavailable,
                text: "\(underWay.count) nodes are being added already: try again in a few seconds")
        }
        let task = Task { [queue] in try await queue.run { try await self.admitNow(candidate, kind) } }
        underWay[candidate] = task
        defer { underWay[candidate] = nil }
        return try await task.value
    }

    /// Gives the lead to another voter.
    ///
    /// - Parameters:
    ///   - target: 0 lets raft choose.
    func transfer(to target: DqliteNodeID, timeout: Duration) async throws {
        try await run(transferring) { try await $0.transfer(to: target, timeout: timeout) }
    }

    private func admitNow(_ candidate: Candidate, _ kind: Candidate.Kind) async throws -> MemberRole {
        var members = try await members()
        // The founder comes back under the id that only a founder has.
        let isMember = candidate.isReturning || members.contains { $0.id == candidate.dqliteID }
        guard candidate.dqliteID != 0, candidate.dqliteID != DqliteID.libraryBootstrap,
            isMember || candidate.dqliteID != DqliteID.bootstrap
        else {
            throw PortFailure(
                reason: .invalid, text: "\(candidate.dqliteID) is not an id under which a node can be added")
        }
        // Its disk was wiped, or the address was given to another machine: who answers there now is the candidate.
        for stale in members where stale.address == candidate.address && stale.id != candidate.dqliteID {
            if stale.id == ownID { try await park(candidate) }
            if try await makeWay(stale) { continue }
            try await remove(stale, "another node answers at its address now")
        }
        // The same node at another address.
        for moved in members where moved.id == candidate.dqliteID && moved.address != candidate.address {
            try await move(moved, to: candidate.address)
        }
        members = try await self.members()
        var role = members.first { $0.id == candidate.dqliteID }?.role
        if role == nil {
            try await change { try await $0.add(id: candidate.dqliteID, address: candidate.address) }
            logger.notice("a node was added", metadata: candidate.metadata)
            role = .spare
        }
        let others = members.filter { $0.id != candidate.dqliteID }
        let wanted = policy.role(
            currentVoters: others.count { $0.role == .voter }, currentStandbys: others.count { $0.role == .standby },
            isFoundingMember: kind == .founder, nonVoter: kind == .joiner(nonVoter: true))
        // Here a role is only ever raised; whether one is to be lowered is seen with all members in view.
        if let current = role, DqliteRole(wanted).rawValue < current.rawValue {
            let role = DqliteRole(wanted)
            try await change { try await $0.assign(id: candidate.dqliteID, role: role, timeout: .seconds(15)) }
            logger.notice(
                "a node got its role",
                metadata: candidate.metadata.merging(["node.role": "\(wanted)"]) { $1 })
        }
        if !candidate.name.isEmpty {
            try await store.apply(
                .describeNode(.init(dqliteID: candidate.dqliteID, nodeID: candidate.nodeID, name: candidate.name)))
        }
        // What was raised is not read anew: it is the role that was asked for.
        let before = role.flatMap { MemberRole(rawValue: $0.rawValue) } ?? .spare
        return before.rawValue < wanted.rawValue ? before : wanted
    }

    private func remove(_ member: DqliteMember, _ reason: String) async throws {
        guard member.id != ownID else {
            throw PortFailure(reason: .invalid, text: "\(member.address) is the leader itself and is not replaced")
        }
        logger.notice(
            "a member is replaced",
            metadata: [
                "node.dqlite_id": "\(member.id)", "node.address": "\(member.address)", "reason": "\(reason)",
            ])
        try await change { try await $0.remove(id: member.id) }
        try await store.apply(.forgetNode(member.id))
    }

    func run<Result: Sendable>(
        _ connection: NodeConnection, _ body: @Sendable (DqliteClient) async throws -> Result
    ) async throws -> Result {
        let client = try await connection.connected()
        do {
            return try await body(client)
        } catch {
            if !client.isOpen { await connection.drop(client) }
            throw error
        }
    }
}

/// A node that is to become a member.
struct Candidate: Sendable, Hashable {
    enum Kind: Sendable, Equatable {
        /// Of the agreed founding set: a voter, up to seven.
        case founder
        case joiner(nonVoter: Bool)
    }

    var nodeID: String
    var dqliteID: DqliteNodeID
    var address: String
    var name: String
    /// It is a member, or was until its address was being changed.
    var isReturning = false

    var metadata: Logger.Metadata {
        [
            "node.id": "\(nodeID)", "node.dqlite_id": "\(dqliteID)", "node.address": "\(address)",
            "node.name": "\(name)",
        ]
    }
}

extension DqliteRole {
    init(_ role: MemberRole) {
        switch role {
        case .voter: self = .voter
        case .standBy: self = .standby
        case .spare: self = .spare
        }
    }
}
