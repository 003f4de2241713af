import Platform
import Testing

@testable import Cluster

/// Founding by claim: what a node without `--bootstrap-expect` does when a store says who founds.
@Suite("bootstrap: founding by claim")
struct BootstrapClaimTests {
    private static let other = HostPort(host: "10.0.0.7", port: 8800)

    private static func claims(_ harness: CoreHarness) -> [ClusterID?] {
        harness.log.compactMap { if case .claimFounding(let id) = $0 { .some(id) } else { nil } }
    }

    private static let cluster = ClusterID(high: 9, low: 9)

    @Test("nothing is claimed before the store has said who is registered")
    func firstLooks() throws {
        var harness = try CoreHarness(.claim)
        harness.pass(.seconds(2))
        #expect(Self.claims(harness).isEmpty)
        harness.step(.lookUpFailed("away"))
        harness.pass(.seconds(1))
        #expect(Self.claims(harness).isEmpty)
        harness.meet([])
        #expect(Self.claims(harness) == [nil])
    }

    @Test("with the claim it founds alone, and claims again for the cluster before that is formed")
    func foundsAlone() throws {
        var harness = try CoreHarness(.claim)
        harness.meet([])
        harness.step(.claimHeld(nil, until: harness.now.advanced(by: .seconds(15))))
        guard case .founding(let agreement, let clusterID, .creating) = harness.core.record.state else {
            Issue.record("it is \(harness.core.record.state)")
            return
        }
        #expect(agreement.members.map(\.nodeID) == [harness.core.record.nodeID])
        harness.step(.nodeStarted(dqliteID: DqliteID.bootstrap))
        harness.step(.databaseCreated(clusterID))
        #expect(Self.claims(harness) == [nil, clusterID])
        #expect(!harness.log.kinds.contains("commit formed"))
        let until = harness.now.advanced(by: .seconds(15))
        let deeds = harness.step(.claimHeld(clusterID, until: until))
        #expect(deeds.contains(.commitFormed(clusterID, before: until)))
    }

    @Test("a claim that is as good as over founds and forms nothing; it is asked for again")
    func lapsedClaim() throws {
        var harness = try CoreHarness(.claim)
        harness.meet([])
        harness.step(.claimHeld(nil, until: harness.now.advanced(by: .seconds(1))))
        #expect(harness.core.record.state == .fresh)
        #expect(Self.claims(harness) == [nil, nil])
    }

    @Test("the claim of another is waited for, and named; its cluster is joined")
    func taken() throws {
        var harness = try CoreHarness(.claim)
        harness.meet([])
        harness.step(.claimTaken(by: Self.other))
        #expect(harness.core.record.state == .fresh)
        #expect(harness.waiting?.contains("the leader key names 10.0.0.7:8800") == true)
        harness.meet([CoreHarness.view(7, .formed, expect: nil, clusterID: Self.cluster)])
        guard case .joining(Self.cluster, nil, _) = harness.core.record.state else {
            Issue.record("it is \(harness.core.record.state)")
            return
        }
    }

    @Test("a formed cluster that answers is joined, and nothing is claimed")
    func joinsFirst() throws {
        var harness = try CoreHarness(.claim)
        harness.meet([CoreHarness.view(7, .formed, clusterID: Self.cluster)])
        #expect(Self.claims(harness).isEmpty)
    }

    @Test("nodes that expect others are left to found, and named")
    func leavesFounders() throws {
        var harness = try CoreHarness(.claim)
        harness.meet([CoreHarness.view(7, expect: 3)])
        #expect(Self.claims(harness).isEmpty)
        #expect(harness.waiting?.contains("give all nodes the same --bootstrap-expect, or none") == true)
    }

    @Test("a store that cannot be asked is named, and asked again")
    func failure() throws {
        var harness = try CoreHarness(.claim)
        harness.meet([])
        harness.step(.claimFailed(reason: "cannot reach etcd"))
        harness.pass(.seconds(3))
        #expect(harness.waiting?.contains("cannot reach etcd") == true)
        #expect(Self.claims(harness).count > 1)
    }

    @Test("a non-voter never claims")
    func nonVoter() throws {
        var harness = try CoreHarness(.claim, nonVoter: true)
        harness.meet([])
        #expect(Self.claims(harness).isEmpty)
    }

    @Test("restarted while it founds, it claims for its cluster before that is formed")
    func restarted() throws {
        let clusterID = Self.cluster
        let record = CoreHarness.record(
            .founding(CoreHarness.agreement(by: 5, [5], expect: 1), clusterID, .inviting),
            dqliteID: DqliteID.bootstrap)
        var harness = try CoreHarness(.claim, record: record, raftIsEmpty: false)
        harness.step(.nodeStarted(dqliteID: DqliteID.bootstrap))
        harness.step(.databaseCreated(clusterID))
        #expect(Self.claims(harness) == [clusterID])
        harness.step(.claimTaken(by: Self.other))
        #expect(!harness.log.kinds.contains("commit formed"))
        #expect(harness.warnings.contains { $0.contains("the leader key names 10.0.0.7:8800") })
    }
}
