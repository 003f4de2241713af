import Glibc
import Platform

/// A node's data directory as a file system of its own, so that its disk can be full and no other's.
struct SmallDisk: Sendable {
    let directory: String
    private var filler: String { "\(directory)/.filler" }

    /// Enough for libdqlite's preallocated segments (24.6 MB), not for many more.
    static let size = "64m"

    /// Mounts it. `Leftovers.removeDirectory` unmounts it.
    init(directory: String) throws {
        self.directory = directory
        if mkdir(directory, 0o700) != 0 && Glibc.errno != EEXIST {
            throw SystemError.last("make the directory", directory)
        }
        try ToolCommand.check(["mount", "-t", "tmpfs", "-o", "size=\(Self.size),mode=0700", "dvlab", directory])
    }

    /// Takes what room there is.
    func fill() throws {
        // Its failure is the aim.
        let result = try ToolCommand.run(["dd", "if=/dev/zero", "of=\(filler)", "bs=64k", "status=none"])
        guard !result.isSuccess else { throw LabError("\(directory) did not become full") }
        _ = try ToolCommand.run(
            ["dd", "if=/dev/zero", "of=\(filler)", "bs=512", "oflag=append", "conv=notrunc", "status=none"])
    }

    /// Gives the room back.
    func free() throws(SystemError) {
        if unlink(filler) != 0 && Glibc.errno != ENOENT { throw SystemError.last("remove", filler) }
    }
}
