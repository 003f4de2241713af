import Glibc
import Platform

/// A node's data directory as a file system of its own, so that its disk can be full and no other's.
public struct SmallDisk: Sendable {
    let directory: String
    private var filler: String { "\(directory)/.filler" }

    /// Enough for libdqlite's preallocated segments (24.6 MB), not for many more.
    static let size = "64m"

    /// Mounts it. `Leftovers.removeDirectory` unmounts it.
    public init(directory: String) throws {
        self.directory = directory
        if mkdir(directory, 0o700) != 0 && Glibc.errno != EEXIST {
            throw SystemError.last("make the directory", directory)
        }
        try ToolCommand.check(["mount", "-t", "tmpfs", "-o", "size=\(Self.size),mode=0700", "dvlab", directory])
    }

    /// Takes room until so many MiB are left.
    public func fill(leaving rest: Int) throws {
        let text = try ToolCommand.check(["stat", "-f", "-c", "%a %S", directory])
        let numbers = text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard numbers.count == 2 else { throw LabError("stat \(directory): \(text)") }
        let free = (numbers[0] * numbers[1]) >> 20
        guard free > rest else { return }
        try ToolCommand.check(
            ["dd", "if=/dev/zero", "of=\(filler)", "bs=1M", "count=\(free - rest)", "status=none"])
    }

    /// Mounts it anew, for reading only or for writing too; nobody may have a file of it open for writing.
    public func remount(readOnly: Bool) throws {
        try ToolCommand.check(["mount", "-o", "remount,\(readOnly ? "ro" : "rw")", directory])
    }

    /// Makes the data directory of a running node read-only for it, or writable again: what is opened from now on. Files
    /// that it has open can be written on.
    public static func setReadOnly(_ isReadOnly: Bool, of node: LabNode) throws {
        guard let pid = node.guardPID else { throw LabError("node \(node.number) does not run") }
        // In the node's own view of the file systems: it ends with the node.
        let enter = ["nsenter", "--target", "\(pid)", "--mount", "mount"]
        let path = node.dataDirectory
        let mounts = ProcessTable.text("/proc/\(pid)/mounts").split(separator: "\n")
        if !mounts.contains(where: { $0.split(separator: " ").dropFirst().first == path[...] }) {
            try ToolCommand.check(enter + ["--bind", path, path])
        }
        try ToolCommand.check(enter + ["-o", "remount,bind,\(isReadOnly ? "ro" : "rw")", path])
    }

    /// Takes what room there is. What others give back later, as libraft does with the rest of a segment that it closes, has to
    /// be taken by another call.
    public func fill() throws(SystemError) {
        let file = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            // Not even an empty file: that is as full as it gets.
            if Glibc.errno == ENOSPC { return }
            throw SystemError.last("make", filler)
        }
        defer { close(file) }
        for size in [64 << 10, 512] {
            let block = [UInt8](repeating: 0x55, count: size)
            while write(file, block, size) > 0 {}
            if Glibc.errno != ENOSPC { throw SystemError.last("fill", filler) }
        }
    }

    /// Gives the room back.
    public func free() throws(SystemError) {
        if unlink(filler) != 0 && Glibc.errno != ENOENT { throw SystemError.last("remove", filler) }
    }
}
