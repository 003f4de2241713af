import Glibc
import Platform
import Synchronization
import Testing

@testable import VIP

@Suite("guard: the page of leases")
struct LeasePageTests {
    private let slot: LeaseSlot
    init() throws { slot = try #require(LeaseSlot(LeasePage.slots - 1)) }

    @Test("what one mapping writes the other reads, each slot for itself; a new page holds no lease")
    func shared() throws {
        let memory = try LeasePage.makeMemory()
        let reader = try LeasePage(descriptor: memory, isWritable: false)
        let writer = try LeasePage(descriptor: memory, isWritable: true)
        close(memory)
        #expect(reader.end(.lead) == .noLease && reader.end(slot) == .noLease)
        #expect(writer.exchange(slot, BootInstant(nanoseconds: 77)) == .noLease)
        #expect(reader.end(slot) == BootInstant(nanoseconds: 77) && reader.end(.lead) == .noLease)
        #expect(writer.exchange(slot, BootInstant(nanoseconds: -5)) == BootInstant(nanoseconds: 77))
        #expect(reader.end(slot) == BootInstant(nanoseconds: -5))
        #expect(LeaseSlot(LeasePage.slots) == nil)
    }

    @Test("nobody can take the memory away from under the reader, or give it something else for a page")
    func sealed() throws {
        let memory = try LeasePage.makeMemory()
        defer { close(memory) }
        #expect(ftruncate(memory, 0) == -1 && errno == EPERM)
        #expect(ftruncate(memory, 1 << 20) == -1 && errno == EPERM)
        #expect(fcntl(memory, F_GETFD) == FD_CLOEXEC)
        let other = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        defer { close(other) }
        #expect(throws: SystemError.self) { try LeasePage(descriptor: other, isWritable: false) }
        #expect(throws: SystemError.self) { try LeasePage(descriptor: -1, isWritable: false) }
    }

    @Test("a value is seen as it was written, never half of it, however fast it changes")
    func whole() throws {
        let memory = try LeasePage.makeMemory()
        defer { close(memory) }
        let reader = try LeasePage(descriptor: memory, isWritable: false)
        let writer = try LeasePage(descriptor: memory, isWritable: true)
        let isOver = Flag()
        // Each half tells what the other must be.
        func value(_ half: Int64) -> Int64 { half << 32 | half }
        try BlockingThread.start(named: "writer") { [slot] in
            var half: Int64 = 0
            while !isOver.isRaised {
                half = (half + 0x01_23_45) & 0x7FFF_FFFF
                _ = writer.exchange(slot, BootInstant(nanoseconds: half << 32 | half))
            }
        }
        defer { isOver.raise() }
        var seen: Set<Int64> = []
        for _ in 0..<200_000 {
            let word = reader.end(slot).nanoseconds
            if word != value(word & 0xFFFF_FFFF) { Issue.record("torn: \(word)") }
            if seen.count < 3 { seen.insert(word) }
        }
        #expect(seen.count == 3, "the writer did not run meanwhile")
    }

    @Test("an end is good from after now to two seconds ahead, and at no other time")
    func sound() {
        let now = BootInstant(nanoseconds: 1_000_000_000_000)
        for (end, isGood) in [
            (.noLease, false), (now, false), (now.advanced(by: .nanoseconds(-1)), false),
            (now.advanced(by: .nanoseconds(1)), true), (now.advanced(by: .seconds(2)), true),
            (now.advanced(by: .seconds(2) + .nanoseconds(1)), false), (BootInstant(nanoseconds: .max), false),
            (BootInstant(nanoseconds: .min), false), (BootInstant(nanoseconds: -1), false),
        ] as [(BootInstant, Bool)] {
            #expect(end.isLeaseEnd(at: now) == isGood, "\(end)")
        }
    }
}
