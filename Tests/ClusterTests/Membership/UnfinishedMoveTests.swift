import Discovery
import Dqlite
import Lease
import Glibc
import Logging
import Platform
import Testing

@testable import Cluster

/// All voters are there, and nobody else answers anywhere.
private struct Everywhere: MemberSight {
    let local: LocalNode
    let voters: Set<DqliteNodeID>

    func responsive(within window: Duration) async -> Set<DqliteNodeID> { voters }
    func elsewhere(_ member: DqliteMember) async -> HostPort? { nil }
    func isAtHome(_ member: DqliteMember) async -> Bool { false }
    func beginReading() -> RelayCore.Reading { local.relayFacts.beginReading() }
    func learnt(_ members: [DqliteMember], by reading: RelayCore.Reading) {}
}

@Suite("A change of address whose leader is lost halfway, on real nodes", .serialized)
struct UnfinishedMoveTests {
    /// What a leader has done that is lost between removal and addition. The daemon is not told, so it does not go on itself.
    private func begin(_ move: MovingNode, _ leader: ClusterNode) async throws {
        try await leader.store.apply(.noteMove(move))
        let membership = await leader.membership
        try await membership.run(membership.changing) { try await $0.remove(id: move.dqliteID) }
    }

    /// Who keeps its votes back just now declines, and is asked again, as the daemon does.
    private func transfer(_ node: ClusterNode, to id: DqliteNodeID) async throws {
        _ = try await eventually("the transfer of the lead", within: .seconds(20)) {
            do {
                try await node.membership.transfer(to: id, timeout: .seconds(5))
                return true
            } catch let error as DqliteError where error.code == .membership {
                return nil
            }
        }
    }

    @Test(
        "the next leader lists the member again, under its id and with its vote, wherever it was to be listed",
        .timeLimit(.minutes(1)), arguments: [true, false])
    func nextLeader(isKnown: Bool) async throws {
        try await Trio.run { trio in
            let old = try await trio.leader()
            let (mover, next) = ((old + 1) % 3, (old + 2) % 3)
            let id = try await trio.id(mover)
            let before = try await trio.nodes[old].membership.members()
            let home = try #require(before.first { $0.id == id }).address
            // The second is a name at which nobody is: what a member gets whose address another needs.
            let address = isKnown ? home : Membership.placeholder(for: id)
            try await begin(MovingNode(dqliteID: id, address: address, role: .voter), trio.nodes[old])
            if case .removed = await trio.nodes[old].answer(standingOf: id) {
                Issue.record("it is about to be a member again, and was told that it is out")
            }
            try await transfer(trio.nodes[old], to: trio.id(next))

            let leader = try await trio.leader()
            #expect(leader != mover)
            #expect(Set(try await trio.nodes[leader].membership.members()) == Set(before))
            #expect(await trio.nodes[mover].record.dqliteID == id, "it has not joined anew")
            _ = try await eventually("end of the move", within: .seconds(5)) {
                try await trio.nodes[leader].store.moves().isEmpty ? true : nil
            }
            // It has a leader again, and can become one.
            try await transfer(trio.nodes[leader], to: id)
            _ = try await eventually("lead of the member", within: .seconds(10)) {
                trio.nodes[mover].leadershipProof
            }
        }
    }

    @Test(
        "while the member does not answer the others go on; taken off by an operator it is forgotten, and told that it is out",
        .timeLimit(.minutes(1)))
    func neverBack() async throws {
        try await Trio.run { trio in
            let leader = try await trio.leader()
            let node = trio.nodes[leader]
            let mover = (leader + 1) % 3
            let id = try await trio.id(mover)
            await trio.stop(mover)
            try await begin(MovingNode(dqliteID: id, address: "127.0.0.1:1", role: .voter), node)
            try await node.refreshConfiguration()
            _ = try await eventually("word of why", within: .seconds(10)) { await node.movesWaitFor[id] }
            let warnings = await node.status().warnings
            #expect(warnings.contains { $0.contains("not finished") && $0.contains("node remove \(id)`") })
            try await node.commit(.setAddresses(["10.0.0.1/24"]))
            #expect(try await node.store.moves().count == 1)
            let removal = try await node.removeNode("\(id)", force: false)
            #expect(removal.dqliteID == id && removal.isFinal)
            #expect(try await node.store.moves().isEmpty)
            guard case .removed(let told) = await node.answer(standingOf: id) else {
                Issue.record("it is not told")
                return
            }
            #expect(told.isFinal)
        }
    }

    @Test("a leader whose write is lost begins no move, and says why", .timeLimit(.minutes(1)))
    func notWritten() async throws {
        try await Trio.run { trio in
            let leader = try await trio.leader()
            let node = trio.nodes[leader]
            let before = try await node.membership.members()
            let local = try #require(await node.facts.current.local)
            let member = try #require(before.first { $0.id != local.dqliteID })
            // The connection to the database is gone; those to raft are not.
            await node.store.use(nil)
            await node.membership.use(
                local.socket, id: local.dqliteID, sight: Everywhere(local: local, voters: Set(before.map(\.id))))
            let refusal = await #expect(throws: PortFailure.self) {
                try await node.membership.move(member, to: "127.0.0.1:1")
            }
            #expect(refusal?.text.contains("could not be written down first") == true)
            #expect(try await node.membership.members() == before)
            await node.store.use(local.socket)
        }
    }
}
