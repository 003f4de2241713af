import Platform
import Testing

@testable import VIP

@Suite("guard: table of addresses and leases")
struct GuardCoreTests {
    private let start = BootInstant(nanoseconds: 1_000_000_000_000)

    private func at(_ milliseconds: Int) -> BootInstant { start.advanced(by: .milliseconds(milliseconds)) }

    private func address(_ number: Int) throws -> GuardedAddress {
        let text = "10.\(number >> 14 & 0x3F).\(number >> 7 & 0x7F).\((number & 0x7F) + 1)/32"
        return GuardedAddress(try VirtualAddress(parsing: text), interfaceIndex: 2)
    }

    /// A guard's table and the page it reads, without a guard.
    private struct Scene {
        var core: GuardCore
        var page: [LeaseSlot: BootInstant] = [:]

        init(capacity: Int = GuardCore.capacity) { core = GuardCore(capacity: capacity) }

        /// One round of the guard: what it would remove now.
        mutating func entries(_ now: BootInstant, ahead: BootInstant? = nil) -> [GuardCore.Entry] {
            let page = page
            core.look(now: now, ahead: ahead) { page[$0] ?? .noLease }
            var taken: [GuardCore.Entry] = []
            var position = 0
            while let entry = core.nextExpired(from: &position, now: now) { taken.append(entry) }
            return taken
        }

        mutating func round(_ now: BootInstant, ahead: BootInstant? = nil) -> [GuardedAddress] {
            entries(now, ahead: ahead).map(\.address)
        }
    }

    @Test("an address is given out a millisecond before its lease is over, not sooner; until then nobody wakes")
    func deadline() throws {
        var scene = Scene()
        let one = try address(1)
        scene.page[.lead] = at(400)
        #expect(scene.core.hold(one, slot: .lead, now: at(0)) == .held)
        #expect(scene.core.nextLook == at(0), "the lease is read at once")
        #expect(scene.round(at(0)) == [])
        #expect(scene.core.nextLook == at(399))
        #expect(scene.round(at(398)) == [])
        #expect(scene.round(at(399)) == [one])
    }

    @Test("a lease that was extended meanwhile is read when the old end comes, and only then")
    func extended() throws {
        var scene = Scene()
        scene.page[.lead] = at(150)
        _ = scene.core.hold(try address(1), slot: .lead, now: at(0))
        _ = scene.round(at(0))
        var wakes = 0
        // Extended every 40 ms, to 150 ms.
        for millisecond in 1...10_000 {
            scene.page[.lead] = at(millisecond - millisecond % 40 + 150)
            if let look = scene.core.nextLook, look <= at(millisecond) { wakes += 1 }
            #expect(scene.round(at(millisecond)) == [])
        }
        #expect(wakes < 10_000 / 109, "a lease has 110 to 150 ms to go when it is read")
    }

    @Test("a lease that ends sooner than was read is seen at once when all are looked at, otherwise at the old end")
    func backwards() throws {
        for isTold in [true, false] {
            var scene = Scene()
            let one = try address(1)
            scene.page[.lead] = at(1000)
            _ = scene.core.hold(one, slot: .lead, now: at(0))
            _ = scene.round(at(0))
            scene.page[.lead] = at(200)
            if isTold { scene.core.lookAtAll(now: at(100)) }
            #expect(scene.round(at(100)) == [])
            #expect(scene.core.nextLook == (isTold ? at(199) : at(999)))
            #expect(scene.round(at(999)) == [one])
        }
    }

    @Test(
        "what no sound daemon writes is no lease: nothing, the past, far ahead, before the boot",
        arguments: [0, 999_999_999_999, 1_000_000_000_000, 1_002_000_000_001, Int64.max, -1, Int64.min])
    func absurd(nanoseconds: Int64) throws {
        var scene = Scene()
        scene.page[.lead] = BootInstant(nanoseconds: nanoseconds)
        _ = scene.core.hold(try address(1), slot: .lead, now: at(0))
        #expect(scene.round(at(0)) == [try address(1)])
    }

    @Test(
        "an address whose lease is over is looked for again every 50 ms until it is released, marked as removed before")
    func again() throws {
        var scene = Scene()
        let one = try address(1)
        scene.page[.lead] = at(100)
        _ = scene.core.hold(one, slot: .lead, now: at(0))
        _ = scene.round(at(0))
        #expect(scene.entries(at(99)).map(\.isRemoved) == [false])
        #expect(scene.core.nextLook == at(149))
        #expect(scene.round(at(148)) == [])
        #expect(scene.entries(at(149)).map(\.isRemoved) == [true])
        // Back, and held anew: what is removed next is the daemon's own again.
        scene.page[.lead] = at(500)
        _ = scene.core.hold(one, slot: .lead, now: at(160))
        #expect(scene.round(at(160)) == [])
        #expect(scene.entries(at(499)).map(\.isRemoved) == [false])
        scene.core.release(one)
        #expect(scene.core.nextLook == nil)
        #expect(scene.round(at(1000)) == [])
    }

    @Test("a lease that comes back after the removal is followed although the daemon did not say that it holds again")
    func followed() throws {
        var scene = Scene()
        scene.page[.lead] = at(100)
        _ = scene.core.hold(try address(1), slot: .lead, now: at(0))
        _ = scene.round(at(0))
        _ = scene.round(at(99))
        scene.page[.lead] = at(300)
        #expect(scene.round(at(149)) == [])
        #expect(scene.core.nextLook == at(299))
        #expect(scene.entries(at(299)).map(\.isRemoved) == [true])
    }

    @Test("a removal is reported once, and only when the daemon has not released the address by the next look")
    func report() throws {
        var scene = Scene()
        let one = try address(1)
        scene.page[.lead] = at(100)
        _ = scene.core.hold(one, slot: .lead, now: at(0))
        #expect(scene.entries(at(100)).map(\.isUnreported) == [false])
        scene.core.owesReport(of: one)
        #expect(scene.entries(at(150)).map(\.isUnreported) == [true])
        #expect(scene.entries(at(200)).map(\.isUnreported) == [false])
    }

    @Test("two addresses under different leases go at different times; two under one lease go together")
    func leases() throws {
        var scene = Scene()
        let other = try #require(LeaseSlot(511))
        scene.page = [.lead: at(100), other: at(200)]
        let (one, two, three) = (try address(1), try address(2), try address(3))
        _ = scene.core.hold(one, slot: other, now: at(0))
        _ = scene.core.hold(two, slot: .lead, now: at(0))
        _ = scene.core.hold(three, slot: .lead, now: at(0))
        #expect(scene.round(at(0)) == [])
        #expect(scene.core.nextLook == at(99))
        #expect(Set(scene.round(at(99))) == [two, three])
        scene.core.release(two)
        scene.core.release(three)
        #expect(scene.core.nextLook == at(199))
        #expect(scene.round(at(199)) == [one])
    }

    @Test("the same address on two interfaces is two addresses")
    func interfaces() throws {
        var scene = Scene()
        let address = try VirtualAddress(parsing: "192.0.2.10/24")
        _ = scene.core.hold(GuardedAddress(address, interfaceIndex: 2), slot: .lead, now: at(0))
        _ = scene.core.hold(GuardedAddress(address, interfaceIndex: 3), slot: .lead, now: at(0))
        scene.core.release(GuardedAddress(address, interfaceIndex: 3))
        #expect(scene.entries(at(300)).map(\.address.interfaceIndex) == [2])
    }

    @Test("woken before its time, it reads good leases that it would read then, and gives out only what is over by now")
    func ahead() throws {
        var scene = Scene()
        let (good, short, far) = (try address(1), try address(2), try address(3))
        for (number, end) in [(UInt16(1), 150), (2, 150), (3, 1000)] {
            scene.page[try #require(LeaseSlot(number))] = at(end)
        }
        for (number, address) in [(UInt16(1), good), (2, short), (3, far)] {
            _ = scene.core.hold(address, slot: try #require(LeaseSlot(number)), now: at(0))
        }
        #expect(scene.round(at(0)) == [])
        #expect(scene.core.nextLook == at(149))

        // One was extended, one ended in silence, one is not to be read yet.
        scene.page[try #require(LeaseSlot(1))] = at(290)
        scene.page[try #require(LeaseSlot(2))] = at(100)
        scene.page[try #require(LeaseSlot(3))] = at(120)
        #expect(scene.round(at(133), ahead: at(149)) == [short])
        // What was removed is looked for when its time has come, not before.
        #expect(scene.core.nextLook == at(183))
        #expect(scene.round(at(178), ahead: at(183)) == [])
        #expect(scene.round(at(183)) == [short])
        scene.core.release(short)
        #expect(scene.core.nextLook == at(289))
        #expect(scene.round(at(270), ahead: at(289)) == [])
        #expect(scene.core.nextLook == at(289), "it was not extended")
        #expect(scene.round(at(289)) == [good])
    }

    @Test("what could not be removed is given out again, as it was, in the next round and not in this one")
    func failed() throws {
        var scene = Scene()
        scene.page[.lead] = at(100)
        _ = scene.core.hold(try address(1), slot: .lead, now: at(0))
        let entry = try #require(scene.entries(at(100)).first)
        scene.core.failed(entry, again: at(120))
        #expect(scene.core.nextLook == at(120))
        #expect(scene.entries(at(120)).map(\.isRemoved) == [false])

        // Also after the end of its daemon.
        scene.core.abandon(now: at(130))
        var position = 0
        scene.core.look(now: at(130)) { _ in .noLease }
        let taken = scene.core.nextExpired(from: &position, now: at(130))
        scene.core.failed(try #require(taken), again: at(150))
        #expect(scene.core.nextExpired(from: &position, now: at(130))?.address == nil)
        #expect(scene.core.nextLook == at(150))
        #expect(scene.round(at(150)) == [try address(1)])
        #expect(scene.core.count == 0)
    }

    @Test("a full table refuses a new address, and still takes the others")
    func full() throws {
        var scene = Scene(capacity: 2)
        scene.page[.lead] = at(100)
        #expect(scene.core.hold(try address(1), slot: .lead, now: at(0)) == .held)
        #expect(scene.core.hold(try address(2), slot: .lead, now: at(0)) == .held)
        #expect(scene.core.hold(try address(3), slot: .lead, now: at(0)) == .full)
        #expect(scene.core.hold(try address(1), slot: .lead, now: at(0)) == .held)
        #expect(scene.round(at(150)).count == 2)
    }

    @Test("after the end of the daemon all addresses are given out at once and forgotten, whatever a next page says")
    func abandoned() throws {
        var scene = Scene()
        scene.page[.lead] = at(1000)
        for number in 0..<GuardCore.capacity {
            _ = scene.core.hold(try address(number), slot: .lead, now: at(0))
        }
        _ = scene.round(at(0))
        scene.core.abandon(now: at(1))
        #expect(Set(scene.round(at(1))).count == GuardCore.capacity)
        #expect(scene.core.count == 0 && scene.core.nextLook == nil)
    }
}

@Suite("guard: deadlines under random trouble")
struct GuardCorePropertyTests {
    /// What the page said of a lease since the guard was last told to look.
    private struct History {
        var ends: [BootInstant] = []

        /// Whether a guard that read the page at any time since may still sleep at `now`.
        func reaches(_ now: BootInstant) -> Bool {
            ends.contains { $0 > now.advanced(by: GuardCore.lead) && $0 < now.advanced(by: LeasePage.horizon) }
        }
    }

    private struct Watched {
        var slot: LeaseSlot
        var isGone = false
    }

    /// A daemon that says and writes anything, sound and absurd, and a guard that wakes when its table says so, at times late.
    ///
    /// Never is an address removed whose lease is good. Never does one stay beyond the latest end that the page said, or, when
    /// the guard was told of a shorter one, beyond that.
    @Test("an address goes when its lease is over, neither sooner nor later, whatever is written", arguments: 1...200)
    func deadlines(seed: UInt64) throws {
        var generator = SeededGenerator(state: seed)
        func pick(_ range: Range<Int>) -> Int { Int.random(in: range, using: &generator) }
        var core = GuardCore(capacity: 12)
        var now = BootInstant(nanoseconds: 1_000_000_000_000)
        let slots = try (0..<4).map { try #require(LeaseSlot(UInt16($0) * 170)) }
        var histories = [LeaseSlot: History](uniqueKeysWithValues: slots.map { ($0, History()) })
        var model: [GuardedAddress: Watched] = [:]
        let addresses = try (1...16).map {
            GuardedAddress(try VirtualAddress(parsing: "10.0.0.\($0)/32"), interfaceIndex: 2)
        }
        func page(_ slot: LeaseSlot) -> BootInstant { histories[slot]?.ends.last ?? .noLease }
        func tell() {
            core.lookAtAll(now: now)
            for slot in slots { histories[slot] = History(ends: [page(slot)]) }
        }

        func turn() {
            // Half the time it was woken too early.
            let ahead = pick(0..<2) == 0 ? now.advanced(by: .milliseconds(pick(0..<300))) : nil
            core.look(now: now, ahead: ahead) { page($0) }
            var position = 0
            while let entry = core.nextExpired(from: &position, now: now) {
                guard var known = model[entry.address] else {
                    Issue.record("seed \(seed): \(entry.address) is given out, which is not watched")
                    return
                }
                let end = page(known.slot)
                #expect(
                    !end.isLeaseEnd(at: now) || end <= now.advanced(by: GuardCore.lead),
                    "seed \(seed): \(entry.address) is removed under a good lease")
                #expect(entry.isRemoved == known.isGone, "seed \(seed)")
                known.isGone = true
                model[entry.address] = known
            }
            // What is left has a good lease, or one that was shortened in silence.
            for (address, known) in model where !known.isGone {
                #expect(histories[known.slot]?.reaches(now) == true, "seed \(seed): \(address) is left without a lease")
            }
            #expect(core.count == model.count, "seed \(seed)")
            if let look = core.nextLook { #expect(look > now, "seed \(seed): no sleep") }
        }

        for _ in 0..<1500 {
            let later = now.advanced(by: .microseconds(pick(0..<60_000)))
            // Up to then the guard wakes when it wants to, sometimes late.
            while let look = core.nextLook, look <= later {
                now = max(now, look).advanced(by: .microseconds(pick(0..<8) == 0 ? pick(0..<20_000) : 0))
                turn()
            }
            now = max(now, later)
            let slot = slots[pick(0..<4)]
            let address = addresses[pick(0..<16)]
            switch pick(0..<12) {
            case 0...4:
                let end = now.advanced(by: .milliseconds(pick(-20..<200)))
                let isShorter = end < page(slot)
                histories[slot]?.ends.append(end)
                if isShorter, pick(0..<2) == 0 { tell() }
            case 5:
                let words: [BootInstant] = [
                    .noLease, BootInstant(nanoseconds: .max), BootInstant(nanoseconds: .min),
                    BootInstant(nanoseconds: Int64(bitPattern: generator.next())), now.advanced(by: .seconds(3)),
                ]
                histories[slot]?.ends.append(words[pick(0..<5)])
                tell()
            case 6...8:
                let fits = model[address] != nil || model.count < 12
                #expect(core.hold(address, slot: slot, now: now) == (fits ? .held : .full))
                if fits { model[address] = Watched(slot: slot) }
            case 9, 10:
                core.release(address)
                model[address] = nil
            default:
                if pick(0..<20) == 0 {
                    core.releaseAll()
                    model = [:]
                }
            }
            turn()
        }
    }
}
