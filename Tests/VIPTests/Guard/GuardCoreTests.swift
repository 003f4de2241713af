import Platform
import Testing

@testable import VIP

@Suite("guard: table of deadlines")
struct GuardCoreTests {
    private let start = BootInstant(nanoseconds: 1_000_000_000_000)

    private func at(_ milliseconds: Int) -> BootInstant { start.advanced(by: .milliseconds(milliseconds)) }

    private func address(_ number: Int) throws -> GuardedAddress {
        let text = "10.\(number >> 14 & 0x3F).\(number >> 7 & 0x7F).\((number & 0x7F) + 1)/32"
        return GuardedAddress(try VirtualAddress(parsing: text), interfaceIndex: 2)
    }

    private func expired(_ core: inout GuardCore, _ now: BootInstant) -> [GuardedAddress] {
        var taken: [GuardedAddress] = []
        while let entry = core.takeExpired(now: now) { taken.append(entry.address) }
        return taken
    }

    @Test("an address is given out at its deadline, not before, and only once")
    func deadline() throws {
        var core = GuardCore()
        let one = try address(1)
        #expect(core.hold(one, until: at(400), now: at(0)) == .held)
        #expect(core.nextDeadline == at(400))
        #expect(expired(&core, at(399)) == [])
        #expect(expired(&core, at(400)) == [one])
        #expect(expired(&core, at(401)) == [])
        #expect(core.nextDeadline == nil)
    }

    @Test("the newest deadline counts, an earlier one too")
    func moved() throws {
        var core = GuardCore()
        let one = try address(1)
        _ = core.hold(one, until: at(400), now: at(0))
        _ = core.hold(one, until: at(800), now: at(300))
        #expect(expired(&core, at(400)) == [])
        _ = core.hold(one, until: at(500), now: at(450))
        #expect(core.count == 1)
        #expect(expired(&core, at(500)) == [one])
    }

    @Test("a deadline beyond ten seconds is cut, so that no mistake leaves an address unguarded")
    func cut() throws {
        var core = GuardCore()
        _ = core.hold(try address(1), until: BootInstant(nanoseconds: .max), now: at(0))
        #expect(core.nextDeadline == at(10_000))
    }

    @Test("the same address on two interfaces is two addresses")
    func interfaces() throws {
        var core = GuardCore()
        let address = try VirtualAddress(parsing: "192.0.2.10/24")
        _ = core.hold(GuardedAddress(address, interfaceIndex: 2), until: at(100), now: at(0))
        _ = core.hold(GuardedAddress(address, interfaceIndex: 3), until: at(200), now: at(0))
        core.release(GuardedAddress(address, interfaceIndex: 3))
        #expect(expired(&core, at(300)).map(\.interfaceIndex) == [2])
    }

    @Test("what could not be removed is given out again")
    func putBack() throws {
        var core = GuardCore()
        _ = core.hold(try address(1), until: at(100), now: at(0))
        let taken = core.takeExpired(now: at(100))
        let entry = try #require(taken)
        core.putBack(entry, until: at(120))
        #expect(core.nextDeadline == at(120))
        #expect(expired(&core, at(120)) == [entry.address])
    }

    @Test("a full table refuses a new address, and still extends the others")
    func full() throws {
        var core = GuardCore(capacity: 2)
        #expect(core.hold(try address(1), until: at(100), now: at(0)) == .held)
        #expect(core.hold(try address(2), until: at(100), now: at(0)) == .held)
        #expect(core.hold(try address(3), until: at(100), now: at(0)) == .full)
        #expect(core.hold(try address(1), until: at(200), now: at(0)) == .held)
        #expect(expired(&core, at(150)) == [try address(2)])
    }

    @Test("after the end of the daemon all addresses are given out at once")
    func expireAll() throws {
        var core = GuardCore()
        for number in 0..<GuardCore.capacity { _ = core.hold(try address(number), until: at(1000), now: at(0)) }
        core.expireAll(now: at(1))
        #expect(Set(expired(&core, at(1))).count == GuardCore.capacity)
    }

    @Test("with random records it gives out just what a plain dictionary of deadlines would", arguments: 1...20)
    func model(seed: UInt64) throws {
        var generator = SeededGenerator(state: seed)
        var core = GuardCore(capacity: 12)
        var model: [GuardedAddress: BootInstant] = [:]
        let addresses = try (0..<16).map { try address($0) }
        var now = start
        for round in 0..<4000 {
            now = now.advanced(by: .milliseconds(Int.random(in: 0...40, using: &generator)))
            let due = Set(model.filter { $0.value <= now }.keys)
            #expect(Set(expired(&core, now)) == due, "seed \(seed), round \(round)")
            for key in due { model[key] = nil }

            let chosen = addresses[Int.random(in: 0..<16, using: &generator)]
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<7:
                let deadline = now.advanced(by: .milliseconds(Int.random(in: -50...400, using: &generator)))
                let fits = model[chosen] != nil || model.count < 12
                #expect(core.hold(chosen, until: deadline, now: now) == (fits ? .held : .full))
                if fits { model[chosen] = deadline }
            case 7, 8:
                core.release(chosen)
                model[chosen] = nil
            default:
                if Int.random(in: 0..<20, using: &generator) == 0 {
                    core.releaseAll()
                    model = [:]
                }
            }
            #expect(core.count == model.count)
            #expect(core.nextDeadline == model.values.min(), "seed \(seed), round \(round)")
        }
    }
}
