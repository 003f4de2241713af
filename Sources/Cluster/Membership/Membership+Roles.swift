import Dqlite
import Logging
import Platform

/// Changes of the roles of those who are members already, and their end, in the same queue as all other changes.
extension Membership {
    /// Gives a member another role.
    ///
    /// - Parameters:
    ///   - all: the members for whom it was decided; when they are others by now, nothing is done.
    ///   - confirm: asks the node at the member's very address who it is, right before; a change that waits for an
    ///     unreachable node would keep up all others.
    func assign(
        _ member: DqliteMember, _ role: DqliteRole, of all: [DqliteMember], reason: String,
        confirm: @escaping @Sendable (DqliteMember) async throws -> Void
    ) async throws {
        try await queue.run { try await self.assignNow(member, role, all, reason, confirm) }
    }

    private func assignNow(
        _ member: DqliteMember, _ role: DqliteRole, _ all: [DqliteMember], _ reason: String,
        _ confirm: @Sendable (DqliteMember) async throws -> Void
    ) async throws {
        guard try await Set(members()) == Set(all), member.id != ownID else { return }
        // Only who gets data has to be there.
        if role.rawValue < member.role.rawValue { try await confirm(member) }
        try await change { try await $0.assign(id: member.id, role: role, timeout: .seconds(5)) }
        logger.notice(
            "a member got another role",
            metadata: [
                "node.dqlite_id": "\(member.id)", "node.address": "\(member.address)", "node.role": "\(role)",
                "node.role.before": "\(member.role)", "reason": "\(reason)",
            ])
    }

    /// Takes a member off the list.
    ///
    /// - Parameter check: what speaks against it, asked with the newest list, when nothing else changes it any more.
    /// - Throws: what `check` throws; `DqliteError`, after which it may still come about when it says so.
    func removeMember(
        _ id: DqliteNodeID, timeout: Duration,
        check: @escaping @Sendable ([DqliteMember], DqliteMember) async throws -> Void
    ) async throws {
        try await queue.run { try await self.removeNow(id, timeout, check) }
    }

    private func removeNow(
        _ id: DqliteNodeID, _ timeout: Duration,
        _ check: @Sendable ([DqliteMember], DqliteMember) async throws -> Void
    ) async throws {
        let members = try await members()
        guard let member = members.first(where: { $0.id == id }) else { return }
        guard id != ownID else {
            throw PortFailure(reason: .notReady, text: "\(member.address) is the leader itself")
        }
        try await check(members, member)
        try await change { try await $0.remove(id: id, timeout: timeout) }
    }

    /// Whether a node is no member, when no change is under way that could bring it in or back.
    func isStranger(_ id: DqliteNodeID) async throws -> Bool {
        try await queue.run {
            guard try await !self.members().contains(where: { $0.id == id }) else { return false }
            // One whose address is being changed is about to be a member again.
            return try await !self.store.moves().contains { $0.dqliteID == id }
        }
    }
}
