import Glibc
import Platform
import Testing

@Suite("A directory that is held open")
struct OpenDirectoryTests {
    /// What others own, and what links lead to.
    let outside: TemporaryDirectory
    let place: TemporaryDirectory
    let directory: OpenDirectory
    var victim: String { outside.path + "/victim" }

    init() throws {
        outside = try TemporaryDirectory()
        place = try TemporaryDirectory()
        directory = try OpenDirectory(place.path)
        try DurableFile.write(Array("precious".utf8), to: outside.path + "/victim")
    }

    private func expectVictim() throws {
        #expect(try DurableFile.read(victim) == Array("precious".utf8))
    }

    @Test("what is written follows no link, symbolic or hard, at the file's name or the temporary one's")
    func links() throws {
        for name in ["file", "file.new"] {
            #expect(symlink(victim, "\(place.path)/\(name)") == 0)
            try directory.write([1], to: "file")
            #expect(try directory.read("file") == [1])
            try expectVictim()
            try directory.remove("file")
            #expect(link(victim, "\(place.path)/\(name)") == 0)
            try directory.write([2], to: "file")
            #expect(try directory.read("file") == [2])
            try expectVictim()
            try directory.remove("file")
        }
        #expect(place.names().isEmpty)
    }

    @Test("a file that is a link is not read, nor opened, nor made where it leads; the error says what it is")
    func linkRead() throws {
        symlink(victim, place.path + "/file")
        symlink(outside.path + "/none", place.path + "/lock")
        let error = #expect(throws: SystemError.self) { try directory.read("file") }
        #expect(error?.errno == ELOOP && error?.remedy?.contains("symbolic link") == true)
        #expect(throws: SystemError.self) { try directory.openFile("file") }
        #expect(throws: SystemError.self) { try directory.openFile("lock") }
        #expect(outside.names() == ["victim"])
    }

    @Test("a pipe of that name does not hold the reader up, and a directory is no file")
    func kinds() throws {
        #expect(mkfifo(place.path + "/pipe", 0o600) == 0)
        #expect(throws: SystemError.self) { try directory.read("pipe") }
        mkdir(place.path + "/file", 0o700)
        let error = #expect(throws: SystemError.self) { try directory.read("file") }
        #expect(error?.errno == EISDIR)
        #expect(try directory.read("none") == nil)
    }

    @Test("it stays the same directory when its path leads elsewhere")
    func moved() throws {
        let (path, away) = (place.path, outside.path + "/away")
        try directory.write([1], to: "file")
        #expect(rename(path, away) == 0)
        #expect(symlink(outside.path, path) == 0)
        try directory.write([2], to: "file")
        #expect(try directory.read("file") == [2])
        #expect(try directory.names() == ["file"])
        #expect(try DurableFile.read(away + "/file") == [2])
        #expect(outside.names() == ["away", "victim"])
        unlink(path)
        #expect(rename(away, path) == 0)
    }

    @Test("a link in the place of a directory is not gone into: nothing there is emptied, copied or read")
    func directoryLink() throws {
        symlink(outside.path, place.path + "/sub")
        #expect(throws: SystemError.self) { try OpenDirectory("sub", in: directory) }
        #expect(throws: SystemError.self) { try directory.removeWithFiles("sub") }
        #expect(throws: SystemError.self) { try directory.copyFiles(of: "sub", to: "copy") }
        try expectVictim()
        #expect(place.names() == ["sub"])
    }

    @Test("a copy has the files and no links of the original, and is removed with them")
    func copy() throws {
        try directory.makeDirectory("sub")
        let sub = try OpenDirectory("sub", in: directory)
        try sub.write([UInt8](repeating: 5, count: 600_000), to: "large")
        try directory.copyFiles(of: "sub", to: "copy")
        #expect(
            try OpenDirectory("copy", in: directory).read("large") == [UInt8](repeating: 5, count: 600_000))
        try directory.removeWithFiles("copy")
        try directory.removeWithFiles("copy")
        symlink(victim, place.path + "/sub/link")
        #expect(throws: SystemError.self) { try directory.copyFiles(of: "sub", to: "copy") }
        try directory.removeWithFiles("copy")
        try directory.removeWithFiles("sub")
        #expect(place.names().isEmpty)
        try expectVictim()
    }

    @Test("links of root or of the own user lead to it, one after the other; a dangling one says what to do")
    func ownLinks() throws {
        symlink(outside.path, place.path + "/one")
        symlink("one", place.path + "/two")
        let two = try OpenDirectory(trusted: place.path + "/two")
        #expect(two.path == place.path + "/two")
        #expect(try two.names() == ["victim"])
        symlink(outside.path + "/none", place.path + "/dangling")
        let error = #expect(throws: SystemError.self) { try OpenDirectory(trusted: place.path + "/dangling") }
        #expect(error?.errno == ENOENT && error?.subject == outside.path + "/none")
        #expect(error?.remedy?.hasPrefix("\(place.path)/dangling is a link to it: mount or create") == true)
        symlink("loop", place.path + "/loop")
        #expect(throws: SystemError.self) { try OpenDirectory(trusted: place.path + "/loop") }
    }

    @Test("a link that another user has made is not followed", .enabled(if: geteuid() == 0, "it takes a second user"))
    func foreignLink() throws {
        let path = place.path + "/foreign"
        symlink(outside.path, path)
        #expect(lchown(path, 65534, 65534) == 0)
        let error = #expect(throws: SystemError.self) { try OpenDirectory(trusted: path) }
        #expect(error?.errno == EPERM && error?.subject == path)
        #expect(error?.remedy?.contains("(65534) has made it") == true)
        symlink("foreign", place.path + "/own")
        #expect(throws: SystemError.self) { try OpenDirectory(trusted: place.path + "/own") }
    }
}

@Suite("Whom files and directories are trusted to")
struct FileTrustTests {
    private func status(_ kind: mode_t, _ mode: mode_t, owner: uid_t, names: Int = 1) -> stat {
        var status = stat()
        status.st_mode = kind | mode
        status.st_uid = owner
        status.st_nlink = nlink_t(names)
        return status
    }

    @Test(
        "of a directory: root or the effective user owns it, and nobody else may write",
        arguments: [
            (uid_t(0), mode_t(0o700), uid_t(0), FileTrust.Fault?.none), (0, 0o755, 0, nil),
            (998, 0o700, 998, nil),
            // As systemd makes it by StateDirectory=.
            (998, 0o755, 998, nil), (998, 0o750, 998, nil), (0, 0o755, 998, nil),
            (998, 0o700, 0, .owner(998)), (998, 0o700, 1000, .owner(998)), (65534, 0o755, 0, .owner(65534)),
            (0, 0o770, 0, .groupWrites), (0, 0o775, 0, .groupWrites), (0, 0o2770, 998, .groupWrites),
            (0, 0o777, 0, .othersWrite), (0, 0o1777, 0, .othersWrite), (998, 0o702, 998, .othersWrite),
        ])
    func directories(owner: uid_t, mode: mode_t, effective: uid_t, fault: FileTrust.Fault?) {
        #expect(FileTrust.fault(ofDirectory: status(S_IFDIR, mode, owner: owner), effective: effective) == fault)
    }

    @Test("of a file: the same, and it is one, with one name")
    func files() {
        func fault(_ kind: mode_t, _ mode: mode_t = 0o600, owner: uid_t = 0, names: Int = 1) -> FileTrust.Fault? {
            FileTrust.fault(ofFile: status(kind, mode, owner: owner, names: names), effective: 998)
        }
        #expect(fault(S_IFREG) == nil)
        #expect(fault(S_IFREG, owner: 998) == nil)
        #expect(fault(S_IFREG, 0o644) == nil)
        #expect(fault(S_IFREG, owner: 997) == .owner(997))
        #expect(fault(S_IFREG, 0o664) == .groupWrites)
        #expect(fault(S_IFREG, 0o606) == .othersWrite)
        #expect(fault(S_IFREG, names: 2) == .links(2))
        for kind in [S_IFLNK, S_IFIFO, S_IFDIR, S_IFSOCK, S_IFCHR] { #expect(fault(kind) == .kind) }
        #expect(FileTrust.fault(ofDirectory: status(S_IFREG, 0o600, owner: 0), effective: 0) == .kind)
    }
}
