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
        let free = numbers[0] * numbers[1] >> 20
        guard free > rest else { return }
        try ToolCommand.check(
            ["dd", "if=/dev/zero", "of=\(filler)", "bs=1M", "count=\(free - rest)", "status=none"])
    }

    /// Mounts it anew, for reading only or for writing too; nobody may have a file of it open for writing.
    public func remount(readOnly: Bool) throws {
        try ToolCommand.check(["mount", "-o", "remount,\(readOnly ? "ro" : "rw")", directory])
    }

    /// Takes what room there is.
    public func fill() throws {
        // Its failure is the aim.
        let result = try ToolCommand.run(["dd", "if=/dev/zero", "of=\(filler)", "bs=64k", "status=none"])
        guard !result.isSuccess else { throw LabError("\(directory) did not become full") }
        _ = try ToolCommand.run(
            ["dd", "if=/dev/zero", "of=\(filler)", "bs=512", "oflag=append", "conv=notrunc", "status=none"])
    }

    /// Gives the room back.
    public func free() throws(SystemError) {
        if unlink(filler) != 0 && Glibc.errno != ENOENT { throw SystemError.last("remove", filler) }
    }
}
