import CLinux
import Glibc
import Platform
import Synchronization

/// The number of a lease on the `LeasePage`. Addresses that are held under one lease share it.
public struct LeaseSlot: Hashable, Sendable {
    /// 0..<`LeasePage.slots`.
    public let number: UInt16

    /// The lease on leadership itself.
    public static let lead = LeaseSlot(unchecked: 0)

    /// nil when the page has no such slot.
    public init?(_ number: UInt16) {
        guard number < LeasePage.slots else { return nil }
        self.number = number
    }

    private init(unchecked number: UInt16) { self.number = number }
}

/// A page of memory that the daemon writes and its guard reads: until when each lease lasts.
///
/// A lease is extended tens of times a second. Here that is one store: no system call, and nobody is woken. The channel
/// (`GuardRecord`) says which addresses there are and under which lease; only that needs messages.
///
/// 512 slots of 8 bytes: nanoseconds of `BootClock`, in the byte order of the machine, as `Int64`; 0 is no lease. A slot
/// is read and written as one atomic word, so that a value is never seen half written, wherever the writer was stopped. (A
/// sequence lock would not do: a writer that is stopped halfway leaves it closed.) Each daemon gets a new page, so that
/// nothing that an earlier one wrote counts. The memory is sealed: no writer can shrink it under the reader.
public final class LeasePage: Sendable {
    /// How many leases there is room for.
    public static let slots: UInt16 = 512
    static let size = Int(slots) * MemoryLayout<Int64>.size

    /// How far ahead an end may be. A later one is no lease at all: what no sound writer writes (see `LeaseCell.extend`)
    /// comes from a fault in memory or in the clock, and to take it for the latest sound one would renew it for ever.
    public static let horizon: Duration = .seconds(2)
    /// How far ahead a writer says that an end is at most. The clocks of two processes differ by some tens of nanoseconds (see
    /// `Suspension`), so an end right on the horizon of one may be behind that of the other.
    public static let longest: Duration = horizon - .milliseconds(1)

    // Only accessed as atomic words, from construction to the end of the mapping in `deinit`.
    private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<Int64>>

    /// Sealed memory for a page, all zero.
    ///
    /// - Returns: a descriptor that is closed on exec; the caller closes it.
    /// - Throws: `SystemError` when the system has none to give.
    static func makeMemory() throws(SystemError) -> Int32 {
        try retryingOnInterrupt("make memory for leases") { clinux_sealed_memory("dqlite-vip-leases", size) }
    }

    /// Maps the memory behind a descriptor, which may be closed afterwards.
    ///
    /// - Throws: `SystemError` when it is no page, or the system does not map it.
    convenience init(descriptor: Int32, isWritable: Bool) throws(SystemError) {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { throw SystemError.last("look at the memory for leases") }
        guard information.st_size == Self.size else {
            throw SystemError("use the memory for leases", "of \(information.st_size) bytes", errno: EINVAL)
        }
        try self.init(
            protection: isWritable ? PROT_READ | PROT_WRITE : PROT_READ, flags: MAP_SHARED, descriptor: descriptor)
    }

    /// A page that no other process sees.
    ///
    /// - Throws: `SystemError` when the system has no memory.
    public convenience init() throws(SystemError) {
        try self.init(protection: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS, descriptor: -1)
    }

    private init(protection: Int32, flags: Int32, descriptor: Int32) throws(SystemError) {
        // Mapped in full at once (MAP_POPULATE), so that no later access has to wait for memory.
        guard let memory = mmap(nil, Self.size, protection, flags | MAP_POPULATE, descriptor, 0), memory != MAP_FAILED
        else { throw SystemError.last("map the memory for leases") }
        words = memory.bindMemory(to: Atomic<Int64>.self, capacity: Int(Self.slots))
    }

    deinit { munmap(words, Self.size) }

    /// What stands in a slot, sound or not: see `BootInstant.isLeaseEnd`.
    func end(_ slot: LeaseSlot) -> BootInstant {
        BootInstant(nanoseconds: words[Int(slot.number)].load(ordering: .sequentiallyConsistent))
    }

    /// Writes a slot; returns what stood there before.
    func exchange(_ slot: LeaseSlot, _ end: BootInstant) -> BootInstant {
        BootInstant(
            nanoseconds: words[Int(slot.number)].exchange(end.nanoseconds, ordering: .sequentiallyConsistent))
    }
}

extension BootInstant {
    /// No lease, on the page.
    static let noLease = BootInstant(nanoseconds: 0)

    /// Whether a lease with this end is good at `now`, a time that was read *after* the end was: else an end that was
    /// written in between would seem to be further ahead than it may be.
    func isLeaseEnd(at now: BootInstant) -> Bool {
        self > now && now.duration(to: self) <= LeasePage.horizon
    }
}
