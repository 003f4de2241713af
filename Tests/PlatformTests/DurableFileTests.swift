import Glibc
import Platform
import Testing

@Suite struct DurableFileTests {
    let directory: TemporaryDirectory
    var path: String { directory.path + "/file" }

    init() throws {
        directory = try TemporaryDirectory()
    }

    @Test("what was written is read, and a later write replaces it whole", arguments: [0, 1, 16384, 16385, 300_000])
    func roundTrip(count: Int) throws {
        try DurableFile.write([UInt8](repeating: 9, count: 400_000), to: path)
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        try DurableFile.write(bytes, to: path)
        #expect(try DurableFile.read(path) == bytes)
        #expect(directory.names() == ["file"], "the temporary file must not stay behind")
    }

    @Test("a file that is not there is nil, and removing it is no error")
    func absent() throws {
        #expect(try DurableFile.read(path) == nil)
        try DurableFile.remove(path)
        try DurableFile.write([1], to: path)
        try DurableFile.remove(path)
        #expect(try DurableFile.read(path) == nil)
    }

    @Test("the file is readable by its owner alone unless another mode is asked for")
    func mode() throws {
        try DurableFile.write([1], to: path)
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test("a left-over of a write that a crash cut short is overwritten, however long it is")
    func leftOver() throws {
        try DurableFile.write([1, 2, 3], to: path)
        let descriptor = open(path + ".new", O_WRONLY | O_CREAT, 0o600)
        #expect(Glibc.write(descriptor, [UInt8](repeating: 7, count: 100), 100) == 100)
        close(descriptor)
        #expect(try DurableFile.read(path) == [1, 2, 3], "the torn copy must not be taken for the file")
        try DurableFile.write([4], to: path)
        #expect(try DurableFile.read(path) == [4])
        #expect(directory.names() == ["file"])
    }

    @Test("a write is a new inode: who has the old file open keeps its whole content")
    func inode() throws {
        try DurableFile.write([1, 2, 3], to: path)
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        try DurableFile.write([9, 9], to: path)
        var old = [UInt8](repeating: 0, count: 8)
        #expect(Glibc.read(descriptor, &old, 8) == 3 && old.prefix(3) == [1, 2, 3])
    }

    @Test("a write that cannot be finished leaves the old content and says which file and why")
    func fullDisk() throws {
        try DurableFile.write([1, 2, 3], to: path)
        // The temporary file cannot be made: its name is taken by a directory.
        #expect(mkdir(path + ".new", 0o700) == 0)
        let error = #expect(throws: SystemError.self) { try DurableFile.write([4], to: path) }
        #expect(error?.errno == EISDIR)
        #expect(error?.subject == path + ".new")
        #expect(try DurableFile.read(path) == [1, 2, 3])
    }

    @Test(
        "a disk without space gives ENOSPC with the file's name, and the old content stays",
        .enabled(if: geteuid() == 0, "a small disk has to be mounted"))
    func noSpace() throws {
        #expect(mount("none", directory.path, "tmpfs", 0, "size=8k") == 0)
        defer { umount(directory.path) }
        try DurableFile.write([1, 2, 3], to: path)
        let bytes = [UInt8](repeating: 7, count: 100_000)
        let error = #expect(throws: SystemError.self) { try DurableFile.write(bytes, to: path) }
        #expect(error?.errno == ENOSPC)
        #expect(error?.description == "cannot write \(path).new: No space left on device (errno 28)")
        #expect(directory.names() == ["file"], "a failed write must not leave its temporary file")
        #expect(try DurableFile.read(path) == [1, 2, 3])
    }

    @Test("a missing directory, a directory as file and an endless file are errors that name the path")
    func unusable() throws {
        let missing = directory.path + "/none/file"
        #expect(throws: SystemError("open", directory.path + "/none", errno: ENOENT)) {
            try DurableFile.write([1], to: missing)
        }
        #expect(throws: SystemError("read", directory.path, errno: EISDIR)) { try DurableFile.read(directory.path) }
        #expect(throws: SystemError("read", "/dev/zero", errno: EFBIG)) { try DurableFile.read("/dev/zero") }
        #expect(throws: SystemError("remove", directory.path, errno: EISDIR)) {
            try DurableFile.remove(directory.path)
        }
    }

    @Test("the limit is exact")
    func limit() throws {
        try DurableFile.write([1, 2, 3], to: path)
        #expect(try DurableFile.read(path, limit: 3) == [1, 2, 3])
        #expect(throws: SystemError("read", path, errno: EFBIG)) { try DurableFile.read(path, limit: 2) }
    }

    @Test("a path without directory part is written in the working directory's terms, and one below / too")
    func directories() throws {
        // Both name a directory that cannot be written to as a file; what counts is that the syncing finds it.
        #expect(throws: SystemError.self) { try DurableFile.write([1], to: "/proc/none") }
        #expect(throws: SystemError.self) { try DurableFile.write([1], to: "") }
    }
}

@Suite struct SystemErrorTests {
    @Test("an error says what was tried, on what, why, and what to do")
    func text() {
        #expect(
            SystemError("bind", "1.2.3.4:1", errno: EADDRINUSE, remedy: "stop the other").description
                == "cannot bind 1.2.3.4:1: Address already in use (errno 98): stop the other")
        #expect(
            SystemError("fork", errno: EAGAIN).description == "cannot fork: Resource temporarily unavailable (errno 11)"
        )
        #expect(SystemError("x", errno: 9999).description.contains("9999"))
    }

    @Test("an interrupted call is repeated, any other error is thrown at once")
    func interrupted() throws {
        var calls = 0
        let result = try retryingOnInterrupt("try") { () -> Int in
            calls += 1
            if calls < 4 { errno = EINTR }
            return calls < 4 ? -1 : 42
        }
        #expect(result == 42 && calls == 4)
        calls = 0
        #expect(throws: SystemError("try", "it", errno: EBADF)) {
            try retryingOnInterrupt("try", "it") { () -> Int32 in
                calls += 1
                errno = EBADF
                return -1
            }
        }
        #expect(calls == 1)
    }
}
