import Glibc

/// What statvfs(3) tells of the file system of a path.
public struct FileSystemSpace: Hashable, Sendable {
    /// Bytes that this user may still write.
    public var free: UInt64
    /// Whether no new file can be made: the file system counts its files, and there are too many.
    public var hasNoFiles: Bool
    public var isReadOnly: Bool

    public init(free: UInt64, hasNoFiles: Bool = false, isReadOnly: Bool = false) {
        self.free = free
        self.hasNoFiles = hasNoFiles
        self.isReadOnly = isReadOnly
    }

    /// Asks the kernel; it blocks when the disk does.
    public init(of path: String) throws(SystemError) {
        var status = statvfs()
        try retryingOnInterrupt("ask for the free space of", path) { statvfs(path, &status) }
        self.init(
            free: UInt64(status.f_bavail) * UInt64(status.f_frsize),
            hasNoFiles: status.f_files > 0 && status.f_favail == 0,
            isReadOnly: status.f_flag & UInt(ST_RDONLY) != 0)
    }
}
