import Glibc
import Platform
import Testing

@testable import VIP

/// Guard and daemon on a host whose clocks NTP slews as fast as chrony does at most (8.3 %): a lease is as long as on any other.
///
/// What is slewed is what the processes read, and their timers with it; see `SlewedClocks`. The test itself measures on a clock
/// that is not slewed.
@Suite("guard: deadlines while NTP slews the clock", .serialized)
struct GuardDeadlineSlewTests {
    private let vip = "192.0.2.10/24"

    @Test(
        "the address is gone at the end of the lease by the oscillator, whether the kernel's clock is fast or slow",
        arguments: [-83_333, 83_333])
    func slewed(millionths: Int) async throws {
        let clocks = try SlewedClocks(millionths: millionths)
        try await withVirtualEthernet(addresses: "192.0.2.1/24") { namespace async throws in
            let address = try VirtualAddress(parsing: vip)
            var last = BootClock.now
            let (log, probe) = try await namespace.run {
                (try NetlinkLog(), try ProbeProcess("hold:150", [vip], environment: clocks.environment))
            }
            last = try await log.time(of: address, removed: false, after: last, within: .seconds(20))
            #expect(try clocks.isLoaded(in: probe.guardPID) && clocks.isLoaded(in: probe.daemonPID()))

            // Both read the same clock as this process: the lease was extended at most 40 ms ago.
            let end = try probe.leaseEnd()
            let left = BootClock.now.duration(to: end)
            #expect(left > .milliseconds(50) && left < .milliseconds(150))

            // At rest no lapse, and few wake-ups, two of them for some looks.
            let (sleeps, begin) = (try probe.guardSleeps(), BootClock.now)
            try await Task.sleep(for: .seconds(2))
            let seconds = Double(begin.duration(to: BootClock.now).inMilliseconds) / 1000
            #expect(Double(try probe.guardSleeps() - sleeps) / seconds < 14)
            #expect(log.times(of: address, removed: true, from: begin, to: BootClock.now).isEmpty)

            var late: [Duration] = []
            for _ in 0..<7 {
                let begin = BootClock.now
                try await probe.stopDaemon()
                let end = try probe.leaseEnd()
                last = try await log.time(of: address, removed: true, after: begin)
                late.append(end.duration(to: last))
                kill(try probe.daemonPID(), SIGCONT)
                last = try await log.time(of: address, removed: false, after: last)
                try await Task.sleep(for: .milliseconds(100))
            }
            late.sort()
            // As without slewing, and up to 0.5 ms later: typical is −0.7. One sleep until the end is some 5 ms late.
            #expect(late[0] > .milliseconds(-2), "\(late)")
            #expect(late[3] < .milliseconds(3), "\(late)")
            #expect(late[6] < .milliseconds(30), "\(late)")
        }
    }
}
