import Platform
import Testing

@testable import Discovery

@Suite("keeper core: a node's own record")
struct KeeperCoreTests {
    private let hold = StoreHold(id: "h1", lifetime: KeeperHarness.lifetime)

    @Test("nothing is asked of the store before something is announced")
    func idle() {
        var harness = KeeperHarness()
        #expect(harness.settle() == ["wait"])
        #expect(!harness.core.isRegistered(at: harness.now))
    }

    @Test(
        "a node opens a hold and writes its record under it, is renewed at a third of the lifetime, looked at every 10 s"
    )
    func registration() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        #expect(harness.settle() == ["open", "put n1 192.0.2.1:8800 under h1", "wait 4000"])
        #expect(harness.core.isRegistered(at: harness.now))
        #expect(harness.core.takeNotes() == [.registered])

        harness.now += .seconds(4)
        #expect(harness.settle() == ["renew h1", "wait 4000"])
        harness.now += .seconds(4)
        #expect(harness.settle() == ["renew h1", "wait 2000"])
        harness.now += .seconds(2)
        #expect(harness.settle() == ["read", "wait 2000"])
        #expect(harness.core.takeNotes().isEmpty)
    }

    @Test("the lifetime counts from before the request, however long the answer took")
    func lifetimeFromSending() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        #expect(harness.step() == "open")
        harness.now += .seconds(3)
        harness.answer(.opened(hold))
        #expect(harness.settle() == ["put n1 192.0.2.1:8800 under h1", "wait 1000"])
        #expect(harness.core.isRegistered(at: KeeperHarness.start + .seconds(11)))
        #expect(!harness.core.isRegistered(at: KeeperHarness.start + .seconds(12)))
    }

    @Test("the record is written again when it changed, at once, and not when the same is announced again")
    func onlyOnChange() {
        var harness = KeeperHarness.registered()
        harness.core.announce(.example())
        #expect(harness.settle() == ["wait 4000"])
        harness.core.announce(.example(port: 9))
        #expect(harness.settle() == ["put n1 192.0.2.1:9 under h1", "wait 4000"])
        #expect(harness.core.takeNotes().isEmpty)
    }

    @Test("a record that somebody deleted or overwrote is written again")
    func deletedByHand() {
        for found in [nil, [1, 2, 3] as [UInt8]] {
            var harness = KeeperHarness.registered()
            harness.now += .seconds(4)
            harness.settle()
            harness.now += .seconds(4)
            harness.settle()
            harness.now += .seconds(2)
            #expect(harness.step() == "read")
            var snapshot = StoreSnapshot()
            snapshot.nodes["n1"] = found
            harness.answer(.read(snapshot))
            #expect(!harness.core.isRegistered(at: harness.now))
            #expect(harness.settle().first == "put n1 192.0.2.1:8800 under h1")
            #expect(harness.core.takeNotes() == [.registeredAnew])
        }
    }

    @Test("a hold that the store does not know any more is opened anew, with everything under it")
    func lostHold() {
        var harness = KeeperHarness.registered(.example(cluster: "A", leads: 3))
        harness.now += .seconds(4)
        #expect(harness.step() == "renew h1")
        harness.answer(.accepted(false))
        #expect(!harness.core.isRegistered(at: harness.now))
        #expect(
            harness.settle() == [
                "open", "put n1 192.0.2.1:8800 under h2", "read", "put leader n1 of A replacing unset under h2",
                "wait 4000",
            ])
        #expect(harness.core.takeNotes() == [.registeredAnew])
    }

    @Test("a hold that is gone when the record is written is opened anew")
    func holdLostBeforePut() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        let steps = harness.run([
            ("open", .opened(hold)), ("put n1 192.0.2.1:8800 under h1", .accepted(false)), ("open", .opened(hold)),
        ])
        #expect(steps == ["open", "put n1 192.0.2.1:8800 under h1", "open"])
        harness.settle()
        #expect(harness.core.takeNotes() == [.registered])
    }

    @Test(
        "pauses after failures double from 0.5 to 10 s, with jitter, are the same for the same seed, and end with success"
    )
    func backoff() {
        func pauses(seed: UInt64) -> [Duration] {
            var harness = KeeperHarness()
            harness.core = KeeperCore(seed: seed)
            harness.core.announce(.example())
            return (0..<8).map { _ in
                #expect(harness.step() == "open")
                harness.answer(.failed(.away))
                guard case .wait(let until?) = harness.core.next(now: harness.now) else { return .zero }
                defer { harness.now = until }
                return harness.now.duration(to: until)
            }
        }
        let first = pauses(seed: 1)
        #expect(first == pauses(seed: 1))
        #expect(first != pauses(seed: 2))
        for (pause, bound) in zip(first, [1.0, 2, 4, 8, 10, 10, 10, 10]) {
            #expect(pause >= .seconds(bound / 2) && pause <= .seconds(bound))
        }
    }

    @Test("a failure is known until everything stands, not only until the next answer")
    func failureUntilSettled() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        var longest = Duration.zero
        for _ in 0..<6 {
            if harness.step() == "open" { harness.answer(.opened(hold)) }
            if harness.step().hasPrefix("renew") { harness.answer(.accepted(true)) }
            #expect(harness.step() == "put n1 192.0.2.1:8800 under h1")
            harness.answer(.failed(.denied))
            #expect(harness.core.failure == .denied)
            guard case .wait(let until?) = harness.core.next(now: harness.now) else { break }
            longest = max(longest, harness.now.duration(to: until))
            harness.now = until
        }
        // Renewals that succeeded meanwhile did not start the pauses over.
        #expect(longest >= .seconds(5))
        harness.settle()
        #expect(harness.core.failure == nil)
    }

    @Test("a put whose answer is lost is repeated")
    func unknownOutcome() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        _ = harness.run([("open", .opened(hold)), ("put n1 192.0.2.1:8800 under h1", .failed(.away))])
        #expect(!harness.core.isRegistered(at: harness.now))
        harness.now += .seconds(1)
        #expect(harness.step() == "put n1 192.0.2.1:8800 under h1")
    }

    @Test("an announcement ends a pause, and so does a look-up that got an answer; a refusal is sat out")
    func pauseEnds() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        _ = harness.run([("open", .failed(.away))])
        #expect(harness.step().hasPrefix("wait"))
        harness.core.announce(.example(cluster: "A"))
        #expect(harness.step() == "open")
        harness.answer(.failed(.away))
        #expect(harness.step().hasPrefix("wait"))
        harness.core.storeAnswered()
        #expect(harness.step() == "open")
        harness.answer(.failed(.denied))
        harness.core.storeAnswered()
        #expect(harness.step().hasPrefix("wait"))
    }

    @Test("while the store is away nothing is forgotten: when it is back in time, a renewal is all")
    func backInTime() {
        var harness = KeeperHarness.registered()
        harness.now += .seconds(4)
        #expect(harness.step() == "renew h1")
        harness.answer(.failed(.away))
        #expect(harness.core.isRegistered(at: harness.now))
        harness.now += .seconds(1)
        #expect(harness.settle() == ["renew h1", "wait 4000"])
        #expect(harness.core.takeNotes().isEmpty)
    }

    @Test("withdrawn, the hold is given back and nothing more is done until the next announcement")
    func withdrawal() {
        var harness = KeeperHarness.registered()
        harness.core.withdraw()
        #expect(harness.settle() == ["release h1", "wait"])
        #expect(harness.core.takeNotes() == [.withdrawn])
        #expect(!harness.core.isRegistered(at: harness.now))
        harness.core.announce(.example())
        #expect(harness.settle().prefix(2) == ["open", "put n1 192.0.2.1:8800 under h2"])
    }

    @Test("an answer that fits no question is a failure, not an endless loop")
    func senselessAnswer() {
        var harness = KeeperHarness()
        harness.core.announce(.example())
        _ = harness.run([("open", .accepted(true))])
        #expect(harness.step().hasPrefix("wait"))
        #expect(harness.core.failure?.code == .malformed)
    }
}

func += (instant: inout BootInstant, duration: Duration) { instant = instant.advanced(by: duration) }
func + (instant: BootInstant, duration: Duration) -> BootInstant { instant.advanced(by: duration) }
