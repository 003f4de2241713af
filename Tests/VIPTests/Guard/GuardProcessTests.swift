import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

/// Real processes and a real kernel. Each limit is that of issue 2; what is typical stands in the comment.
@Suite("guard: processes", .serialized)
struct GuardProcessTests {
    private let vip = "192.0.2.10/24"
    /// One VIP of each family.
    static let both = ["192.0.2.10/24", "2001:db8::10/64"]

    /// A guard with a daemon that holds the VIP beside a host address of the same prefix.
    private func withHolder(
        _ vip: String = "192.0.2.10/24", mode: String = "hold",
        _ body: (NetworkNamespace, ProbeProcess, NetlinkLog, VirtualAddress) async throws -> Void
    ) async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24", "2001:db8::1/64") { namespace async throws in
            let address = try VirtualAddress(parsing: vip)
            let begin = BootClock.now
            let (log, probe) = try await namespace.run { (try NetlinkLog(), try ProbeProcess(mode, [vip])) }
            try await log.time(of: address, removed: false, after: begin, within: .seconds(20))
            try await body(namespace, probe, log, address)
            // The host's own address was never touched.
            #expect(try await namespace.session { try $0.all($1) }.isSuperset(of: ["192.0.2.1/24", "2001:db8::1/64"]))
        }
    }

    @Test("kill -9 of the daemon: the address is gone within 50 ms, and back from a new daemon", arguments: both)
    func killDaemon(vip: String) async throws {
        try await withHolder(vip) { namespace, probe, log, address async throws in
            let daemon = try probe.daemonPID()
            let begin = BootClock.now
            kill(daemon, SIGKILL)
            let gone = try await log.time(of: address, removed: true, after: begin)
            #expect(begin.duration(to: gone) < .milliseconds(50))
            try await log.time(of: address, removed: false, after: gone)
            #expect(try probe.daemonPID() != daemon)
            try await probe.logs("was ended by signal 9 (Killed)")
            try await probe.logs("it is started again in 0.1 s")
        }
    }

    @Test("kill -9 of the guard: the daemon lets go and ends within 100 ms", arguments: both)
    func killGuard(vip: String) async throws {
        try await withHolder(vip) { _, probe, log, address async throws in
            let daemon = try probe.daemonPID()
            let begin = BootClock.now
            kill(probe.guardPID, SIGKILL)
            let gone = try await log.time(of: address, removed: true, after: begin)
            #expect(begin.duration(to: gone) < .milliseconds(100))
            while ProbeProcess.isAlive(daemon) {
                try #require(begin.duration(to: BootClock.now) < .seconds(2))
                try await Task.sleep(for: .milliseconds(1))
            }
            #expect(begin.duration(to: BootClock.now) < .milliseconds(100))
            #expect(try await probe.end() == -SIGKILL)
            #expect(probe.log.contains("the guard is gone"))
        }
    }

    @Test("both killed so that neither can act: the kernel removes the address by itself", arguments: both)
    func killBoth(vip: String) async throws {
        try await withHolder(vip) { _, probe, log, address async throws in
            let daemon = try probe.daemonPID()
            for pid in [probe.guardPID, daemon] { kill(pid, SIGSTOP) }
            while ProbeProcess.state(probe.guardPID) != "T" || ProbeProcess.state(daemon) != "T" {
                try await Task.sleep(for: .milliseconds(1))
            }
            let begin = BootClock.now
            for pid in [probe.guardPID, daemon] { kill(pid, SIGKILL) }
            let gone = try await log.time(of: address, removed: true, after: begin)
            #expect(begin.duration(to: gone) < .milliseconds(1600))
            #expect(begin.duration(to: gone) > .milliseconds(500), "somebody else removed it")
        }
    }

    @Test("SIGTERM: the daemon is asked, the address is gone before the guard ends with status 0")
    func terminate() async throws {
        try await withHolder { namespace, probe, _, _ async throws in
            kill(probe.guardPID, SIGTERM)
            #expect(try await probe.end() == 0)
            #expect(try await namespace.session { try $0.v4($1) } == ["192.0.2.1/24"])
            #expect(try !ProbeProcess.isAlive(probe.daemonPID()))
            #expect(probe.log.contains("SIGTERM: the daemon (pid"))
        }
    }

    @Test("a second signal kills a deaf daemon at once, and no address stays")
    func secondSignal() async throws {
        try await withHolder(mode: "deaf") { namespace, probe, _, _ async throws in
            let begin = BootClock.now
            kill(probe.guardPID, SIGTERM)
            // Not the same signal twice, which the kernel may merge.
            kill(probe.guardPID, SIGINT)
            #expect(try await probe.end() == 1)
            #expect(begin.duration(to: BootClock.now) < .seconds(1))
            #expect(try await namespace.session { try $0.v4($1) } == ["192.0.2.1/24"])
        }
    }

    @Test("a daemon that does not stop in time is killed, and no address stays")
    func stopTimeout() async throws {
        try await withHolder(mode: "deaf") { namespace, probe, _, _ async throws in
            let begin = BootClock.now
            kill(probe.guardPID, SIGTERM)
            #expect(try await probe.end() == 1)
            // The probe's limit is two seconds.
            #expect(begin.duration(to: BootClock.now) > .milliseconds(1900))
            #expect(try await namespace.session { try $0.v4($1) } == ["192.0.2.1/24"])
            #expect(probe.log.contains("it did not stop within 2.0 s"))
        }
    }

    @Test("what an earlier run left is removed: only what is listed and carries the tag")
    func leftOvers() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24", "192.0.2.11/24") { namespace async throws in
            let probe = try await namespace.session { session, index in
                for left in ["192.0.2.10/24", "192.0.2.12/24"] {
                    try session.set(try VirtualAddress(parsing: left), interface: index, validLifetime: 600)
                }
                // .10 is ours; .11 is listed, but the host set it; .12 has the tag, but belongs to another instance.
                let list = try ["192.0.2.10/24", "192.0.2.11/24"].map {
                    AddressesFile.Entry(address: try VirtualAddress(parsing: $0), interface: "v0")
                }
                return try ProbeProcess("exit:78", [vip], list: list)
            }
            #expect(try await probe.end() == 78)
            #expect(
                try await namespace.session { try $0.v4($1) }.sorted()
                    == ["192.0.2.1/24", "192.0.2.11/24", "192.0.2.12/24"])
            #expect(probe.log.contains("removed 192.0.2.10/24, which an earlier run had left"))
        }
    }

    @Test("an address that the host itself has is never touched, whoever is killed")
    func foreign() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.10/24") { namespace async throws in
            let other = try VirtualAddress(parsing: "192.0.2.11/24")
            let begin = BootClock.now
            let (log, probe) = try await namespace.run {
                (try NetlinkLog(), try ProbeProcess("hold", [vip, "192.0.2.11/24"]))
            }
            try await log.time(of: other, removed: false, after: begin, within: .seconds(20))
            try await probe.logs("already set on v0 by somebody else")
            let killed = BootClock.now
            kill(try probe.daemonPID(), SIGKILL)
            try await log.time(of: other, removed: true, after: killed)
            kill(probe.guardPID, SIGTERM)
            _ = try await probe.end()
            #expect(try await namespace.session { try $0.v4($1) } == ["192.0.2.10/24"])
        }
    }

    @Test("a daemon that fails before it was ever up is not started again: the guard ends with its status")
    func failedStart() async throws {
        try await withVirtualEthernet { namespace async throws in
            let probe = try await namespace.run { try ProbeProcess("exit:3") }
            #expect(try await probe.end() == 3)
            #expect(probe.log.contains("was never up: it is not started again"))
        }
    }

    @Test("a daemon that is killed is started again after growing waits; a signal ends that")
    func restarts() async throws {
        try await withHolder { _, probe, _, _ async throws in
            for wait in ["0.1 s", "0.2 s", "0.4 s"] {
                let daemon = try probe.daemonPID()
                kill(daemon, SIGKILL)
                try await probe.logs("it is started again in \(wait)")
                while try probe.daemonPID() == daemon { try await Task.sleep(for: .milliseconds(5)) }
            }
            kill(probe.guardPID, SIGTERM)
            #expect(try await probe.end() == 0)
        }
    }

    @Test("the daemon has the channel as descriptor 3 and the lock as 6; the guard has one thread and few sockets")
    func descriptors() async throws {
        try await withHolder { _, probe, _, _ async throws in
            let daemon = try probe.daemonPID()
            func target(_ pid: pid_t, _ descriptor: Int) -> String {
                var path = [CChar](repeating: 0, count: 4096)
                let count = readlink("/proc/\(pid)/fd/\(descriptor)", &path, path.count)
                return String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            }
            #expect(target(daemon, 3).hasPrefix("socket:"))
            // The lifeline is the only descriptor of a thread of its own.
            let tables = try runCommand([
                "sh", "-c", "for t in /proc/\(daemon)/task/*; do ls $t/fd | tr '\\n' ' '; echo; done",
            ])
            #expect(tables.split(separator: "\n").filter { $0 == "4 " }.count == 1, "descriptors: \(tables)")
            #expect(target(daemon, 6) == probe.directory + "/lock")
            // Both have the page, and nobody needs its descriptor any more.
            for pid in [daemon, probe.guardPID] {
                #expect(try runCommand(["cat", "/proc/\(pid)/maps"]).contains("dqlite-vip-leases"))
                #expect(!(3..<64).contains { target(pid, $0).contains("dqlite-vip-leases") })
            }
            let mappings = try runCommand(["cat", "/proc/\(probe.guardPID)/maps"]).split(separator: "\n")
            #expect(mappings.contains { $0.contains(" r--s ") && $0.contains("dqlite-vip-leases") })
            // The lock is held by both.
            let lock = open(probe.directory + "/lock", O_RDWR | O_CLOEXEC)
            defer { close(lock) }
            #expect(flock(lock, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK)
            #expect(try runCommand(["ls", "/proc/\(probe.guardPID)/task"]).split(separator: "\n").count == 1)
            // What runs the tests may have left sockets open to all its children.
            let inherited = Set((0..<200).map { target(getpid(), $0) })
            let sockets = (0..<200).map { target(probe.guardPID, $0) }.filter { $0.hasPrefix("socket:") }
            #expect(sockets.filter { !inherited.contains($0) }.count == 3, "channel, lifeline and netlink")
            #expect(!probe.log.contains("threads instead of one"))
            let name = try DurableFile.read("/proc/\(probe.guardPID)/comm")
            #expect(String(decoding: name ?? [], as: UTF8.self) == "dqvip-guard\n")
            let daemonName = try DurableFile.read("/proc/\(daemon)/comm")
            #expect(String(decoding: daemonName ?? [], as: UTF8.self) == "guard-probe\n")
        }
    }
}
