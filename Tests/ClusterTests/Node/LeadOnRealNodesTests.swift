import Dqlite
import Glibc
import Lease
import Platform
import Testing

@testable import Cluster

/// Real libdqlite and relays; here the test sees every moment in which nobody could hold an address.
@Suite("The lead, on real nodes", .serialized)
struct LeadOnRealNodesTests {
    /// For how long at most none of the nodes has had a proof that it leads, while `body` ran and some time after.
    private func longestGap(
        _ nodes: [ClusterNode], after: Duration = .milliseconds(700), _ body: () async throws -> Void
    ) async throws -> Duration {
        let watch = Task.detached { () -> Duration in
            var (longest, since) = (Duration.zero, BootInstant?.none)
            while true {
                let now = BootClock.now
                if nodes.contains(where: { $0.leadershipProof != nil }) {
                    since = nil
                } else {
                    let begin = since ?? now
                    since = begin
                    longest = max(longest, begin.duration(to: now))
                }
                if Task.isCancelled { return longest }
                usleep(1000)
            }
        }
        do {
            try await body()
            try await Task.sleep(for: after)
        } catch {
            watch.cancel()
            throw error
        }
        watch.cancel()
        return await watch.value
    }

    @Test("voters become two, and one: the leader's lease goes on through both changes", .timeLimit(.minutes(1)))
    func fewerVoters() async throws {
        try await Trio.run { trio in
            let leader = try await trio.leader()
            let node = trio.nodes[leader]
            for index in trio.nodes.indices where index != leader {
                let id = try await trio.id(index)
                let gap = try await longestGap([node]) {
                    // For good: who is only taken off the list joins anew at once.
                    _ = try await node.removeNode(String(id), force: false)
                }
                print("no proof for", gap)
                #expect(gap < .milliseconds(20))
            }
            let local = try #require(await node.facts.current.local)
            #expect(local.relayFacts.current.lease.voters == [local.dqliteID])
        }
    }

    @Test(
        "a leader that has lost the others answers no question, although libdqlite says that it leads",
        .timeLimit(.minutes(1)))
    func deposed() async throws {
        try await Trio.run { trio in
            let leader = try await trio.leader()
            let node = trio.nodes[leader]
            guard case .configuration = await node.answerRead() else {
                return _ = Issue.record("it leads, and says nothing")
            }
            for index in trio.nodes.indices where index != leader { await trio.stop(index) }
            var refused = 0
            _ = try await eventually("the end of the lead", within: .seconds(5)) { () -> Bool? in
                guard node.leads else { return true }
                guard node.leadershipProof == nil else { return nil }
                let answer = await node.answerRead()
                // It may have been lost while it was asked.
                guard node.leads else { return true }
                guard case .failed(let failure) = answer else {
                    Issue.record("\(answer)")
                    return true
                }
                #expect(failure.reason == .notLeader)
                refused += 1
                return nil
            }
            print("asked in vain", refused, "times")
            #expect(refused > 0)
        }
    }

    @Test(
        "the lead is given as soon as the cluster stands; to one that keeps its votes back when they are free",
        .timeLimit(.minutes(1)))
    func handedOver() async throws {
        try await Trio.run { trio in
            let old = try await trio.formed()
            let next = (old + 1) % 3
            let id = try await trio.id(next)
            let local = try #require(await trio.nodes[next].facts.current.local)
            let term = try #require(trio.nodes[old].leadershipProof).term
            let until = BootClock.now.advanced(by: .milliseconds(250))
            local.relayFacts.update { $0.closedUntil = until }
            let gap = try await longestGap(trio.nodes) {
                let done = try await trio.nodes[old].handOver(to: String(id))
                #expect(done.leaderID == id)
            }
            #expect(BootClock.now >= until)
            print("no proof for", gap)
            let proof = try #require(trio.nodes[next].leadershipProof)
            #expect(proof.term == term + 1, "nobody else was elected between")
            #expect(gap < .milliseconds(100))
        }
    }

    @Test(
        "who keeps its votes back for too long is refused with the time, before anything is changed",
        .timeLimit(.minutes(1)))
    func refused() async throws {
        try await Trio.run { trio in
            let old = try await trio.formed()
            let others = (0..<3).filter { $0 != old }
            let term = try #require(trio.nodes[old].leadershipProof).term
            for index in others {
                let local = try #require(await trio.nodes[index].facts.current.local)
                local.relayFacts.update { $0.closedUntil = BootClock.now.advanced(by: .seconds(60)) }
            }
            let gap = try await longestGap([trio.nodes[old]]) {
                let refusal = await #expect(throws: ClusterNode.HandOverRefused.self) {
                    _ = try await trio.nodes[old].handOver(to: nil)
                }
                #expect(refusal?.kind == .conflict)
                #expect(
                    refusal?.description.contains("its votes are kept back for another 59") == true,
                    "\(refusal?.description ?? "")")
            }
            #expect(gap < .milliseconds(20))
            #expect(trio.nodes[old].leadershipProof?.term == term)
        }
    }

    @Test(
        "the check of what a node believes of its members comes to its end, on leader and followers, at rest",
        .timeLimit(.minutes(1)))
    func believed() async throws {
        try await Trio.run { trio in
            _ = try await trio.formed()
            for node in trio.nodes {
                let local = try #require(await node.facts.current.local)
                let (directory, membership) = await (node.data.raftDirectory, node.membership)
                var tail = RaftLogTail()
                // Nothing is written after it, and a heartbeat tells that it is committed.
                let newest = try tail.lastIndex(inDirectory: directory)
                var watch = ConfigurationWatch(local: local, newestAtStart: newest)
                var verdicts: [ConfigurationCheck.Verdict] = []
                for _ in 1...20 where verdicts.last != .settled {
                    verdicts.append(await watch.look(directory, membership))
                    try await Task.sleep(for: .milliseconds(100))
                }
                #expect(verdicts.last == .settled && verdicts.count >= 2, "\(verdicts)")
            }
        }
    }

    @Test("each lead writes one line before it answers, and the next lead one more", .timeLimit(.minutes(1)))
    func ownEntry() async throws {
        try await Trio.run { trio in
            let old = try await trio.formed()
            let next = (old + 1) % 3
            func lines(_ index: Int) async throws -> Int {
                _ = try await trio.nodes[index].store.committedConfiguration()
                return try await Int(trio.nodes[index].store.facts()["leads"] ?? "") ?? 0
            }
            let first = try await lines(old)
            #expect(try await lines(old) == first)
            _ = try await trio.nodes[old].handOver(to: String(trio.id(next)))
            _ = try await eventually("lead of the successor", within: .seconds(10)) { trio.nodes[next].leadershipProof }
            #expect(try await lines(next) == first + 1)
            // Back, on the same process: libdqlite has taken the database from the connection that it had.
            _ = try await trio.nodes[next].handOver(to: String(trio.id(old)))
            _ = try await eventually("lead of the first", within: .seconds(10)) { trio.nodes[old].leadershipProof }
            _ = try await eventually("answer of the first", within: .seconds(5)) { try? await lines(old) }
            #expect(try await lines(old) == first + 2)
        }
    }
}
