/// For how long the host has been suspended since it booted, as far as a process knows. A value without clock.
///
/// The kernel keeps that time exactly: CLOCK_BOOTTIME is CLOCK_MONOTONIC and `offs_boot` (kernel/time/timekeeping.c),
/// which grows when the host resumes and never else. NTP slews both clocks alike, so their difference does not feel it.
/// But the two cannot be read in one go: a thread may be interrupted in between.
///
/// So CLOCK_BOOTTIME is read first. Then what it is ahead of CLOCK_MONOTONIC, which has gone on meanwhile, is never more than
/// the truth, and less by the time between the readings only. Each pair of readings gives a lower bound, and the highest one
/// counts (`updated`). From this follows:
///
/// - What is known never shrinks, and is never more than the truth; an interruption between two readings changes nothing.
/// - It is less than the truth by the time between the two readings of the closest pair since the host resumed: some
///   20 to 50 ns. By so much two processes of a host may differ, guard and daemon among them. (To round it to whole
///   milliseconds would be worse: near a boundary two processes would differ by a whole one.)
/// - That the host resumed is seen at once. That pair may be the one that was interrupted, and so may be the first one of a
///   process: then several are read.
public struct Suspension: Hashable, Sendable {
    /// What `length` is before anything was read.
    public static let unknown = Int64.min

    /// Something happened that is no inexactness when the bound grows by more than this, in nanoseconds.
    private static let step: Int64 = 1000
    /// How many pairs are read then. One in some thousand is interrupted.
    private static let pairs = 8

    /// In nanoseconds. It is below zero in a time namespace that sets CLOCK_MONOTONIC ahead (time_namespaces(7)).
    public private(set) var length: Int64

    /// - Parameter length: what was known before, or `unknown`.
    public init(known length: Int64 = Self.unknown) { self.length = length }

    /// What is known after another reading.
    ///
    /// - Parameter read: reads CLOCK_BOOTTIME and *after that* CLOCK_MONOTONIC, in nanoseconds; several times after a suspension.
    public func updated(_ read: () -> (boot: Int64, monotonic: Int64)) -> Suspension {
        let bound = Self.bound(read)
        guard bound > length else { return self }
        var new = Suspension(known: bound)
        if length == Self.unknown || bound - length > Self.step {
            for _ in 1..<Self.pairs { new.length = max(new.length, Self.bound(read)) }
        }
        return new
    }

    private static func bound(_ read: () -> (boot: Int64, monotonic: Int64)) -> Int64 {
        let (boot, monotonic) = read()
        return boot - monotonic
    }

    /// The instant at which CLOCK_MONOTONIC_RAW said `raw`, in nanoseconds, when the host has not been suspended after that. If it
    /// has, then one between `raw` and now.
    public func instant(raw: Int64) -> BootInstant { BootInstant(nanoseconds: raw + length) }
}
