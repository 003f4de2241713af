import Dqlite
import Logging
import Platform

/// Changes of address that a leader has begun and not brought to their end, mostly because it was lost: whoever leads goes on
/// with them. What to do is `MoveCore`'s decision.
extension ClusterNode {
    /// Where those that are no members just now answer under their identity.
    func placesOfMoving(_ members: [DqliteMember]) async -> [DqliteNodeID: HostPort] {
        let absent = (configuration.moving ?? []).filter { move in !members.contains { $0.id == move.dqliteID } }
        return await withTaskGroup(of: (DqliteNodeID, HostPort)?.self) { tasks in
            for move in absent {
                let id = move.dqliteID
                for place in Set([facts.addressBook[id], try? HostPort(parsing: move.address)].compactMap { $0 }) {
                    tasks.addTask { await self.answers(id, at: place) ? (id, place) : nil }
                }
            }
            var found: [DqliteNodeID: HostPort] = [:]
            for await case let (id, place)? in tasks {
                // It answers at two for a moment while its address changes: where it was met is the newer.
                if found[id] == nil || facts.addressBook[id] == place { found[id] = place }
            }
            return found
        }
    }

    /// Makes the next change of one of them.
    ///
    /// - Parameters:
    ///   - present: who answers, the leader among them.
    ///   - places: of those that are no members.
    /// - Returns: whether the members are others now.
    func goOnWithMoves(present: Set<DqliteNodeID>, _ places: [DqliteNodeID: HostPort]) async throws -> Bool {
        let moves = configuration.moving ?? []
        movesWaitFor = movesWaitFor.filter { id, _ in moves.contains { $0.dqliteID == id } }
        let core = MoveCore(voters: settings.rolePolicy.voters, standbys: settings.membership.standbys)
        for move in moves where !removing.contains(move.dqliteID) {
            let id = move.dqliteID
            let isNonVoter = configuration.nodes.first { $0.dqliteID == id }?.isNonVoter == true
            var metadata: Logger.Metadata = [
                "node.dqlite_id": "\(id)", "node.address": "\(places[id]?.description ?? move.address)",
                "node.role": "\(move.role)",
            ]
            let step: MoveCore.Step?
            do {
                step = try await membership.goOn(
                    with: move, core, present: present, place: places[id], isNonVoter: isNonVoter
                ) { try await self.confirm($0) }
            } catch {
                // The next one, and the roles, need not wait for it.
                step = .wait("\(error)")
            }
            switch step {
            case .add, .assign:
                logger.notice("the change of a member's address, which was not finished, goes on", metadata: metadata)
                return true
            case .wait(let reason):
                metadata["reason"] = "\(reason)"
                logger.log(
                    level: movesWaitFor[id] == reason ? .debug : .notice,
                    "the change of a member's address is not finished, and waits", metadata: metadata)
                movesWaitFor[id] = reason
            case .forget, nil:
                try await refreshConfiguration()
            }
        }
        return false
    }
}
