import Platform
import Testing

@testable import Discovery

@Suite("keeper core: the right to found")
struct KeeperClaimTests {
    private let hold = StoreHold(id: "h1", lifetime: KeeperHarness.lifetime)
    private let put = "put leader n1 of none replacing unset under h1"

    private func read(_ leader: StoreSnapshot.Leader?) -> KeeperCore.Answer {
        var snapshot = StoreSnapshot(nodes: ["n1": RecordCoding.encode(DiscoveryAnnouncement.example().node)])
        snapshot.leader = leader
        return .read(snapshot)
    }

    @Test("before anything is announced there is nothing to claim with")
    func unannounced() {
        #expect(throws: DiscoveryError.self) { try KeeperCore(seed: 1).beginClaim(of: nil) }
    }

    @Test("the unset key is taken under a fresh hold, and is ours for its lifetime from before it was opened")
    func won() throws {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        let steps = try harness.claim(nil, [("open", .opened(hold)), ("read", read(nil)), (put, .accepted(true))])
        #expect(steps == ["open", "read", put, "held for 12000"])
        // The keeper goes on with the rest, and leaves the key alone.
        #expect(harness.settle() == ["put n1 192.0.2.1:8800 under h1", "wait 4000"])
    }

    @Test("claimed again the hold is renewed, and the cluster id written into the key")
    func prolonged() throws {
        var harness = KeeperHarness.registered()
        _ = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(nil)), (put, .accepted(true))])
        harness.now += .seconds(3)
        let mine = StoreSnapshot.Leader.example("n1", of: nil, under: "h1")
        var steps = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(mine))])
        #expect(steps == ["renew h1", "read", "held for 12000"])
        let rewrite = "put leader n1 of A replacing 7 under h1"
        steps = try harness.claim(
            "A", [("renew h1", .accepted(true)), ("read", read(mine)), (rewrite, .accepted(true))])
        #expect(steps == ["renew h1", "read", rewrite, "held for 12000"])
    }

    @Test(
        "another's key is taken, whether it is a claim, a leader's, rqlite's, or a copy of this node's disk elsewhere")
    func taken() throws {
        for key: StoreSnapshot.Leader in [
            .example("n2", of: nil, under: "x"), .example("n2", of: "A", term: 3, under: "x"),
            .example("n2", of: nil, term: nil, under: nil), .example("n1", of: nil, under: "x", port: 9),
            .example("n1", of: "A", under: "x"),
        ] {
            var harness = KeeperHarness.registered()
            let steps = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(key))])
            #expect(steps.last?.hasPrefix("taken by ") == true)
            // One that nobody keeps alive would hold up the founding for ever: a person has to know.
            #expect(harness.core.problem?.kind == (key.isHeld ? nil : .stale))
        }
    }

    @Test("this node's own key of an earlier run is taken over under the new hold")
    func earlierRun() throws {
        var harness = KeeperHarness.registered()
        let rewrite = "put leader n1 of A replacing 7 under h1"
        for before in [nil, "A"] {
            let steps = try harness.claim(
                "A",
                [
                    ("renew h1", .accepted(true)), ("read", read(.example("n1", of: before, under: "old"))),
                    (rewrite, .accepted(true)),
                ])
            #expect(steps.last == "held for 12000")
        }
    }

    @Test("who loses the race for the unset key sees who won it")
    func race() throws {
        var harness = KeeperHarness.registered()
        let steps = try harness.claim(
            nil,
            [
                ("renew h1", .accepted(true)), ("read", read(nil)), (put, .accepted(false)),
                ("renew h1", .accepted(true)), ("read", read(.example("n2", of: nil, under: "x"))),
            ])
        #expect(steps.last == "taken by n2")
    }

    @Test("a put whose answer is lost is recognised by the next claim")
    func unknownOutcome() throws {
        var harness = KeeperHarness.registered()
        var steps = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(nil)), (put, .failed(.away))])
        #expect(steps.last == "failed: nobody there")
        // At once it is not tried again: the store has its pause.
        steps = try harness.claim(nil, [])
        #expect(steps == ["failed: nobody there"])
        harness.now += .seconds(1)
        let mine = StoreSnapshot.Leader.example("n1", of: nil, under: "h1")
        steps = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(mine))])
        #expect(steps == ["renew h1", "read", "held for 12000"])
    }

    @Test("a put that may have been done and is not claimed again is given back")
    func unknownOutcomeGivenUp() throws {
        var harness = KeeperHarness.registered()
        _ = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(nil)), (put, .failed(.away))])
        let mine = StoreSnapshot.Leader.example("n1", of: nil, under: "h1")
        harness.now += .seconds(2)
        harness.settle(leader: mine)
        for _ in 0..<6 {
            harness.now += .seconds(2)
            harness.settle(leader: mine)
        }
        #expect(harness.core.takeNotes().contains(.claimGivenUp))
    }

    @Test("a hold that the store does not know any more is opened anew on the way")
    func lostHold() throws {
        var harness = KeeperHarness.registered()
        let second = StoreHold(id: "h2", lifetime: KeeperHarness.lifetime)
        let steps = try harness.claim(
            nil,
            [
                ("renew h1", .accepted(false)), ("open", .opened(second)), ("read", read(nil)),
                ("put leader n1 of none replacing unset under h2", .accepted(true)),
            ])
        #expect(steps.last == "held for 12000")
        #expect(harness.settle().first == "put n1 192.0.2.1:8800 under h2")
    }

    @Test("a key that is no record blocks, with a message")
    func garbage() throws {
        var harness = KeeperHarness.registered()
        let garbage = StoreSnapshot.Leader(record: [1], version: 1, holdID: nil)
        let steps = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(garbage))])
        #expect(steps.last == "blocked: unreadable")
    }

    @Test("a key that changes all the time ends the claim after five rounds")
    func endless() throws {
        var harness = KeeperHarness.registered()
        let round: [(String, KeeperCore.Answer)] = [
            ("renew h1", .accepted(true)), ("read", read(nil)), (put, .accepted(false)),
        ]
        let steps = try harness.claim(nil, (0..<9).flatMap { _ in round })
        #expect(steps.count == 16 && steps.last?.hasPrefix("failed") == true)
    }

    @Test(
        "a right that is not claimed again in time is given back, with its hold, and the node registers anew without it"
    )
    func abandoned() throws {
        var harness = KeeperHarness.registered()
        _ = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(nil)), (put, .accepted(true))])
        let mine = StoreSnapshot.Leader.example("n1", of: nil, under: "h1")
        // The hold goes on being renewed for the record of the node, and the key with it.
        for _ in 0..<2 {
            harness.now += .seconds(4)
            #expect(harness.settle(leader: mine).contains("renew h1"))
        }
        harness.now += .milliseconds(3900)
        #expect(!harness.settle(leader: mine).contains("release h1"))
        harness.now += .milliseconds(100)
        let steps = harness.settle(leader: mine)
        #expect(steps.contains("release h1") && steps.contains("put n1 192.0.2.1:8800 under h2"))
        #expect(harness.core.takeNotes() == [.claimGivenUp])
    }

    @Test("a right that lapsed and is another's now costs this node nothing")
    func lapsedToAnother() throws {
        var harness = KeeperHarness.registered()
        _ = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(nil)), (put, .accepted(true))])
        for _ in 0..<4 {
            harness.now += .seconds(3)
            harness.settle(leader: .example("n2", of: "A", under: "x"))
        }
        #expect(harness.core.hold?.store == hold)
        #expect(harness.core.takeNotes().isEmpty)
    }

    @Test("once the node leads the formed cluster the keeper has the key, and nothing is given back")
    func takenOver() throws {
        var harness = KeeperHarness.registered()
        _ = try harness.claim(
            "A",
            [
                ("renew h1", .accepted(true)), ("read", read(nil)),
                ("put leader n1 of A replacing unset under h1", .accepted(true)),
            ])
        harness.core.announce(.example(cluster: "A", leads: 1))
        let claimed = StoreSnapshot.Leader.example("n1", of: "A", under: "h1")
        #expect(
            harness.settle(leader: claimed) == [
                "put n1 192.0.2.1:8800 under h1", "read", "put leader n1 of A replacing 7 under h1", "wait 4000",
            ])
        let leading = StoreSnapshot.Leader.example("n1", of: "A", term: 1, under: "h1")
        for _ in 0..<4 {
            harness.now += .seconds(4)
            #expect(!harness.settle(leader: leading).contains("release h1"))
        }
        // A claim of the leader's own cluster does not put back what the keeper wrote.
        let steps = try harness.claim("A", [("renew h1", .accepted(true)), ("read", read(leading))])
        #expect(steps.last == "held for 12000")
    }

    @Test("claimed again while it is being given back, it is kept")
    func keptAtTheLastMoment() throws {
        var harness = KeeperHarness.registered()
        _ = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(nil)), (put, .accepted(true))])
        let mine = StoreSnapshot.Leader.example("n1", of: nil, under: "h1")
        for _ in 0..<2 {
            harness.now += .seconds(4)
            harness.settle(leader: mine)
        }
        harness.now += .seconds(4)
        #expect(harness.step() == "renew h1")
        harness.answer(.accepted(true))
        #expect(harness.step() == "read")
        harness.answer(.read(harness.snapshot(mine)))
        let steps = try harness.claim(nil, [("renew h1", .accepted(true)), ("read", read(mine))])
        #expect(steps.last == "held for 12000")
        #expect(!harness.settle(leader: mine).contains("release h1"))
    }

    @Test("a hold whose giving back failed may go at any time: a claim does not build on it")
    func lateRelease() throws {
        var harness = KeeperHarness.registered()
        let mine = StoreSnapshot.Leader.example("n1", of: nil, under: "h1")
        // The store did late what it was asked for: a claim that nobody knows of.
        harness.now += .seconds(4)
        harness.settle(leader: mine)
        harness.now += .seconds(4)
        harness.settle(leader: mine)
        harness.now += .seconds(2)
        #expect(harness.run([("read", .read(harness.snapshot(mine))), ("release h1", .failed(.away))]).count == 2)
        harness.now += .seconds(1)
        let second = StoreHold(id: "h2", lifetime: KeeperHarness.lifetime)
        let rewrite = "put leader n1 of none replacing 7 under h2"
        let steps = try harness.claim(
            nil, [("open", .opened(second)), ("read", read(mine)), (rewrite, .accepted(true))])
        #expect(steps == ["open", "read", rewrite, "held for 12000"])
    }
}
