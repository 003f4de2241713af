import Platform

/// Whether the disk lets this node lead.
///
/// libraft takes a segment of 8 MiB at a time, a few in advance, and is likely to end the process when it gets none.
/// So a leader hands over while it still can; and one that nobody can relieve takes no writes any more, so that libraft needs
/// no further segment.
public struct DiskState: Equatable, Sendable {
    public enum Level: Sendable, Equatable {
        case sound
        /// Should not lead.
        case low
        /// Must not write.
        case full
    }

    /// Below this the node should not lead: three segments.
    public static let low: UInt64 = 24 << 20
    /// From here on it may again: not at `low`, so that it does not go to and fro.
    public static let enough: UInt64 = 32 << 20
    /// Below this no write is taken: one segment, and some.
    public static let full: UInt64 = 9 << 20

    public private(set) var level = Level.sound
    /// What is wrong and what to do; nil when nothing is.
    public private(set) var reason: String?
    /// At the last look; nil before the first.
    public private(set) var free: UInt64?

    /// The file system was mounted read-only at the last look.
    public private(set) var isReadOnly = false

    public init() {}

    /// Takes note of what the kernel says of the file system of `path`, or why it says nothing.
    public mutating func see(_ space: Result<FileSystemSpace, SystemError>, path: String) {
        isReadOnly = (try? space.get())?.isReadOnly == true
        switch space {
        case .failure(let error):
            (level, reason, free) = (.low, "\(error): see the kernel's log", nil)
        case .success(let space):
            free = space.free
            if space.isReadOnly {
                level = .full
                reason =
                    "the file system of \(path) is mounted read-only: see the kernel's log, repair it, and mount it "
                    + "again"
            } else if space.hasNoFiles {
                (level, reason) = (.full, "the file system of \(path) has room for no further file: remove some there")
            } else {
                let mark = level == .sound ? Self.low : Self.enough
                level = space.free < Self.full ? .full : space.free < mark ? .low : .sound
                reason =
                    level == .sound
                    ? nil
                    : "the file system of \(path) has \(space.free >> 20) MiB left: free \(Self.enough >> 20) MiB there"
            }
        }
    }
}
