import Platform
import Testing

@testable import Cluster

private typealias H = CoreHarness

@Suite("bootstrap: joining, restarts and messages")
struct BootstrapJoinTests {
    let cluster = ClusterID(high: 0xC1, low: 0)
    let other = ClusterID(high: 0xC2, low: 0)

    // MARK: joining

    @Test("joining comes before founding: one formed node among ready ones decides")
    func joinsFirst() throws {
        var node = try H(.expect(3))
        node.meet([
            H.view(7, hearing: [8]), H.view(8, hearing: [7]), H.view(3, .formed, clusterID: cluster),
        ])
        #expect(node.proposals.isEmpty)
        #expect(node.core.record.state == .joining(cluster, nil, started: false))
        #expect(node.log.deeds.last == "start 5005")
        #expect(node.joins.isEmpty)
        #expect(
            node.step(.nodeStarted(dqliteID: 5005)).deeds == ["persist joining formed started", "send join"])
    }

    @Test("a redirect is followed to the leader, and membership is on disk before it is said")
    func followsRedirect() throws {
        var node = try H(.joinOnly)
        let member = H.view(3, .formed, clusterID: cluster)
        node.meet([member])
        node.step(.nodeStarted(dqliteID: 5005))
        #expect(node.joins.map(\.to) == [H.address(3)])
        node.step(.reply(node.joins[0].id, from: H.address(3), .redirect(leader: H.address(4))))
        #expect(node.joins.map(\.to) == [H.address(3), H.address(4)])
        let deeds = node.step(.reply(node.joins[1].id, from: H.address(4), .joined(cluster, .voter))).deeds
        #expect(deeds == ["persist formed", "member of a formed cluster"])
    }

    @Test("redirects in a circle are not followed without pause")
    func redirectsAreBounded() throws {
        var node = try H(.joinOnly)
        node.meet([H.view(3, .formed, clusterID: cluster)])
        node.step(.nodeStarted(dqliteID: 5005))
        for round in 0..<20 {
            guard node.joins.count > round else { break }
            let join = node.joins[round]
            let next = join.to == H.address(3) ? H.address(4) : H.address(3)
            node.step(.reply(join.id, from: join.to, .redirect(leader: next)))
        }
        #expect(node.joins.count == 4)
    }

    @Test("a join that fails is tried again, at another member")
    func triesOthers() throws {
        var node = try H(.joinOnly)
        let members = [H.view(3, .formed, clusterID: cluster), H.view(4, .formed, clusterID: cluster)]
        node.meet(members)
        node.step(.nodeStarted(dqliteID: 5005))
        node.step(.failed(node.joins[0].id, from: node.joins[0].to, reason: "no route"))
        node.meet(members)
        #expect(Set(node.joins.prefix(2).map(\.to)) == [H.address(3), H.address(4)])
    }

    @Test("a node that hears two formed clusters joins neither and names both")
    func severalClusters() throws {
        var node = try H(.joinOnly)
        node.meet([H.view(3, .formed, clusterID: cluster), H.view(4, .formed, clusterID: other)], for: .seconds(3))
        #expect(node.core.record.state == .fresh)
        #expect(
            node.warnings == [
                "there are several formed clusters: \(cluster), \(other) at 10.0.0.3:8800, 10.0.0.4:8800; this node joins none of them until only one answers"
            ])
        #expect(
            node.waiting
                == "nodes of different formed clusters answer: \(cluster), \(other); give each cluster its own name, or take the addresses of the wrong one out of the discovery"
        )
    }

    @Test("a silent address delays a join by a tenth of a second and no more")
    func silentAddress() throws {
        var node = try H(.joinOnly)
        node.step(.discovered([H.address(3), H.address(9)]))
        node.pass(.milliseconds(20))
        node.answerHellos([H.view(3, .formed, clusterID: cluster)])
        #expect(node.core.record.state == .fresh)
        node.pass(.milliseconds(100))
        #expect(node.core.record.state == .joining(cluster, nil, started: false))
    }

    @Test("a formed cluster with another name is not joined, and both names are said")
    func otherName() throws {
        var node = try H(.joinOnly)
        node.meet([H.view(3, .formed, name: "test", clusterID: cluster)])
        #expect(node.core.record.state == .fresh)
        #expect(
            node.warnings == [
                "the cluster names differ: five (10.0.0.5:8800, 00000000) has \"prod\", node3 (10.0.0.3:8800, 00000000) has \"test\"; they will not become one cluster: give both the same name, or take the address out of the discovery"
            ])
    }

    @Test("I6: a founder that finds another cluster formed gives up its own, with a new dqlite id, and joins")
    func givesUpForFormed() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        var node = try H(
            .expect(3), record: H.record(.founding(agreement, cluster, .inviting), dqliteID: 1), raftIsEmpty: false)
        node.step(.nodeStarted(dqliteID: 1))
        let before = node.log.count
        node.meet([H.view(7, .formed, clusterID: other)], for: .milliseconds(200))
        #expect(
            Array(node.log.dropFirst(before)).deeds.prefix(5) == [
                "warn", "persist joining formed, wipe pending", "stop and wipe", "persist joining formed",
                "start \(node.core.record.dqliteID)",
            ])
        #expect(node.core.record.dqliteID > 1)
        #expect(
            node.warnings.first
                == "the unformed cluster \(cluster) of this node is given up, because cluster \(other) is formed: joining it"
        )
    }

    @Test("a member of a formed cluster never leaves it, whatever it hears")
    func formedStays() throws {
        var node = try H(.expect(3), record: H.record(.formed(cluster)), raftIsEmpty: false)
        #expect(node.log.deeds == ["start 5005", "member of a formed cluster"])
        node.log = []
        _ = node.ask(.hello(H.view(7, .formed, clusterID: other)))
        _ = node.ask(.abort(ProposalID(high: 1, low: 1)))
        _ = node.ask(.invite(H.agreement(by: 2, [2, 5, 7]), other))
        node.pass(.seconds(10))
        #expect(node.log.deeds == ["respond view", "respond view", "respond refused notAgreed"])
        #expect(node.sent { _ in true }.isEmpty)
    }

    @Test("a member of an unformed cluster tells a joiner that it has to wait")
    func joinTooEarly() throws {
        var node = try H(.single)
        let join = JoinRequest(
            nodeID: H.id(7), name: "node7", dqliteID: 1007, address: H.address(7), clusterName: "prod",
            clusterID: cluster, nonVoter: false)
        guard case .refused(let refusal) = node.ask(.join(join)).first else {
            Issue.record("not refused")
            return
        }
        #expect(refusal.code == .notFormed)
    }

    // MARK: what is waited for

    @Test("two of three: the found ones are named, and the addresses without answer, the own one not among them")
    func twoOfThree() throws {
        var node = try H(.expect(3))
        node.meet([H.view(7)], besides: [H.address(5), H.address(9)], for: .seconds(3))
        #expect(
            node.waiting
                == "2 of 3 nodes found: five (10.0.0.5:8800, 00000000), node7 (10.0.0.7:8800, 00000000); waiting for one more; no answer from 10.0.0.9:8800"
        )
    }

    @Test("enough nodes but no majority of what is known: the numbers are said, and nothing is founded")
    func noMajority() throws {
        var node = try H(.expect(2))
        node.meet([H.view(7, expect: 2)], besides: [H.address(8), H.address(9)], for: .seconds(3))
        #expect(node.proposals.isEmpty)
        #expect(
            node.waiting?.hasPrefix(
                "2 nodes found: five (10.0.0.5:8800, 00000000), node7 (10.0.0.7:8800, 00000000), but 4 are known, and a cluster is founded only by more than half of them"
            ) == true, "\(node.waiting ?? "nothing")")
    }

    @Test("nodes that do not hear each other are no founding set")
    func notMutual() throws {
        var node = try H(.expect(3))
        node.meet([H.view(7), H.view(8)], for: .seconds(2))
        #expect(node.proposals.isEmpty)
        #expect(node.waiting?.contains("but only 2 of the 3 needed hear each other") == true)
    }

    @Test("expect differs: both values and both nodes are said once, and the other is never counted")
    func expectDiffers() throws {
        var node = try H(.expect(3))
        node.meet([H.view(7, expect: 2, hearing: [8]), H.view(8, hearing: [7])], for: .seconds(2))
        #expect(node.proposals.isEmpty)
        #expect(
            node.warnings == [
                "--bootstrap-expect differs: five (10.0.0.5:8800, 00000000) has 3, node7 (10.0.0.7:8800, 00000000) has 2; they will not found a cluster together: start both with the same value"
            ])
    }

    @Test("join only: it says that no formed cluster answers")
    func nothingToJoin() throws {
        var node = try H(.joinOnly)
        node.meet([H.view(7)], for: .seconds(2))
        #expect(node.waiting?.hasPrefix("no node of a formed cluster \"prod\" answers") == true)
    }

    @Test("a node at two addresses counts once")
    func countsOnce() throws {
        var node = try H(.expect(3))
        let second = HostPort(host: "192.168.0.7", port: 8800)
        node.step(.discovered([H.ownAddress, H.address(7), second]))
        for _ in 0..<20 {
            node.pass(.milliseconds(20))
            for hello in node.sent({ if case .hello = $0 { true } else { false } }) {
                if hello.to == H.address(7) || hello.to == second {
                    node.step(.reply(hello.id, from: hello.to, .view(H.view(7))))
                }
            }
        }
        #expect(node.proposals.isEmpty)
        #expect(node.waiting?.hasPrefix("2 of 3 nodes found") == true)
    }

    @Test("a copy of this node's data directory on another host is noticed")
    func copiedIdentity() throws {
        var node = try H(.expect(3))
        node.step(.discovered([H.address(7)]))
        node.pass(.milliseconds(20))
        var copy = H.view(7)
        copy.nodeID = H.ownID
        let hello = try #require(node.sent { if case .hello = $0 { true } else { false } }.first)
        node.step(.reply(hello.id, from: H.address(7), .view(copy)))
        #expect(node.warnings.first?.hasPrefix("10.0.0.7:8800 answers with the node id") == true)
    }

    @Test("a node that says hello is asked back at once, and an address that a peer names is asked too")
    func gossip() throws {
        var node = try H(.expect(3))
        _ = node.ask(.hello(H.view(7)))
        let hello = try #require(node.sent { if case .hello = $0 { true } else { false } }.first)
        #expect(hello.to == H.address(7))
        node.step(.reply(hello.id, from: H.address(7), .view(H.view(7, discovered: [H.address(8)]))))
        node.pass(.milliseconds(60))
        #expect(node.sent { if case .hello = $0 { true } else { false } }.contains { $0.to == H.address(8) })
    }

    // MARK: restarts

    @Test("raft data without node.json is refused with what to do")
    func raftWithoutRecord() throws {
        #expect {
            _ = try H(.expect(3), record: nil, raftIsEmpty: false)
        } throws: { error in
            "\(error)".hasPrefix("the raft directory has data, but there is no node.json that says whose")
        }
    }

    @Test("raft data under a record that belongs to no cluster is refused with what to do")
    func raftUnderFreshRecord() throws {
        #expect {
            _ = try H(.expect(3), raftIsEmpty: false)
        } throws: { error in
            "\(error)".contains("node.json says that this node belongs to no cluster")
        }
    }

    @Test("an emptied raft directory makes a member another node, bound to its cluster")
    func memberLostRaft() throws {
        let node = try H(.expect(3), record: H.record(.formed(cluster)), raftIsEmpty: true)
        #expect(node.core.record.nodeID != H.ownID)
        #expect(node.core.record.dqliteID != 5005)
        #expect(node.core.record.state == .joining(cluster, nil, started: false))
        #expect(node.log.deeds == ["warn", "persist joining formed", "start \(node.core.record.dqliteID)"])
        #expect(
            node.warnings.first?.contains("the raft directory is empty although node.json says that node \(H.ownID)")
                == true)
    }

    @Test("the bootstrap id is never used on an empty directory once the database was created")
    func founderLostRaft() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        let inviting = try H(.expect(3), record: H.record(.founding(agreement, cluster, .inviting), dqliteID: 1))
        #expect(inviting.core.record.state == .fresh)
        #expect(inviting.core.record.nodeID == H.ownID)
        #expect(inviting.core.record.generation == 1)
        #expect(!inviting.log.contains { if case .startNode(1, _) = $0 { true } else { false } })
        let admitting = try H(.expect(3), record: H.record(.founding(agreement, cluster, .admitting), dqliteID: 1))
        #expect(admitting.core.record.nodeID != H.ownID)
        #expect(!admitting.log.contains { if case .startNode(1, _) = $0 { true } else { false } })
    }

    @Test("a wipe that a crash interrupted is done first of all")
    func pendingWipe() throws {
        var record = H.record()
        record.wipePending = true
        let node = try H(.expect(3), record: record, raftIsEmpty: false)
        #expect(node.log.deeds.prefix(2) == ["stop and wipe", "persist fresh"])
        #expect(!node.core.record.wipePending)
    }

    @Test("a founder that crashed while it asked drops its proposal and tells the others")
    func proposalDiesWithTheProcess() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        let node = try H(.expect(3), record: H.record(.agreed(agreement)))
        #expect(node.log.deeds == ["persist fresh", "send abort", "send abort"])
    }

    @Test("a bound node ignores another cluster name in its options, and says so")
    func ignoresName() throws {
        let node = try H(.expect(3), record: H.record(.formed(cluster)), raftIsEmpty: false, name: "test")
        #expect(node.core.record.clusterName == "prod")
        #expect(
            node.warnings == [
                "the cluster name \"test\" is ignored: node.json says that this node is bound to \"prod\""
            ])
    }

    @Test("reports for a cluster that was given up change nothing")
    func lateReports() throws {
        let agreement = H.agreement(by: 5, [5, 7, 8])
        var node = try H(.expect(3), record: H.record(.founding(agreement, cluster, .creating), dqliteID: 1))
        node.step(.nodeStarted(dqliteID: 1))
        node.step(.databaseCreated(cluster))
        node.pass(.milliseconds(5100))
        #expect(node.core.record.state == .fresh)
        let late: [BootstrapEvent] = [
            .nodeStarted(dqliteID: 1), .databaseCreated(cluster), .databaseFailed(cluster, reason: ""),
            .admitted(H.id(7), cluster), .admitFailed(H.id(7), cluster, reason: ""), .formedCommitted(cluster),
            .formedFailed(cluster, reason: ""), .becameFormed(cluster), .leading(cluster, agreement, members: [1]),
            .notLeading,
        ]
        for event in late { #expect(node.step(event).deeds.isEmpty, "\(event)") }
        #expect(node.core.record.state == .fresh)
    }
}
