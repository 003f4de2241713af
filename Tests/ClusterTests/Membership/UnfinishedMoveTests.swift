import Discovery
import Dqlite
import Glibc
import Logging
import Platform
import Testing

@testable import Cluster

/// Three founders in this process, with real libdqlite, on loopback addresses of their own. Here a test can do what a leader
/// does, and stop between any two steps.
private final class Trio: Sendable {
    let nodes: [ClusterNode]
    private let runs: [Task<Void, any Error>]
    private let configured: [Task<Void, Never>]

    private init(in directory: String) throws {
        let net = "127.\(Int.random(in: 1...254)).\(Int.random(in: 1...254))"
        let addresses = (1...3).map { HostPort(host: "\(net).\($0)", port: 8800) }
        var quiet = Logger(label: "trio")
        quiet.logLevel = .critical
        let logger = quiet
        nodes = try addresses.enumerated().map { index, address in
            try ClusterNode(
                settings: ClusterSettings(
                    clusterName: "trio", bootstrapExpect: 3, search: .discovery, voters: 3, listen: address,
                    advertised: address, name: "n\(index + 1)"),
                discovery: StaticDiscovery(addresses), data: DataDirectory("\(directory)/\(index + 1)"), logger: logger,
                onLeadership: {})
        }
        runs = nodes.map { node in Task { try await node.run() } }
        // As the daemon does once it has taken up what is configured.
        configured = nodes.map { node in
            Task {
                for await update in await node.configurations() {
                    if let term = update.term { node.tookUp(term: term) }
                }
            }
        }
    }

    static func run(_ body: (Trio) async throws -> Void) async throws {
        var template = Array("/tmp/dqlite-vip-trio.XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let trio = try Trio(in: directory)
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(trio))
        } catch {
            outcome = .failure(error)
        }
        for index in trio.nodes.indices { await trio.stop(index) }
        for index in 1...3 {
            for name in ["/raft", ""] { try Directory.removeWithFiles("\(directory)/\(index)\(name)") }
        }
        try Directory.removeWithFiles(directory)
        try outcome.get()
    }

    func stop(_ index: Int) async {
        runs[index].cancel()
        _ = await runs[index].result
        configured[index].cancel()
    }

    func id(_ index: Int) async throws -> DqliteNodeID {
        let local = await nodes[index].facts.current.local
        return try #require(local).dqliteID
    }

    /// Who leads with a proof, once those that count have three members, or as many as are given.
    func leader(voters: Int = 3, within limit: Duration = .seconds(20)) async throws -> Int {
        try await eventually("leader of \(voters) voters", within: limit) {
            for (index, node) in nodes.enumerated() where node.leadershipProof != nil {
                let members = try? await node.membership.members()
                if members?.count(where: { $0.role == .voter }) == voters { return index }
            }
            return nil
        }
    }
}

private func eventually<Value>(
    _ what: String, within limit: Duration, _ look: () async throws -> Value?
) async throws -> Value {
    let deadline = BootClock.now.advanced(by: limit)
    while true {
        if let value = try await look() { return value }
        try #require(BootClock.now < deadline, "\(what): not within \(limit)")
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// All voters are there, and nobody else answers anywhere.
private struct Everywhere: MemberSight {
    let local: LocalNode
    let voters: Set<DqliteNodeID>

    func responsive(within window: Duration) async -> Set<DqliteNodeID> { voters }
    func elsewhere(_ member: DqliteMember) async -> HostPort? { nil }
    func isAtHome(_ member: DqliteMember) async -> Bool { false }
    func beginReading() -> RelayFacts.Reading { local.relayFacts.beginReading() }
    func learnt(_ members: [DqliteMember], by reading: RelayFacts.Reading) {}
}

@Suite("A change of address whose leader is lost halfway, on real nodes", .serialized)
struct UnfinishedMoveTests {
    /// What a leader has done that is lost between removal and addition. The daemon is not told, so it does not go on itself.
    private func begin(_ move: MovingNode, _ leader: ClusterNode) async throws {
        try await leader.store.apply(.noteMove(move))
        let membership = await leader.membership
        try await membership.run(membership.changing) { try await $0.remove(id: move.dqliteID) }
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
            try await trio.nodes[old].membership.transfer(to: trio.id(next), timeout: .seconds(5))

            let leader = try await trio.leader()
            #expect(leader != mover)
            #expect(Set(try await trio.nodes[leader].membership.members()) == Set(before))
            #expect(await trio.nodes[mover].record.dqliteID == id, "it has not joined anew")
            _ = try await eventually("end of the move", within: .seconds(5)) {
                try await trio.nodes[leader].store.moves().isEmpty ? true : nil
            }
            // It has a leader again, and can become one.
            try await trio.nodes[leader].membership.transfer(to: id, timeout: .seconds(5))
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
