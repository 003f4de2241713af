import Platform
import Testing

@testable import Discovery

@Suite("keeper core: the leader key")
struct KeeperLeaderTests {
    private static let leader = DiscoveryAnnouncement.example("n1", cluster: "A", leads: 3)

    /// What a node that begins to lead cluster A in term 3 does about what stands in the key.
    private func taking(_ key: StoreSnapshot.Leader?) -> (steps: [String], harness: KeeperHarness) {
        var harness = KeeperHarness.registered(.example("n1", cluster: "A"))
        harness.core.announce(Self.leader)
        let steps = harness.settle(leader: key)
        return (steps, harness)
    }

    @Test("unset: written under our hold")
    func unset() {
        let steps = taking(nil).steps
        #expect(steps == ["read", "put leader n1 of A replacing unset under h1", "wait 4000"])
    }

    @Test("another node of our cluster, of no higher term: replaced by the version that was read")
    func replaced() {
        for term: UInt64? in [nil, 0, 2, 3] {
            for hold in ["other", nil] {
                let (steps, harness) = taking(.example("n2", of: "A", term: term, under: hold))
                #expect(steps == ["read", "put leader n1 of A replacing 7 under h1", "wait 4000"])
                #expect(harness.core.problem == nil)
            }
        }
    }

    @Test("another node of our cluster with a higher term: left to it, without a complaint")
    func deposed() {
        var (steps, harness) = taking(.example("n2", of: "A", term: 4, under: "other"))
        #expect(steps == ["read", "wait 4000"])
        #expect(harness.core.problem == nil)
        // But nothing that nobody keeps alive stands in the way.
        (steps, harness) = taking(.example("n2", of: "A", term: 4, under: nil))
        #expect(steps == ["read", "put leader n1 of A replacing 7 under h1", "wait 4000"])
    }

    @Test("our own of an earlier run of this node, whatever its term: written again, under our hold")
    func earlierRun() {
        let steps = taking(.example("n1", of: "A", term: 9, under: "before")).steps
        #expect(steps == ["read", "put leader n1 of A replacing 7 under h1", "wait 4000"])
    }

    @Test("ours, as it should be: kept; verified every 10 s, and written again when it is gone or outdated")
    func verified() {
        var harness = taking(nil).harness
        let record = RecordCoding.encode(Self.leader.leader)
        let kept = StoreSnapshot.Leader(record: record, version: 8, holdID: "h1")
        harness.now += .seconds(4)
        harness.settle(leader: kept)
        harness.now += .seconds(4)
        harness.settle(leader: kept)
        harness.now += .seconds(2)
        #expect(harness.settle(leader: kept) == ["read", "wait 2000"])
        harness.now += .seconds(2)
        harness.settle(leader: kept)
        harness.now += .seconds(4)
        harness.settle(leader: kept)
        harness.now += .seconds(4)
        #expect(
            harness.settle(leader: nil) == [
                "renew h1", "read", "put leader n1 of A replacing unset under h1", "wait 4000",
            ])
        harness.core.announce(.example("n1", cluster: "A", leads: 5))
        #expect(
            harness.settle(leader: kept) == ["read", "put leader n1 of A replacing 8 under h1", "wait 4000"])
        #expect(harness.core.takeNotes().isEmpty)
    }

    @Test(
        "another cluster's is never written over; that is told once, and over when the key is gone",
        arguments: [true, false])
    func foreign(isHeld: Bool) {
        let hold = isHeld ? "other" : nil
        var (steps, harness) = taking(.example("n9", of: "B", term: 0, under: hold))
        #expect(steps == ["read", "wait 4000"])
        let problem = harness.core.problem
        #expect(problem?.kind == .otherCluster("B") && problem?.isHeld == isHeld)
        #expect(harness.core.takeNotes() == [problem.map { .leaderKeyRefused($0) }])
        // The other cluster changes its leader, and ours leads on in a new term: no news.
        harness.now += .seconds(4)
        harness.core.announce(.example("n1", cluster: "A", leads: 4))
        steps = harness.settle(leader: .example("n8", of: "B", term: 9, under: hold))
        #expect(steps == ["renew h1", "read", "wait 4000"])
        #expect(harness.core.takeNotes().isEmpty)

        harness.core.announce(.example("n1", cluster: "A", leads: 5))
        steps = harness.settle(leader: nil)
        #expect(steps == ["read", "put leader n1 of A replacing unset under h1", "wait 4000"])
        #expect(harness.core.problem == nil)
        #expect(harness.core.takeNotes() == [.leaderKeyFree])
    }

    @Test("our own node's, but of another cluster and under another hold: not ours to write over")
    func ownNodeOtherCluster() {
        let (steps, harness) = taking(.example("n1", of: "B", under: "before"))
        #expect(steps == ["read", "wait 4000"])
        #expect(harness.core.problem?.kind == .otherCluster("B"))
    }

    @Test("a claim that another node keeps alive is left alone, and told")
    func foreignClaim() {
        let (steps, harness) = taking(.example("n2", of: nil, under: "other"))
        #expect(steps == ["read", "wait 4000"])
        #expect(harness.core.problem?.kind == .nameless)
    }

    @Test(
        "a record without a cluster that nobody keeps alive is replaced once; when it comes back, it has a living writer"
    )
    func rqlite() {
        let theirs = StoreSnapshot.Leader.example("r1", of: nil, term: nil, under: nil)
        var (steps, harness) = taking(theirs)
        #expect(steps == ["read", "put leader n1 of A replacing 7 under h1", "wait 4000"])
        #expect(harness.core.takeNotes().count == 1)
        harness.now += .seconds(4)
        harness.settle(leader: theirs)
        harness.now += .seconds(4)
        harness.settle(leader: theirs)
        harness.now += .seconds(2)
        steps = harness.settle(leader: theirs)
        #expect(steps == ["read", "wait 2000"])
        #expect(harness.core.problem?.kind == .nameless)
    }

    @Test("what is no record is never written over")
    func garbage() {
        for hold in ["other", nil] {
            let (steps, harness) = taking(StoreSnapshot.Leader(record: [0xFF, 0], version: 7, holdID: hold))
            #expect(steps == ["read", "wait 4000"])
            #expect(harness.core.problem?.kind == .unreadable)
        }
    }

    @Test("when another was quicker, the hold is checked and the key read again; three times in a row is a failure")
    func conflict() {
        var harness = KeeperHarness.registered(.example("n1", cluster: "A"))
        harness.core.announce(.example("n1", cluster: "A", leads: 3))
        for _ in 0..<3 {
            let steps = harness.run([
                ("read", .read(harness.snapshot())), ("put leader n1 of A replacing unset under h1", .accepted(false)),
            ])
            #expect(steps.count == 2)
            if harness.core.failure == nil {
                #expect(harness.step() == "renew h1")
                harness.answer(.accepted(true))
            }
        }
        #expect(harness.step().hasPrefix("wait"))
        #expect(harness.core.failure != nil)
        harness.now += .seconds(1)
        harness.settle()
        #expect(harness.core.failure == nil)
    }

    @Test("a leader put whose answer is lost is recognised when it is found, by its hold")
    func unknownOutcome() {
        var harness = KeeperHarness.registered(.example("n1", cluster: "A"))
        harness.core.announce(Self.leader)
        _ = harness.run([
            ("read", .read(harness.snapshot())), ("put leader n1 of A replacing unset under h1", .failed(.away)),
        ])
        harness.now += .seconds(1)
        let record = RecordCoding.encode(Self.leader.leader)
        let steps = harness.settle(leader: StoreSnapshot.Leader(record: record, version: 9, holdID: "h1"))
        #expect(steps == ["read", "wait 3000"])
    }

    @Test("a node that leads no more leaves the key to its successor")
    func stepDown() {
        var harness = taking(nil).harness
        harness.core.announce(.example("n1", cluster: "A"))
        #expect(harness.settle(leader: .example("n2", of: "A", term: 4, under: "other")) == ["wait 4000"])
        harness.now += .seconds(4)
        #expect(harness.settle() == ["renew h1", "wait 4000"])
    }
}
