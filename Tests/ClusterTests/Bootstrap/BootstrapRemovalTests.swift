import Platform
import Testing

@testable import Cluster

private typealias H = CoreHarness

@Suite("bootstrap: the end of a membership, and the way back")
struct BootstrapRemovalTests {
    private let cluster = ClusterID(high: 0, low: 3)

    private func removal(_ reason: RemovedNode.Reason, of id: UInt64 = 5005) -> RemovedNode {
        RemovedNode(
            dqliteID: id, nodeID: "0a0a0a0a-0b0b-4c0c-8d0d-0e0e0e0e0e0e", name: "five", address: "10.0.0.5:8800",
            reason: reason,
            at: WallTime(milliseconds: 0))
    }

    private func member() throws -> H { try H(.expect(3), record: H.record(.formed(cluster)), raftIsEmpty: false) }

    @Test("removed by an operator: on disk first, then the database node stops, and nothing more is done")
    func removed() throws {
        var node = try member()
        #expect(node.step(.removed(cluster, removal(.removed))).deeds == ["warn", "persist removed", "stop"])
        #expect(!node.core.isFormed)
        #expect(node.waiting?.contains("--rejoin") == true)
        #expect(node.pass(.seconds(5)).deeds.isEmpty)
        // Whoever asks to be added is not sent anywhere by it, and no proposal is agreed to.
        guard case .view(let view) = node.ask(.hello(H.view(7, .formed, clusterID: cluster))).first else {
            Issue.record("no answer to hello")
            return
        }
        #expect(view.phase == .joining)
        #expect(node.step(.removed(cluster, removal(.removed))).deeds.isEmpty)
    }

    @Test("started again it is still out, whatever clusters it hears of; --rejoin brings it in as a new member")
    func restart() throws {
        let record = H.record(.removed(cluster, removal(.removed)))
        var node = try H(.expect(3), record: record, raftIsEmpty: false)
        #expect(node.log.deeds == ["warn"])
        node.pass(.seconds(2))
        #expect(!node.log.kinds.contains { $0.hasPrefix("start") || $0.hasPrefix("send") })

        var options = H.options(.expect(3))
        options.rejoins = true
        var core = try BootstrapCore(
            options: options, record: record, raftIsEmpty: false, random: BootstrapRandom(seed: 1))
        let directives = core.step(.start, now: node.now)
        let id = core.record.dqliteID
        #expect(id != 5005)
        #expect(
            directives.deeds == [
                "persist joining formed, wipe pending", "stop and wipe", "persist joining formed", "start \(id)",
            ])
        #expect(core.record.nodeID == H.ownID)
    }

    @Test(
        "who left or was reaped, or is not known any more, joins anew by itself",
        arguments: [
            RemovedNode.Reason.left, .reaped, .unknown,
        ])
    func rejoins(reason: RemovedNode.Reason) throws {
        var node = try member()
        node.step(.removed(cluster, removal(reason)))
        let id = node.core.record.dqliteID
        #expect(id != 5005)
        #expect(node.core.record.state == .joining(cluster, nil, started: false))
        #expect(
            node.log.deeds.suffix(4) == [
                "persist joining formed, wipe pending", "stop and wipe", "persist joining formed", "start \(id)",
            ])
        node.step(.nodeStarted(dqliteID: id))
        node.meet([H.view(3, .formed, clusterID: cluster)])
        #expect(node.joins.count >= 1)
    }

    @Test("a notice for another id, or of another cluster, is not for this node")
    func strangers() throws {
        var node = try member()
        #expect(node.step(.removed(cluster, removal(.removed, of: 1))).deeds.isEmpty)
        #expect(node.step(.removed(ClusterID(high: 0, low: 9), removal(.removed))).deeds.isEmpty)
        #expect(node.core.isFormed)
    }

    @Test("a node that was removed while it was joining learns it from the answer")
    func refused() throws {
        var node = try H(.expect(3), record: H.record(.joining(cluster, nil, started: true)), raftIsEmpty: false)
        node.step(.nodeStarted(dqliteID: 5005))
        node.meet([H.view(3, .formed, clusterID: cluster)])
        let join = try #require(node.joins.last)
        let refusal = Refusal(.removed, "it was removed", removal: removal(.removed))
        node.step(.reply(join.id, from: join.to, .refused(refusal)))
        #expect(node.core.record.state == .removed(cluster, removal(.removed)))
    }

    @Test("who leaves of its own accord joins anew when it starts again, with nothing of before")
    func left() throws {
        var node = try member()
        let left = node.core.left()
        let record = try #require(left)
        #expect(record.wipePending && record.dqliteID != 5005)
        var next = try H(.expect(3), record: record, raftIsEmpty: false)
        let deeds = next.log.deeds
        #expect(deeds.first == "stop and wipe" && deeds.last == "start \(record.dqliteID)")
        var fresh = try H(.expect(3))
        let none = fresh.core.left()
        #expect(none == nil)
        next.pass(.milliseconds(1))
        fresh.pass(.milliseconds(1))
    }

    @Test("the record of a removed node survives its file")
    func coding() throws {
        let record = H.record(.removed(cluster, removal(.removed)))
        let bytes = try PortCoding.encode(record)
        #expect(try PortCoding.decode(NodeRecord.self, from: bytes) == record)
    }
}
