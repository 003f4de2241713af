import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

/// Real processes and a real kernel: the guard removes an address when its lease is over, whatever the daemon does.
///
/// Each limit leaves room for a machine that is busy elsewhere; what is typical stands in a comment.
@Suite("guard: deadlines", .serialized)
struct GuardDeadlineTests {
    private let vip = "192.0.2.10/24"

    private struct Scene: Sendable {
        var namespace: NetworkNamespace
        var probe: ProbeProcess
        var log: NetlinkLog
        var address: VirtualAddress
        /// When the address was set first.
        var set: BootInstant

        func addresses() async throws -> [String] { try await namespace.session { try $0.v4($1) } }
    }

    /// A guard with a daemon that sets the VIP.
    private func withProbe(
        _ mode: String, _ further: [String], _ body: (Scene) async throws -> Void
    ) async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { namespace async throws in
            let address = try VirtualAddress(parsing: vip)
            let begin = BootClock.now
            let (log, probe) = try await namespace.run { (try NetlinkLog(), try ProbeProcess(mode, further)) }
            let set = try await log.time(of: address, removed: false, after: begin, within: .seconds(20))
            let scene = Scene(namespace: namespace, probe: probe, log: log, address: address, set: set)
            try await body(scene)
            // The host's own address was never touched.
            #expect(try await scene.addresses().contains("192.0.2.1/24"))
        }
    }

    /// A daemon that takes the steps one after the other; see `RawDaemon`.
    private func withSteps(_ steps: String..., body: (Scene) async throws -> Void) async throws {
        try await withProbe("raw", steps, body)
    }

    @Test(
        "SIGSTOP of the daemon: the address is gone when the lease is over, and after SIGCONT not back before a new one"
    )
    func stopped() async throws {
        try await withProbe("hold:150", [vip]) { scene async throws in
            var late: [Duration] = []
            for _ in 0..<10 {
                let begin = BootClock.now
                try await scene.probe.stopDaemon()
                let end = try scene.probe.leaseEnd()
                let gone = try await scene.log.time(of: scene.address, removed: true, after: begin)
                late.append(end.duration(to: gone))
                #expect(begin.duration(to: gone) < .milliseconds(200))
                try await scene.probe.logs("the daemon did not remove it when its lease was over: the guard has")
                // It is removed a moment before.
                while BootClock.now < end.advanced(by: .milliseconds(5)) { try await Task.sleep(for: .milliseconds(5)) }
                let resumed = BootClock.now
                kill(try scene.probe.daemonPID(), SIGCONT)
                // Then it takes half a second until the lease is extended again.
                let back = try await scene.log.time(of: scene.address, removed: false, after: gone)
                #expect(resumed.duration(to: back) > .milliseconds(450))
            }
            late.sort()
            // It is removed one millisecond before; typical is −0.9.
            #expect(late[0] > .milliseconds(-2), "\(late)")
            #expect(late[5] < .milliseconds(3), "\(late)")
            #expect(late[9] < .milliseconds(30), "\(late)")
        }
    }

    @Test("a daemon that was stopped for a second sets nothing and announces nothing under its old lease")
    func resumed() async throws {
        try await withProbe("hold:150", [vip]) { scene async throws in
            let capture = try await scene.namespace.run { try PacketCapture(interface: "v1") }
            let begin = BootClock.now
            try await scene.probe.stopDaemon()
            let gone = try await scene.log.time(of: scene.address, removed: true, after: begin)
            try await Task.sleep(for: .seconds(1))
            let resumed = BootClock.now
            kill(try scene.probe.daemonPID(), SIGCONT)
            let back = try await scene.log.time(of: scene.address, removed: false, after: gone)
            #expect(resumed.duration(to: back) > .milliseconds(450))
            // Announced anew, but not before it was set anew.
            let first = try await scene.namespace.run { () -> BootInstant? in
                while let frame = try capture.next(within: .seconds(3)) {
                    if frame.time > gone, frame.bytes[28..<32] == [192, 0, 2, 10] { return frame.time }
                }
                return nil
            }
            #expect(resumed.duration(to: try #require(first)) > .milliseconds(450))
        }
    }

    @Test(
        "stopped wherever it stands while it refreshes and announces all the time: at most the call under way is late")
    func resumedAnywhere() async throws {
        try await withProbe("eager:60", [vip]) { scene async throws in
            let capture = try await scene.namespace.run { try PacketCapture(interface: "v1") }
            // How many frames of the VIP are waiting to be read.
            let frames: @Sendable () throws -> Int = {
                var count = 0
                while let frame = try capture.next(within: .zero) {
                    if frame.bytes[28..<32] == [192, 0, 2, 10] { count += 1 }
                }
                return count
            }
            var lateFrames = 0
            for trial in 0..<10 {
                try await scene.log.time(of: scene.address, removed: false, after: BootClock.now)
                // Somewhere within the milliseconds.
                try await Task.sleep(for: .microseconds(100_000 + trial * 370))
                let begin = BootClock.now
                try await scene.probe.stopDaemon()
                try await scene.log.time(of: scene.address, removed: true, after: begin)
                #expect(try await scene.namespace.run(frames) > 0)
                let resumed = BootClock.now
                kill(try scene.probe.daemonPID(), SIGCONT)
                try await Task.sleep(for: .milliseconds(400))
                let end = resumed.advanced(by: .milliseconds(400))
                let late = try await scene.namespace.run(frames)
                // One announcement is two frames.
                #expect(late <= 2, "trial \(trial)")
                lateFrames += late
                // What a call set that was under way is deleted at once.
                let sets = scene.log.times(of: scene.address, removed: false, from: resumed, to: end)
                let removals = scene.log.times(of: scene.address, removed: true, from: resumed, to: end)
                #expect(sets.count <= 1 && sets.count == removals.count, "trial \(trial)")
                for (set, removal) in zip(sets, removals) { #expect(set.duration(to: removal) < .milliseconds(60)) }
            }
            #expect(lateFrames <= 8)
        }
    }

    @Test("every thread of the daemon in a busy loop: the address is gone when the lease is over")
    func spinning() async throws {
        try await withProbe("spin", [vip]) { scene async throws in
            let begin = BootClock.now
            try DurableFile.write([], to: scene.probe.directory + "/spin")
            let gone = try await scene.log.time(of: scene.address, removed: true, after: begin)
            #expect(begin.duration(to: gone) < .milliseconds(500))
            try await scene.probe.logs("the daemon did not remove it when its lease was over: the guard has")
        }
    }

    @Test("two addresses under different leases go at different times")
    func twoLeases() async throws {
        try await withSteps(
            "extend:0:300", "extend:511:800", "hold:0:192.0.2.10/24", "hold:511:192.0.2.11/24", "set:192.0.2.10/24",
            "set:192.0.2.11/24"
        ) { scene async throws in
            let other = try VirtualAddress(parsing: "192.0.2.11/24")
            let otherSet = try await scene.log.time(of: other, removed: false, after: scene.set)
            let ends = (try scene.probe.leaseEnd(0), try scene.probe.leaseEnd(511))
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            let otherGone = try await scene.log.time(of: other, removed: true, after: otherSet)
            for (end, time) in [(ends.0, gone), (ends.1, otherGone)] {
                #expect(end.duration(to: time) > .milliseconds(-2) && end.duration(to: time) < .milliseconds(30))
            }
        }
    }

    @Test(
        "a lease that was never written, or is nonsense, guards nothing: what is set under it is removed at once",
        arguments: [
            "sleep:0", "write:0:-1", "write:0:1", "ahead:0:3600000", "write:0:9223372036854775807", "ahead:0:-1",
        ])
    func nonsense(step: String) async throws {
        try await withSteps(step, "hold:0:192.0.2.10/24", "set:192.0.2.10/24") { scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            // The next look after the one at which there was nothing to remove yet: up to 50 ms.
            #expect(scene.set.duration(to: gone) < .milliseconds(150))
        }
    }

    @Test("what a daemon sets after its lease was over and the guard had acted is removed too")
    func setLate() async throws {
        try await withSteps(
            "extend:0:200", "hold:0:192.0.2.10/24", "set:192.0.2.10/24", "sleep:500", "set:192.0.2.10/24"
        ) { scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            let again = try await scene.log.time(of: scene.address, removed: false, after: gone)
            let goneAgain = try await scene.log.time(of: scene.address, removed: true, after: again)
            #expect(again.duration(to: goneAgain) < .milliseconds(150))
        }
    }

    @Test("what somebody else sets after the guard has removed ours is his, and stays")
    func foreignLater() async throws {
        try await withSteps("extend:0:200", "hold:0:192.0.2.10/24", "set:192.0.2.10/24") { scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            try await scene.namespace.command("ip", "address", "add", "192.0.2.10/24", "dev", "v0")
            await #expect(throws: DidNotHappen.self) {
                let later = gone.advanced(by: .milliseconds(20))
                try await scene.log.time(of: scene.address, removed: true, after: later, within: .milliseconds(400))
            }
            kill(scene.probe.guardPID, SIGTERM)
            _ = try await scene.probe.end()
            #expect(try await scene.addresses().contains("192.0.2.10/24"))
        }
    }

    @Test("an end that goes backwards is obeyed at once when the guard is told, and otherwise at the end that it knows")
    func backwards() async throws {
        try await withSteps(
            "extend:0:1500", "hold:0:192.0.2.10/24", "set:192.0.2.10/24", "extend:0:300"
        ) { scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            #expect(scene.set.duration(to: gone) < .milliseconds(400))
        }
        try await withSteps(
            "ahead:0:1000", "hold:0:192.0.2.10/24", "set:192.0.2.10/24", "sleep:50", "ahead:0:300"
        ) { scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            #expect(scene.set.duration(to: gone) < .milliseconds(1100))
        }
    }

    @Test("a lease that is revoked: the address is gone at once, not at the end that was said before")
    func revoked() async throws {
        try await withSteps(
            "extend:0:1900", "hold:0:192.0.2.10/24", "set:192.0.2.10/24", "sleep:100", "revoke:0"
        ) { scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            #expect(scene.set.duration(to: gone) < .milliseconds(200))
        }
    }

    @Test("a daemon that sends nonsense or closes its channel has no address any more, and is replaced")
    func nonsenseOnTheChannel() async throws {
        for (step, line) in [
            ("garbage", "it sent a record that the guard does not know"), ("close", "it is started again in"),
        ] {
            try await withSteps("extend:0:1900", "hold:0:192.0.2.10/24", "set:192.0.2.10/24", step) {
                scene async throws in
                let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
                #expect(scene.set.duration(to: gone) < .milliseconds(200), "\(step)")
                try await scene.probe.logs(line)
            }
        }
    }

    @Test("a daemon that never stops talking does not keep the guard from its deadlines")
    func flood() async throws {
        try await withSteps("extend:0:300", "hold:0:192.0.2.10/24", "set:192.0.2.10/24", "flood") {
            scene async throws in
            let gone = try await scene.log.time(of: scene.address, removed: true, after: scene.set)
            #expect(scene.set.duration(to: gone) < .milliseconds(450))
            kill(try scene.probe.daemonPID(), SIGKILL)
        }
    }

    @Test("while a lease of 150 ms is extended every 40 ms the guard wakes less than ten times a second")
    func wakeUps() async throws {
        try await withProbe("hold:150", [vip]) { scene async throws in
            let (before, begin) = (try scene.probe.guardSleeps(), BootClock.now)
            // Long enough for a rate.
            try await Task.sleep(for: .seconds(3))
            let seconds = Double(begin.duration(to: BootClock.now).inMilliseconds) / 1000
            let rate = Double(try scene.probe.guardSleeps() - before) / seconds
            #expect(rate < 12, "it woke \(rate) times a second")
            #expect(scene.log.times(of: scene.address, removed: true, from: begin, to: BootClock.now).isEmpty)
        }
    }

    @Test("an extension makes no system call", .timeLimit(.minutes(1)))
    func extensionCost() async throws {
        try await withVirtualEthernet { namespace async throws in
            let probe = try await namespace.run { try ProbeProcess("strict") }
            // The kernel would have ended the thread.
            try await probe.logs("extended without a system call", within: .seconds(30))
        }
    }
}
