import Glibc
import Logging
import Platform
import Synchronization
import Testing

@testable import VIP

@Suite("ownership: on the kernel", .serialized)
struct OwnershipTests {
    private let vip = "192.0.2.10/24"

    /// The lease and the guard of a test.
    final class Surroundings: AddressGuard {
        private struct State {
            var lease: Lease?
            /// The lease always has this long to go; nil when `lease` counts.
            var rolling: Duration?
            var isPresent = true
            var isDeaf = false
            var held: Set<VirtualAddress> = []
            var holds = 0
        }
        let cell: LeaseCell
        private let state = Mutex(State())

        init() throws {
            cell = LeaseCell(page: try LeasePage(), slot: .lead) {}
        }

        func lead(for duration: Duration) {
            state.withLock { state in
                state.lease = Lease(term: 5, end: BootClock.now.advanced(by: duration))
                state.rolling = nil
            }
        }
        func leadOn() { state.withLock { $0.rolling = .milliseconds(300) } }
        func follow() {
            state.withLock { state in
                state.lease = nil
                state.rolling = nil
            }
        }
        func lose() { state.withLock { $0.isPresent = false } }
        func deafen(_ isDeaf: Bool) { state.withLock { $0.isDeaf = isDeaf } }

        /// A source that tells the cell when it is asked.
        var lease: Lease? {
            let lease = state.withLock { state in
                state.rolling.map { Lease(term: 5, end: BootClock.now.advanced(by: $0)) } ?? state.lease
            }
            if let lease { cell.extend(term: lease.term, until: lease.end) } else { cell.revoke() }
            return cell.lease
        }
        var held: Set<VirtualAddress> { state.withLock { $0.held } }
        /// How often the guard was told of an address.
        var holds: Int { state.withLock { $0.holds } }

        var isPresent: Bool { state.withLock { $0.isPresent } }
        func hold(_ address: VirtualAddress, interface: UInt32, slot: LeaseSlot) throws(SystemError) {
            let isDeaf = state.withLock { state in
                if !state.isDeaf { state.held.insert(address) }
                state.holds += 1
                return state.isDeaf
            }
            if isDeaf { throw SystemError("tell the guard", errno: EAGAIN) }
        }
        func release(_ address: VirtualAddress, interface: UInt32) throws(SystemError) {
            state.withLock { _ = $0.held.remove(address) }
        }
    }

    private struct Scene: Sendable {
        var namespace: NetworkNamespace
        var ownership: Ownership
        var surroundings: Surroundings
        var log: NetlinkLog
        var vip: VirtualAddress
        var directory: String

        func addresses() async throws -> [String] { try await namespace.session { try $0.v4($1) } }
    }

    /// A running ownership of the VIP on `v0`, which carries 192.0.2.1/24. Nothing may be left of it at the end.
    ///
    /// - Parameter isPushed: the lease is what the test writes into the cell; else it is asked for, as from a database.
    private func withOwnership(isPushed: Bool = false, _ body: (Scene) async throws -> Void) async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { namespace async throws in
            var template = Array("/tmp/ownership-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw SystemError.last("make a directory") }
            let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            defer {
                unlink(directory + "/addresses")
                rmdir(directory)
            }
            let surroundings = try Surroundings()
            let source: LeaseSource = { surroundings.lease }
            var timing = OwnershipTiming()
            timing.pollLeading = isPushed ? nil : .milliseconds(50)
            let (log, ownership) = try await namespace.run { [timing] in
                (
                    try NetlinkLog(),
                    try Ownership(
                        interface: "v0", cell: surroundings.cell, lease: isPushed ? nil : source,
                        guardChannel: surroundings,
                        addressesFile: StoredFile("addresses", in: OpenDirectory(directory)), timing: timing,
                        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
                )
            }
            let running = Task { try await ownership.run() }
            let scene = Scene(
                namespace: namespace, ownership: ownership, surroundings: surroundings, log: log,
                vip: try VirtualAddress(parsing: vip), directory: directory)
            await ownership.setDesired([scene.vip])
            try await body(scene)
            running.cancel()
            try await running.value
            #expect(try await scene.addresses().filter { !$0.hasPrefix("192.0.2.1/") } == [])
            #expect(surroundings.held.isEmpty)
        }
    }

    /// Waits for the next event that is wanted.
    private func event(
        _ scene: Scene, where isWanted: @escaping @Sendable (OwnershipEvent) -> Bool
    ) async throws -> OwnershipEvent {
        let events = scene.ownership.events
        return try await withThrowingTaskGroup(of: OwnershipEvent.self) { group in
            group.addTask {
                for await event in events where isWanted(event) { return event }
                throw DidNotHappen(description: "the events ended")
            }
            group.addTask {
                try await Task.sleep(for: .seconds(10))
                throw DidNotHappen(description: "no such event within ten seconds")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw DidNotHappen(description: "no event") }
            return first
        }
    }

    @Test("a kick under a fresh lease: the address is set and announced within milliseconds, with a short lifetime")
    func claim() async throws {
        try await withOwnership { scene async throws in
            let capture = try await scene.namespace.run { try PacketCapture(interface: "v1") }
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            let frame = try #require(
                try await scene.namespace.run { () -> BootInstant? in
                    while let frame = try capture.next(within: .seconds(2)) {
                        // A gratuitous request for the VIP: sender and target are the same.
                        if frame.bytes[28..<32] == [192, 0, 2, 10] && frame.bytes[38..<42] == [192, 0, 2, 10] {
                            return frame.time
                        }
                    }
                    return nil
                })
            #expect(begin.duration(to: frame) < .milliseconds(250))
            let found = try await scene.namespace.session { session, index in
                try session.addresses(interface: index).first {
                    $0.matches(try VirtualAddress(parsing: "192.0.2.10/24"))
                }
            }
            let address = try #require(found)
            #expect(address.isTagged && address.validLifetime <= 1 && address.preferredLifetime == 0)
            #expect(scene.surroundings.held.contains(scene.vip))
            guard case .claimed(scene.vip, term: 5, let took) = try await event(scene, where: { _ in true }) else {
                Issue.record("the first event is not the claim")
                return
            }
            #expect(took < .milliseconds(250))
        }
    }

    @Test("while the lease is renewed the address stays longer than its lifetime; when it is lost it goes at once")
    func holdAndLose() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            let set = try await scene.log.time(of: scene.vip, removed: false, after: begin)
            await #expect(throws: DidNotHappen.self) {
                try await scene.log.time(of: scene.vip, removed: true, after: set, within: .milliseconds(1500))
            }
            scene.surroundings.follow()
            let lost = BootClock.now
            scene.ownership.kick()
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: lost)
            #expect(lost.duration(to: gone) < .milliseconds(200))
        }
    }

    @Test("without any kick and with every thread of the shared pool busy, the address is gone when the lease ends")
    func starvedPool() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            try await scene.log.time(of: scene.vip, removed: false, after: begin)
            let isOver = Flag()
            // This very test is starved too: the namespace's thread watches.
            async let gone = scene.namespace.session { session, index -> Duration in
                // More tasks than the pool has threads, which never give way.
                for _ in 0..<64 { Task.detached { while !isOver.isRaised {} } }
                pause(.milliseconds(100))
                scene.surroundings.lead(for: .milliseconds(200))
                let end = BootClock.now.advanced(by: .milliseconds(200))
                while try session.v4(index).contains("192.0.2.10/24") && BootClock.now < end.advanced(by: .seconds(2)) {
                    pause(.microseconds(500))
                }
                isOver.raise()
                return end.duration(to: BootClock.now)
            }
            let late = try await gone
            #expect(late < .milliseconds(30))
        }
    }

    @Test("an address deleted by hand is back within 100 ms")
    func deletedByHand() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            try await scene.log.time(of: scene.vip, removed: false, after: begin)
            try await scene.namespace.command("ip", "address", "del", "192.0.2.10/24", "dev", "v0")
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: begin)
            let back = try await scene.log.time(of: scene.vip, removed: false, after: gone)
            #expect(gone.duration(to: back) < .milliseconds(100))
            let told = try await event(scene) { if case .reinstated = $0 { true } else { false } }
            #expect(told == .reinstated(scene.vip))
            #expect(await scene.ownership.snapshot().counters.reinstated == 1)
        }
    }

    @Test("the link goes down and up: the address is announced again")
    func linkFlap() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.leadOn()
            scene.ownership.kick()
            _ = try await event(scene) { if case .claimed = $0 { true } else { false } }
            let capture = try await scene.namespace.run { try PacketCapture(interface: "v1") }
            try await scene.namespace.script("ip link set v0 down")
            try await scene.namespace.script("ip link set v0 up")
            let announced = try await scene.namespace.run { () -> Bool in
                while let frame = try capture.next(within: .seconds(3)) {
                    if frame.bytes[28..<32] == [192, 0, 2, 10] { return true }
                }
                return false
            }
            #expect(announced)
            #expect(await scene.ownership.snapshot().addresses.first?.state == .held)
        }
    }

    @Test("the interface is deleted and made anew: the address is held on the new one")
    func interfaceAnew() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            try await scene.log.time(of: scene.vip, removed: false, after: begin)
            try await scene.namespace.script("ip link del v0")
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: begin)
            try await scene.namespace.script(
                """
                ip link add v0 type veth peer name v1
                ip link set v1 up
                ip link set v0 up
                """)
            try await scene.log.time(of: scene.vip, removed: false, after: gone)
            let claims = await scene.ownership.snapshot().counters.claims
            #expect(claims == 2)
        }
    }

    @Test("a guard that cannot be told or is gone: the address is not set, or let go")
    func guardFails() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.deafen(true)
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            _ = try await event(scene) { if case .failed = $0 { true } else { false } }
            #expect(try await scene.addresses() == ["192.0.2.1/24"])
            scene.surroundings.deafen(false)
            let set = try await scene.log.time(of: scene.vip, removed: false, after: begin)
            scene.surroundings.lose()
            scene.ownership.kick()
            try await scene.log.time(of: scene.vip, removed: true, after: set)
        }
    }

    @Test("whoever writes the cell need not kick: beginning and revocation are acted on at once")
    func pushed() async throws {
        try await withOwnership(isPushed: true) { scene async throws in
            let begin = BootClock.now
            scene.surroundings.cell.extend(term: 5, until: begin.advanced(by: .seconds(2)))
            let set = try await scene.log.time(of: scene.vip, removed: false, after: begin)
            #expect(begin.duration(to: set) < .milliseconds(100))
            let end = BootClock.now
            scene.surroundings.cell.revoke()
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: set)
            #expect(end.duration(to: gone) < .milliseconds(100))
        }
    }

    @Test(
        "extensions wake nobody: some ten times a second the thread looks at a lease of 150 ms, however often it grows")
    func wakeUps() async throws {
        try await withOwnership(isPushed: true) { scene async throws in
            let isOver = Flag()
            try BlockingThread.start(named: "extend") {
                while !isOver.isRaised {
                    scene.surroundings.cell.extend(term: 5, until: BootClock.now.advanced(by: .milliseconds(150)))
                    pause(.milliseconds(5))
                }
            }
            defer { isOver.raise() }
            _ = try await event(scene) { if case .claimed = $0 { true } else { false } }
            let (before, begin) = (try waits(ofThread: "vip-ownership"), BootClock.now)
            // Long enough to tell ten from two hundred, which is how often it is extended.
            try await Task.sleep(for: .seconds(3))
            let seconds = Double(begin.duration(to: BootClock.now).inMilliseconds) / 1000
            let rate = Double(try waits(ofThread: "vip-ownership") - before) / seconds
            #expect(rate < 40, "woken \(rate) times a second")
            #expect(scene.surroundings.holds == 1)
            let snapshot = await scene.ownership.snapshot()
            #expect(snapshot.addresses.first?.state == .held && snapshot.counters.claims == 1)
        }
    }

    /// How often threads of this name have gone to sleep, in all: see voluntary_ctxt_switches in proc(5).
    private func waits(ofThread name: String) throws -> Int {
        let text = try runCommand([
            "sh", "-c",
            "grep -lx \(name) /proc/\(getpid())/task/*/comm | sed s/comm/status/ | xargs grep -h ^voluntary",
        ])
        return text.split(separator: "\n").compactMap { $0.split(separator: "\t").last.flatMap { Int($0) } }.reduce(
            0, +)
    }

    @Test(
        "a lease that lapses and comes back in the same term, unseen: the address that the guard removed is set again")
    func lapsedUnseen() async throws {
        try await withOwnership(isPushed: true) { scene async throws in
            let cell = scene.surroundings.cell
            let begin = BootClock.now
            cell.extend(term: 5, until: begin.advanced(by: .seconds(2)))
            let set = try await scene.log.time(of: scene.vip, removed: false, after: begin)
            let capture = try await scene.namespace.run { try PacketCapture(interface: "v1") }
            // What the guard does when the daemon was stopped for the rest of the lease.
            try await scene.namespace.command("ip", "address", "del", "192.0.2.10/24", "dev", "v0")
            cell.extend(term: 5, until: BootClock.now.advanced(by: .seconds(2)))
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: set)
            let back = try await scene.log.time(of: scene.vip, removed: false, after: gone)
            #expect(gone.duration(to: back) < .milliseconds(100))
            let announced = try await scene.namespace.run { () -> Bool in
                while let frame = try capture.next(within: .seconds(3)) {
                    if frame.bytes[28..<32] == [192, 0, 2, 10], frame.time >= gone { return true }
                }
                return false
            }
            #expect(announced)
            #expect(scene.surroundings.holds == 2)
        }
    }

    @Test("the list on disk names an address before it is set, and forgets it after it is deleted")
    func list() async throws {
        try await withOwnership { scene async throws in
            func listed() throws -> Set<String> {
                Set(
                    try AddressesFile.read(StoredFile("addresses", in: OpenDirectory(scene.directory))).entries.map {
                        "\($0.address)"
                    })
            }
            #expect(try listed() == ["192.0.2.10/24"])
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            try await scene.log.time(of: scene.vip, removed: false, after: begin)
            let other = try VirtualAddress(parsing: "192.0.2.11/24")
            await scene.ownership.setDesired([other])
            #expect(try listed() == ["192.0.2.11/24"])
            #expect(try await scene.addresses() == ["192.0.2.1/24", "192.0.2.11/24"])
            let set = try await scene.log.time(of: other, removed: false, after: begin)
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: begin)
            #expect(set <= gone)
            await scene.ownership.setDesired([])
            #expect(try listed() == [])
            #expect(try await scene.addresses() == ["192.0.2.1/24"])
        }
    }

    @Test("after releaseAll nothing is set any more, although the lease goes on")
    func releaseAll() async throws {
        try await withOwnership { scene async throws in
            scene.surroundings.leadOn()
            let begin = BootClock.now
            scene.ownership.kick()
            try await scene.log.time(of: scene.vip, removed: false, after: begin)
            await scene.ownership.releaseAll()
            #expect(try await scene.addresses() == ["192.0.2.1/24"])
            scene.ownership.kick()
            await #expect(throws: DidNotHappen.self) {
                let now = BootClock.now
                try await scene.log.time(of: scene.vip, removed: false, after: now, within: .milliseconds(600))
            }
        }
    }

    @Test("a host address that equals the VIP is a conflict and stays; without it the VIP is claimed at once")
    func conflict() async throws {
        try await withOwnership { scene async throws in
            try await scene.namespace.command("ip", "address", "add", "192.0.2.10/24", "dev", "v0")
            scene.surroundings.leadOn()
            scene.ownership.kick()
            let told = try await event(scene) { if case .conflict = $0 { true } else { false } }
            guard case .conflict(scene.vip, _) = told else { return }
            #expect(await scene.ownership.snapshot().addresses.first?.state == .conflict)
            let begin = BootClock.now
            try await scene.namespace.command("ip", "address", "del", "192.0.2.10/24", "dev", "v0")
            let gone = try await scene.log.time(of: scene.vip, removed: true, after: begin)
            let claimed = try await scene.log.time(of: scene.vip, removed: false, after: gone)
            #expect(gone.duration(to: claimed) < .milliseconds(300))
        }
    }
}
