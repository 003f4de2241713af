import Platform
import Testing

@testable import Cluster

private typealias H = CoreHarness

/// One node's conduct, step by step. What several of them make of it is the simulation's.
@Suite("bootstrap core")
struct BootstrapCoreTests {
    let cluster = ClusterID(high: 0xC1, low: 0)

    // MARK: founding

    @Test("a node with neither expect nor join founds a cluster of one at once, each step on disk before the next")
    func foundsAlone() throws {
        var node = try H(.single, record: nil)
        #expect(node.log.deeds == ["persist fresh", "persist founding creating", "start 1 founding"])
        node.step(.nodeStarted(dqliteID: 1))
        #expect(node.log.deeds.last == "create database")
        let id = try #require(node.core.record.clusterID)
        #expect(
            node.step(.databaseCreated(id)).deeds == ["persist founding inviting", "member", "commit formed"])
        #expect(node.step(.formedCommitted(id)).deeds == ["persist formed", "member of a formed cluster"])
        #expect(node.core.isFormed)
    }

    @Test("the smallest of three ready nodes proposes, and founds only when both others have agreed")
    func proposes() throws {
        var node = try H(.expect(3))
        node.meet([H.view(7, hearing: [8]), H.view(8, hearing: [7])])
        #expect(node.proposals.map(\.to) == [H.address(7), H.address(8)])
        guard case .agreed(let agreement) = node.core.record.state else {
            Issue.record("\(node.core.record.state)")
            return
        }
        #expect(agreement.members == [H.member(5, founder: true), H.member(7), H.member(8)])
        #expect(agreement.founder == H.ownID)
        node.step(.reply(node.proposals[0].id, from: H.address(7), .agreed(agreement.proposal)))
        #expect(node.core.record.state == .agreed(agreement))
        let deeds = node.step(.reply(node.proposals[1].id, from: H.address(8), .agreed(agreement.proposal))).deeds
        #expect(deeds == ["persist founding creating", "start 1 founding"])
        #expect(node.core.record.dqliteID == DqliteID.bootstrap)
    }

    @Test("a node leaves it to a smaller one that is ready")
    func leavesItToTheSmaller() throws {
        var node = try H(.expect(3))
        node.meet([H.view(2, ready: true, hearing: [8]), H.view(8, hearing: [2])], for: .seconds(2))
        #expect(node.proposals.isEmpty)
        #expect(
            node.waiting
                == "enough nodes found; waiting for node2 (10.0.0.2:8800, 00000000) to propose the founding set")
    }

    @Test("a node proposes itself when the smaller ones are not ready")
    func smallerNotReady() throws {
        var node = try H(.expect(3))
        node.meet([H.view(2, hearing: [8]), H.view(8, hearing: [2])])
        #expect(node.proposals.count == 2)
    }

    @Test("a refused proposal is dropped on disk before the others are told, and the next one comes after a pause")
    func refused() throws {
        var node = try H(.expect(3))
        node.meet([H.view(7, hearing: [8]), H.view(8, hearing: [7])])
        let deeds = node.step(
            .reply(
                node.proposals[0].id, from: H.address(7),
                .refused(Refusal(.foundingSet, "too small", view: H.view(7, hearing: [8]))))
        ).deeds
        #expect(deeds == ["warn", "persist fresh", "send abort", "send abort"])
        #expect(node.warnings == ["10.0.0.7:8800 refused: too small"])
        let first = node.proposals.count
        node.step(.tick)
        #expect(node.proposals.count == first)
        node.meet([H.view(7, hearing: [8]), H.view(8, hearing: [7])])
        #expect(node.proposals.count == first + 2)
    }

    @Test("a proposal that is not answered is given up after its time")
    func proposalTimesOut() throws {
        var node = try H(.expect(3))
        let others = [H.view(7, hearing: [8]), H.view(8, hearing: [7])]
        node.meet(others)
        #expect(node.proposals.count == 2)
        node.meet(others, for: .milliseconds(1050))
        #expect(node.states.contains(.fresh))
        #expect(node.sent { if case .abort = $0 { true } else { false } }.count == 2)
    }

    @Test(
        "the founder invites all, adds those that accept once they are a majority, and commits when a majority are members"
    )
    func invitesAndForms() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        var record = H.record(.founding(agreement, cluster, .creating), dqliteID: 1)
        record.generation = 0
        var node = try H(.expect(3), record: record)
        #expect(node.log.deeds == ["start 1 founding"])
        node.step(.nodeStarted(dqliteID: 1))
        let deeds = node.step(.databaseCreated(cluster)).deeds
        #expect(deeds == ["persist founding inviting", "member", "send invite", "send invite"])
        let accepted = node.step(.reply(node.invitations[0].id, from: H.address(7), .accepted(cluster))).deeds
        #expect(accepted == ["persist founding admitting", "admit 10.0.0.7 as voter"])
        #expect(node.step(.admitted(H.id(7), cluster)).deeds == ["commit formed"])
        #expect(
            node.step(.formedCommitted(cluster)).deeds == ["persist formed", "member of a formed cluster"])
    }

    @Test("a founder without a majority gives its cluster up: intent on disk, wipe, then free")
    func dissolves() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        var node = try H(.expect(3), record: H.record(.founding(agreement, cluster, .creating), dqliteID: 1))
        node.step(.nodeStarted(dqliteID: 1))
        node.step(.databaseCreated(cluster))
        let deeds = node.pass(.milliseconds(5100)).deeds
        #expect(
            deeds.filter { $0 != "send invite" } == [
                "warn", "persist fresh, wipe pending", "stop and wipe", "persist fresh", "send abort", "send abort",
            ])
        #expect(node.core.record.dqliteID != 1)
        #expect(node.core.record.generation == 1)
        #expect(node.warnings.last?.contains("is given up: no majority of its members answered") == true)
    }

    @Test("a founder that has added a member never gives up for lack of time")
    func noWayBack() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        var node = try H(
            .expect(3), record: H.record(.founding(agreement, cluster, .admitting), dqliteID: 1), raftIsEmpty: false)
        #expect(node.log.deeds == ["start 1"])
        node.step(.nodeStarted(dqliteID: 1))
        #expect(node.pass(.seconds(30)).deeds.isEmpty)
        let deeds = node.step(.leading(cluster, agreement, members: [1, 1007])).deeds
        #expect(deeds == ["commit formed"])
    }

    @Test("a member that leads after the founder's crash goes on inviting, adding and committing")
    func memberTakesOver() throws {
        let agreement = H.agreement(by: 2, [2, 5, 7])
        var node = try H(
            .expect(3), record: H.record(.joining(cluster, agreement, started: true)), raftIsEmpty: false)
        node.step(.nodeStarted(dqliteID: 5005))
        #expect(node.step(.leading(cluster, agreement, members: [1, 5005])).deeds == ["commit formed"])
        let again = node.step(.formedFailed(cluster, reason: "busy")).deeds
        #expect(again == ["warn"])
        #expect(node.pass(.milliseconds(120)).deeds == ["commit formed"])
    }

    // MARK: promising

    @Test("an agreement is on disk before it is given, and given again to the same proposal")
    func promises() throws {
        var node = try H(.expect(3))
        let agreement = H.agreement(by: 2, [2, 5, 7])
        let directives = node.step(.request(.propose(agreement), token: 1))
        #expect(directives.deeds == ["persist agreed", "respond agreed"])
        #expect(node.ask(.propose(agreement)) == [.agreed(agreement.proposal)])
    }

    @Test("a bound node refuses another proposal and says to whom it is bound")
    func exclusive() throws {
        var node = try H(.expect(3))
        _ = node.ask(.propose(H.agreement(by: 2, [2, 5, 7])))
        let reply = node.ask(.propose(H.agreement(by: 1, [1, 5, 7], proposal: 78)))
        guard case .refused(let refusal) = reply.first else {
            Issue.record("\(reply)")
            return
        }
        #expect(refusal.code == .promised)
        #expect(
            refusal.text == "five (10.0.0.5:8800, 00000000) has agreed to found a cluster with 10.0.0.2:8800")
    }

    @Test("an own proposal gives way to that of a smaller node, not to that of a larger one")
    func givesWay() throws {
        var node = try H(.expect(3))
        node.meet([H.view(7, hearing: [8]), H.view(8, hearing: [7])])
        #expect(node.proposals.count == 2)
        let larger = node.ask(.propose(H.agreement(by: 7, [5, 7, 8])))
        guard case .refused(let refusal) = larger.first else {
            Issue.record("\(larger)")
            return
        }
        #expect(refusal.code == .promised)
        let smaller = H.agreement(by: 2, [2, 5, 7, 8], proposal: 79)
        #expect(
            node.step(.request(.propose(smaller), token: 9)).deeds == [
                "persist agreed", "respond agreed", "send abort", "send abort",
            ])
    }

    struct Objection: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var change: @Sendable (inout Agreement) -> Void
        var code: Refusal.Code
        var text: String
    }

    static let objections = [
        Objection(
            testDescription: "another expect", change: { $0.expect = 2 }, code: .expect,
            text:
                "--bootstrap-expect differs: the proposal of 10.0.0.2:8800 has 2, five (10.0.0.5:8800, 00000000) has 3"),
        Objection(
            testDescription: "another cluster name", change: { $0.clusterName = "test" }, code: .clusterName,
            text:
                "the cluster names differ: the proposal of 10.0.0.2:8800 has \"test\", five (10.0.0.5:8800, 00000000) has \"prod\""
        ),
        Objection(
            testDescription: "an address that we do not have any more",
            change: { $0.members[1].address = HostPort(host: "10.0.0.99", port: 8800) }, code: .stale,
            text: "the proposal of 10.0.0.2:8800 describes five (10.0.0.5:8800, 00000000) as it is not any more"),
        Objection(
            testDescription: "a generation that is over", change: { $0.members[1].generation = 4 }, code: .stale,
            text: "the proposal of 10.0.0.2:8800 describes five (10.0.0.5:8800, 00000000) as it is not any more"),
        Objection(
            testDescription: "fewer members than expected", change: { $0.members.removeLast() }, code: .foundingSet,
            text: "the proposal is unsound: its founding set has 2 members, and 3 are expected"),
        Objection(
            testDescription: "a founder without the bootstrap id", change: { $0.members[0].dqliteID = 4 },
            code: .foundingSet,
            text:
                "the proposal is unsound: the dqlite id 4 of node 00000000-0000-2000-0000-000000000000 is not one that it may have"
        ),
        Objection(
            testDescription: "one member twice", change: { $0.members.append($0.members[2]) }, code: .foundingSet,
            text: "the proposal is unsound: two of its members are the same: 10.0.0.7:8800 and 10.0.0.7:8800"),
    ]

    @Test("a proposal that does not fit is refused with both values and both nodes", arguments: objections)
    func objects(objection: Objection) throws {
        var node = try H(.expect(3))
        var agreement = H.agreement(by: 2, [2, 5, 7])
        objection.change(&agreement)
        let reply = node.ask(.propose(agreement))
        guard case .refused(let refusal) = reply.first else {
            Issue.record("\(reply)")
            return
        }
        #expect(refusal.code == objection.code)
        #expect(refusal.text == objection.text)
        #expect(node.core.record.state == .fresh)
    }

    @Test("a founding set that is not more than half of what the member knows is refused")
    func refusesMinority() throws {
        var node = try H(.expect(3))
        node.step(.discovered((1...7).map(H.address)))
        let reply = node.ask(.propose(H.agreement(by: 2, [2, 5, 7])))
        guard case .refused(let refusal) = reply.first else {
            Issue.record("\(reply)")
            return
        }
        #expect(refusal.code == .foundingSet)
        #expect(
            refusal.text
                == "the proposal of 10.0.0.2:8800 has 3 members, which is not more than half of the 7 nodes and addresses that five (10.0.0.5:8800, 00000000) knows"
        )
    }

    @Test("a node that never founds refuses every proposal", arguments: [true, false])
    func neverFounds(nonVoter: Bool) throws {
        var node = try H(.joinOnly, nonVoter: nonVoter)
        guard case .refused(let refusal) = node.ask(.propose(H.agreement(by: 2, [2, 5, 7]))).first else {
            Issue.record("agreed")
            return
        }
        #expect(refusal.code == .neverFounds)
        node.meet([H.view(7, hearing: [8]), H.view(8, hearing: [7])], for: .seconds(2))
        #expect(node.proposals.isEmpty)
    }

    @Test("a node with state refuses every proposal and names its cluster")
    func stateNeverPromises() throws {
        var node = try H(.expect(3), record: H.record(.formed(cluster)), raftIsEmpty: false)
        guard case .refused(let refusal) = node.ask(.propose(H.agreement(by: 2, [2, 5, 7]))).first else {
            Issue.record("agreed")
            return
        }
        #expect(refusal.code == .hasState)
        #expect(refusal.text.contains("belongs to a cluster already, and founds no other"))
        #expect(refusal.view?.clusterID == cluster)
    }

    // MARK: being released

    @Test("the founder's word frees a member only when it was asked after the promise")
    func foundersWord() throws {
        var node = try H(.expect(3))
        node.step(.discovered([H.address(2)]))
        node.pass(.milliseconds(20))
        let early = try #require(node.sent { if case .hello = $0 { true } else { false } }.first)
        let agreement = H.agreement(by: 2, [2, 5, 7])
        _ = node.ask(.propose(agreement))
        node.step(.reply(early.id, from: H.address(2), .view(H.view(2))))
        #expect(node.core.record.state == .agreed(agreement))
        node.pass(.milliseconds(300))
        let late = try #require(
            node.sent { if case .hello = $0 { true } else { false } }.last { $0.to == H.address(2) })
        #expect(late.id > early.id)
        node.step(.reply(late.id, from: H.address(2), .view(H.view(2))))
        #expect(node.core.record.state == .fresh)
        #expect(node.core.record.generation == 1)
    }

    @Test("a founder that still holds the proposal keeps its members bound")
    func founderHolds() throws {
        var node = try H(.expect(3))
        let agreement = H.agreement(by: 2, [2, 5, 7])
        _ = node.ask(.propose(agreement))
        node.meet(
            [H.view(2, .founding, proposal: agreement.proposal, founder: H.id(2))], for: .seconds(5))
        #expect(node.core.record.state == .agreed(agreement))
    }

    @Test("an abort frees a member for good: the same proposal binds it no more")
    func abort() throws {
        var node = try H(.expect(3))
        let agreement = H.agreement(by: 2, [2, 5, 7])
        _ = node.ask(.propose(agreement))
        #expect(node.step(.request(.abort(agreement.proposal), token: 3)).deeds == ["persist fresh", "respond view"])
        guard case .refused(let refusal) = node.ask(.propose(agreement)).first else {
            Issue.record("agreed again")
            return
        }
        #expect(refusal.code == .stale)
    }

    @Test("a member of a silent founder withdraws, refuses its invitation, and is free once enough others have left")
    func withdraws() throws {
        var node = try H(.expect(3))
        let agreement = H.agreement(by: 2, [2, 5, 7])
        _ = node.ask(.propose(agreement))
        let other = H.view(7, .withdrawn, generation: 0)
        node.meet([other], for: .milliseconds(3300))
        #expect(node.core.record.state == .withdrawn(agreement))
        #expect(node.core.record.generation == 1)
        guard case .refused(let refusal) = node.ask(.invite(agreement, cluster)).first else {
            Issue.record("accepted")
            return
        }
        #expect(refusal.code == .notAgreed)
        #expect(
            node.waiting?.hasPrefix(
                "the founder 10.0.0.2:8800 does not answer; this node has withdrawn from its founding set and goes on when 2 of its members have (1 so far); no answer from 10.0.0.2:8800"
            ) == true, "\(node.waiting ?? "nothing")")
        node.meet([H.view(7, .withdrawn, generation: 1)])
        #expect(node.core.record.state == .fresh)
        #expect(node.core.record.generation == 1)
    }

    @Test("a member that has accepted the invitation waits for ever and says what the operator can do")
    func acceptedWaits() throws {
        var node = try H(.expect(3))
        let agreement = H.agreement(by: 2, [2, 5, 7])
        _ = node.ask(.propose(agreement))
        #expect(
            node.step(.request(.invite(agreement, cluster), token: 5)).deeds == [
                "persist joining unformed", "start 5005",
            ])
        #expect(
            node.step(.nodeStarted(dqliteID: 5005)).deeds == [
                "persist joining unformed started", "respond accepted", "member",
            ])
        node.pass(.seconds(60))
        #expect(node.core.record.state == .joining(cluster, agreement, started: true))
        #expect(
            node.waiting
                == "member of cluster \(cluster), which is not formed yet; waiting for its founder 10.0.0.2:8800 and the other members; if the founder never comes back, stop all members and remove their data directories"
        )
    }
}
