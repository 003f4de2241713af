import CLinux
import Glibc
import Platform
import Testing

@Suite("Capabilities")
struct CapabilitiesTests {
    private static let all: UInt64 = 0x1FF_FFFF_FFFF
    private static let two: UInt64 = 1 << 12 | 1 << 13
    private static let four: UInt64 = 1 << 10 | two | 1 << 23

    private func sets(
        _ effective: UInt64, _ permitted: UInt64, _ inheritable: UInt64, _ bounding: UInt64, _ ambient: UInt64
    ) -> Capabilities {
        Capabilities(
            effective: effective, permitted: permitted, inheritable: inheritable, bounding: bounding, ambient: ambient)
    }

    @Test("of root's are left the four that are needed; only the guard passes any on")
    func root() {
        let root = sets(Self.all, Self.all, 0, Self.all, 0)
        #expect(root.reduced(startsPrograms: true) == sets(Self.four, Self.four, 0, Self.four, 0))
        #expect(root.reduced(startsPrograms: false) == sets(Self.four, Self.four, 0, Self.four, 0))
    }

    @Test(
        "of a unit with AmbientCapabilities= the guard keeps what the daemon gets by it; the daemon keeps none of that")
    func ambient() {
        let unit = sets(Self.two, Self.two, Self.two, Self.all, Self.two)
        #expect(unit.reduced(startsPrograms: true) == sets(Self.two, Self.two, Self.two, Self.four, Self.two))
        #expect(unit.reduced(startsPrograms: false) == sets(Self.two, Self.two, 0, Self.four, 0))
    }

    @Test("nothing is ever added", arguments: [0, 1 << 13, UInt64.max, 0x00FF_00FF_00FF_00FF])
    func subset(bits: UInt64) {
        let present = sets(bits, bits, bits, bits, bits)
        for startsPrograms in [false, true] {
            let left = present.reduced(startsPrograms: startsPrograms)
            for set in [left.effective, left.permitted, left.inheritable, left.bounding, left.ambient] {
                #expect(set & ~bits == 0 && set & ~Self.four == 0)
            }
            #expect(left.reduced(startsPrograms: startsPrograms) == left)
        }
    }

    @Test(
        "the kernel takes them from the calling thread, and nothing gives them back",
        .enabled(if: geteuid() == 0, "there must be something to take"))
    func kernel() async throws {
        try await BlockingThread.run(named: "rights") {
            let before = try Capabilities.current()
            #expect(before.effective >> 21 & 1 == 1, "the test needs CAP_SYS_ADMIN, to see it go")
            #expect(ProcessRights.reduce(startsPrograms: false) == [])
            let after = try Capabilities.current()
            #expect(after == before.reduced(startsPrograms: false))
            #expect(after.effective & Self.two == Self.two)
            // CAP_SYS_ADMIN, as the kernel itself sees it.
            #expect(clinux_unshare_network() == -1 && errno == EPERM)
            #expect(
                clinux_set_capabilities(before.effective, before.permitted, before.inheritable) == -1 && errno == EPERM)
            let status = String(decoding: try DurableFile.read("/proc/thread-self/status") ?? [], as: UTF8.self)
            #expect(status.contains("NoNewPrivs:\t1\n"))
            // Again, with nothing left to take: no fault.
            #expect(ProcessRights.reduce(startsPrograms: false) == [])
        }
    }

}
