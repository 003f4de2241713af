import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

@Suite("ownership: decisions under random trouble")
struct OwnershipCorePropertyTests {
    /// Random leases, hands, links, failures and stops of the whole process, also in the middle of a system call, after which
    /// the lease is over or has come back. `OwnershipBench` checks each directive: no set or announcement without a lease, no
    /// set that is not guarded or that the guard has undone, nothing deleted or taken over that is not ours, and what a call
    /// sets too late is deleted before anything else.
    @Test("whatever happens the rules hold, and when the trouble ends so does its effect", arguments: 1...100)
    func rules(seed: UInt64) throws {
        let chance = Chance(seed)
        // In every second run the LAN is asked, and other hosts come and go.
        var bench = OwnershipBench(asks: seed.isMultiple(of: 2), tells: true)
        bench.neighbours = [
            Neighbour(
                interfaceIndex: 2, address: try #require(IPAddress("192.0.2.9")),
                hardwareAddress: HardwareAddress([2, 0, 0, 0, 0, 9]), state: UInt16(NUD_REACHABLE))
        ]
        let all = try ["192.0.2.10/24", "192.0.2.11/24", "198.51.100.1/32", "2001:db8::10/64"].map {
            try VirtualAddress(parsing: $0)
        }
        bench.cost = { .microseconds(chance.pick(200)) }
        bench.stall = { chance.pick(100) == 0 && !chance.isPeaceful ? .milliseconds(chance.pick(500)) : .zero }
        bench.leaseAfterStall = { now in
            chance.pick(2) == 0 ? Lease(term: 1, end: now.advanced(by: .milliseconds(chance.pick(300)))) : nil
        }
        bench.core.keepsSecondaries = !seed.isMultiple(of: 3)
        bench.run(.desired(all))

        for round in 0..<400 {
            trouble(&bench, chance, all)
            bench.pass(.milliseconds(chance.pick(120)))
            // The wake-up at the end of the lease was not missed: nothing of ours outlives it without a failing deletion.
            if bench.lease.map({ $0.end <= bench.now }) ?? true, !chance.isFaulty {
                bench.run()
                #expect(!bench.kernel.values.contains(true), "seed \(seed), round \(round)")
            }
            if !bench.violations.isEmpty { break }
        }
        #expect(bench.violations == [], "seed \(seed)")

        // Peace: every address is held, except where somebody else has it.
        chance.isFaulty = false
        chance.isPeaceful = true
        bench.fault = { _ in nil }
        bench.others = { _, _ in [] }
        if bench.link == nil { bench.setLink(OwnershipBench.link(index: 99)) }
        bench.setLink(OwnershipBench.link(index: bench.link?.index ?? 99))
        bench.run(.desired(all))
        bench.pass(.seconds(12)) { Lease(term: 9, end: $0.advanced(by: .milliseconds(200))) }
        for address in all {
            let foreign = bench.kernel.contains { $0.key.address == address.address && !$0.value }
            let place = OwnershipBench.Place(
                interface: bench.link?.index ?? 0, address: address.address, prefixLength: address.prefixLength)
            let state = bench.core.snapshot.addresses.first { $0.address == address }?.state
            #expect(foreign || bench.kernel[place] == true, "seed \(seed): \(address) is not held")
            #expect(state == (bench.kernel[place] == true ? .held : .conflict), "seed \(seed): \(address)")
        }
        bench.run(.releaseAll)
        #expect(!bench.kernel.values.contains(true))
        #expect(
            bench.watched.isEmpty,
            "seed \(seed): the guard still watches \(bench.watched)"
        )
        #expect(bench.violations == [], "seed \(seed)")
        try checkEvents(bench.events, seed)
    }

    /// A claim is followed by a release before the next claim, and nothing is reinstated that is not held.
    private func checkEvents(_ events: [OwnershipEvent], _ seed: UInt64) throws {
        var held: Set<VirtualAddress> = []
        for event in events {
            switch event {
            case .claimed(let address, _, let took):
                #expect(held.insert(address).inserted, "seed \(seed): claimed twice")
                #expect(took >= .zero)
            case .released(let address, _): #expect(held.remove(address) != nil, "seed \(seed): released twice")
            case .reinstated(let address): #expect(held.contains(address), "seed \(seed): reinstated unheld")
            case .reseated(let address, _): #expect(held.contains(address), "seed \(seed): reseated unheld")
            case .conflict, .awaited, .withheld, .foreignHolder, .foreignMACs, .linkDown, .linkUp, .failed: break
            }
        }
        #expect(held.isEmpty, "seed \(seed)")
    }

    private func trouble(_ bench: inout OwnershipBench, _ chance: Chance, _ all: [VirtualAddress]) {
        switch chance.pick(17) {
        case 0...4:
            bench.lease = Lease(
                term: UInt64(chance.pick(3)), end: bench.now.advanced(by: .milliseconds(chance.pick(400) - 20)))
            bench.run(.kicked(at: bench.now))
        case 5:
            bench.lease = nil
            bench.run(.kicked(at: bench.now))
        case 6:
            if let place = bench.kernel.keys.min() { bench.remove(place) }
        case 7:
            // Ours, set by somebody else, or one of the host in the same subnet.
            let texts = all.map(\.description) + ["192.0.2.1/24", "2001:db8::1/64"]
            try? bench.addByHand(texts[chance.pick(texts.count)], interface: bench.link?.index ?? 2)
        case 8:
            for place in bench.kernel.filter({ !$0.value }).keys.sorted() { bench.remove(place) }
        case 9:
            let index = bench.link?.index ?? 2
            bench.setLink(OwnershipBench.link(index: index, up: chance.pick(2) == 0, mac: UInt8(chance.pick(3))))
        case 10:
            bench.setLink(chance.pick(3) == 0 ? nil : OwnershipBench.link(index: UInt32(2 + chance.pick(4))))
        case 11:
            bench.run(.desired(all.filter { _ in chance.pick(3) > 0 }))
        case 12:
            chance.isFaulty = true
            bench.isPunctual = false
            bench.fault = { directive in
                if case .event = directive { return nil }
                let codes = [EAGAIN, ENOBUFS, EPERM, EEXIST, EIO]
                let code = codes[chance.pick(codes.count)]
                // Only a call without an answer may have been carried out.
                let isDone = (code == EAGAIN || code == EIO) && chance.pick(2) == 0
                return chance.pick(4) == 0 ? (SystemError("try", errno: code), isDone) : nil
            }
        case 13, 14:
            // SIGSTOP and SIGCONT.
            bench.stop(for: .milliseconds(chance.pick(600)))
            if let lease = bench.leaseAfterStall(bench.now), chance.pick(2) == 0 { bench.lease = lease }
        case 15:
            let mac = UInt8(chance.pick(4))
            bench.others = { address, _ in address == all[Int(mac) % all.count].address && mac > 1 ? [mac] : [] }
            bench.core.hint = LeadHint(leads: chance.pick(2) == 0, isHandedOver: chance.pick(8) == 0)
        default:
            chance.isFaulty = false
            bench.fault = { _ in nil }
            // What failed is tried again after 20 ms.
            bench.pass(.milliseconds(25))
            bench.isPunctual = true
        }
    }

    /// Random numbers that closures share; a test uses it from one thread.
    private final class Chance {
        private var generator: SeededGenerator
        var isFaulty = false
        var isPeaceful = false

        init(_ seed: UInt64) { generator = SeededGenerator(state: seed) }

        func pick(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }
    }
}
