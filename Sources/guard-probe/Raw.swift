import CLinux
import Glibc
import Platform
import VIP

/// The memory that the daemon shares with its guard, as no sound daemon would use it.
struct RawPage {
    private let words: UnsafeMutablePointer<Int64>

    /// To be made before the `GuardClient`, which closes the descriptor.
    init(_ environment: [String: String]) throws(SystemError) {
        let descriptor = environment[GuardEnvironment.leases].flatMap { Int32($0) } ?? -1
        guard let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), memory != MAP_FAILED
        else { throw SystemError.last("map the memory for leases") }
        words = memory.bindMemory(to: Int64.self, capacity: 512)
    }

    func write(_ slot: UInt16, _ nanoseconds: Int64) { words[Int(slot)] = nanoseconds }
}

/// A daemon that does one thing after the other as its arguments say, right or wrong, and then nothing any more:
///
///     extend:SLOT:MS      say that a lease lasts MS ms from now on
///     revoke:SLOT
///     write:SLOT:NS       write the number as it is
///     ahead:SLOT:MS       write the time MS ms from now, however far that is
///     hold:SLOT:ADDRESS   tell the guard
///     set:ADDRESS         set the address, whatever the lease says, for a long time
///     sleep:MS
///     garbage             send the guard a record of no sense
///     flood               send records without end
///     close               close the channel
struct RawDaemon {
    let client: GuardClient
    let page: RawPage
    let interface: String

    func run(_ steps: some Sequence<String>) throws {
        let session = try NetlinkSession()
        guard let link = try session.link(named: interface) else { throw SystemError("find", interface, errno: ENODEV) }
        for step in steps {
            let words = step.split(separator: ":", maxSplits: 2).map(String.init)
            let slot = words.count > 1 ? UInt16(words[1]).flatMap { LeaseSlot($0) } : nil
            let number = words.last.flatMap { Int64($0) }
            switch (words[0], slot, number) {
            case ("extend", let slot?, let milliseconds?):
                client.lease(slot).extend(term: 1, until: BootClock.now.advanced(by: .milliseconds(milliseconds)))
            case ("revoke", let slot?, _): client.lease(slot).revoke()
            case ("write", let slot?, let nanoseconds?): page.write(slot.number, nanoseconds)
            case ("ahead", let slot?, let milliseconds?):
                page.write(slot.number, BootClock.now.advanced(by: .milliseconds(milliseconds)).nanoseconds)
            case ("hold", let slot?, _):
                try client.hold(try VirtualAddress(parsing: words[2]), interface: link.index, slot: slot)
            case ("set", _, _):
                try session.set(try VirtualAddress(parsing: words[1]), interface: link.index, validLifetime: 600)
            case ("sleep", _, let milliseconds?): usleep(UInt32(clamping: milliseconds * 1000))
            case ("garbage", _, _):
                let bytes = [UInt8](repeating: 0x5A, count: 32)
                send(3, bytes, bytes.count, 0)
            case ("flood", _, _):
                var look = [UInt8](repeating: 0, count: GuardRecord.size)
                look.withUnsafeMutableBytes { GuardRecord.look.encode(into: $0) }
                while true { send(3, look, look.count, 0) }
            case ("close", _, _):
                // A close alone would wait for the thread that reads.
                shutdown(3, Int32(SHUT_RDWR))
                close(3)
            default: throw SystemError("understand the step", step, errno: EINVAL)
            }
        }
        say("daemon: all steps are done")
    }
}

/// Extends a lease a million times, first to see how long that takes, then under a filter by which the kernel ends the
/// thread at the first system call.
func extendWithoutSystemCalls(_ client: GuardClient) -> Never {
    let cell = client.lease(.lead)
    let count: Int64 = 1_000_000
    func extendAll(from begin: BootInstant) {
        for step in 0..<count {
            let now = BootInstant(nanoseconds: begin.nanoseconds + step)
            cell.extend(term: 1, until: BootInstant(nanoseconds: now.nanoseconds + 150_000_000), now: now)
        }
    }
    let begin = BootClock.now
    extendAll(from: begin)
    say("daemon: an extension takes \(begin.duration(to: BootClock.now).inNanoseconds / count) ns")
    guard clinux_forbid_system_calls() == 0 else {
        say("daemon: system calls cannot be forbidden: errno \(errno)")
        exit(70)
    }
    extendAll(from: BootInstant(nanoseconds: begin.nanoseconds + count))
    say("daemon: extended without a system call")
    while true {}
}
