import Glibc
import Platform
import Testing

@testable import Cluster

@Suite("Who may have had a hand in the data directory")
final class DataDirectoryTrustTests {
    private let root: String
    private var data: String { root + "/data" }
    private var victim: String { root + "/victim" }
    /// `nobody` of Debian.
    private static let stranger: uid_t = 65534

    init() throws {
        var template = Array("/tmp/dqlite-vip-trust-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a temporary directory") }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try DurableFile.write(Array("precious".utf8), to: root + "/victim")
    }

    deinit {
        unlink(data)
        for name in ["/data/raft", "/data/raft.recovering", "/data", "/real/raft", "/real", ""] {
            try? Directory.removeWithFiles(root + name)
        }
    }

    private func refusal() -> DataDirectory.Failure? {
        do {
            _ = try DataDirectory(data)
            return nil
        } catch {
            return error
        }
    }

    private func expectVictim() throws {
        #expect(try DurableFile.read(victim) == Array("precious".utf8))
        var status = stat()
        #expect(stat(victim, &status) == 0 && status.st_size == 8)
    }

    @Test("one that group or others may write to is refused, with the command; nothing is written there")
    func writable() throws {
        mkdir(data, 0o700)
        for (mode, words, remedy) in [
            (mode_t(0o770), "group 0 may write to the data directory \(data) (mode 0770)", "chmod g-w \(data)"),
            (0o777, "everybody may write to the data directory \(data) (mode 0777)", "chmod go-w \(data). If it is a"),
            (0o1777, "everybody may write", "name a directory in it: --data-dir \(data)/node"),
        ] {
            chmod(data, mode)
            let refusal = refusal()
            #expect(refusal?.code == .untrusted)
            let text = refusal?.description.replacing("group \(getegid())", with: "group 0") ?? ""
            #expect(text.hasPrefix(words) && text.contains(remedy), "\(text)")
            #expect(try Directory.names(data) == [])
        }
        for mode: mode_t in [0o700, 0o750, 0o755] {
            chmod(data, mode)
            #expect(refusal() == nil)
        }
    }

    @Test(
        "one of another user is refused, with the command to run it as that user",
        .enabled(if: geteuid() == 0, "it takes a second user"))
    func foreign() throws {
        mkdir(data, 0o700)
        chown(data, Self.stranger, Self.stranger)
        var refusal = refusal()
        #expect(refusal?.code == .untrusted)
        #expect(
            refusal?.description
                == "the data directory \(data) belongs to user nobody (65534), and this process runs as root (0). Run it as "
                + "that user: runuser -u nobody -- dqlite-vip … (in a unit: User=nobody). Or, if the data are to be root's "
                + "from now on: chown -R 0 \(data)")
        chown(data, 54321, 54322)
        refusal = self.refusal()
        #expect(
            refusal?.description.contains("setpriv --reuid=54321 --regid=54322 --clear-groups dqlite-vip") == true)
        #expect(try Directory.names(data) == [])
        // What `chown` without -R leaves: a file of the earlier owner.
        chown(data, 0, 0)
        do { _ = try DataDirectory(data) }
        try DurableFile.write(Array("150\n".utf8), to: data + "/lease")
        chown(data + "/lease", Self.stranger, Self.stranger)
        refusal = self.refusal()
        #expect(refusal?.code == .untrusted && refusal?.description.hasPrefix("\(data)/lease belongs to user ") == true)
    }

    @Test("it may be a link itself, as operators have it; recovery and all goes where it leads")
    func link() throws {
        mkdir(root + "/real", 0o700)
        symlink("real", data)
        do {
            let directory = try DataDirectory(data + "/")
            try directory.save(hold: .milliseconds(150))
            try directory.prepareRaft(dqliteID: 7)
            #expect(directory.path == data)
        }
        #expect(try Directory.names(root + "/real") == ["lease", "lock", "raft"])
        #expect(try DataDirectory(data).loadHold() == .milliseconds(150))
        unlink(data)
        symlink("nowhere", data)
        #expect(refusal()?.description.contains("\(data) is a link to it: mount or create that directory") == true)
        #expect(!Directory.exists(root + "/nowhere"))
    }

    @Test(
        "links in the place of its files are refused and not followed", arguments: ["lock", "node.json", "addresses"])
    func planted(name: String) throws {
        mkdir(data, 0o700)
        let file = data + "/" + name
        symlink(victim, file)
        #expect(refusal()?.description.contains("\(file)") == true)
        #expect(refusal()?.description.contains("symbolic link") == true)
        unlink(file)
        #expect(Glibc.link(victim, file) == 0)
        let refusal = refusal()
        #expect(refusal?.code == .untrusted && refusal?.description.contains("\(file) has 2 names") == true)
        try expectVictim()
    }

    @Test("a link with a temporary name is replaced by the file that is written")
    func temporary() throws {
        let directory = try DataDirectory(data)
        symlink(victim, data + "/lease.new")
        symlink(victim, data + "/addresses.new")
        try directory.save(hold: .milliseconds(150))
        try directory.addressesFile.write([1, 2, 3])
        #expect(try DurableFile.read(data + "/addresses") == [1, 2, 3])
        #expect(try Directory.names(data) == ["addresses", "lease", "lock", "raft"])
        try expectVictim()
    }

    @Test("what libdqlite would open by path is looked at before: no links, nobody else's, no other directory")
    func raft() throws {
        do { _ = try DataDirectory(data) }
        let file = data + "/raft/open-1"
        symlink(victim, file)
        #expect(refusal()?.description.hasPrefix("\(file) is a symbolic link") == true)
        unlink(file)
        #expect(Glibc.link(victim, file) == 0)
        #expect(refusal()?.description.hasPrefix("\(file) has 2 names") == true)
        unlink(file)
        try DurableFile.write([1], to: file)
        #expect(refusal() == nil)
        chmod(file, 0o660)
        #expect(refusal()?.description.contains("may write to \(file) (mode 0660)") == true)
        unlink(file)
        chmod(data + "/raft", 0o777)
        #expect(refusal()?.description.contains("everybody may write to \(data)/raft") == true)
        chmod(data + "/raft", 0o700)
        rename(data + "/raft", root + "/real")
        symlink(root + "/real", data + "/raft")
        #expect(refusal()?.description.hasPrefix("\(data)/raft is a symbolic link") == true)
        unlink(data + "/raft")
        rename(root + "/real", data + "/raft")
        // Moved while the process runs: libdqlite must not find another one by the path.
        let directory = try DataDirectory(data)
        rename(data, root + "/real")
        mkdir(data, 0o700)
        mkdir(data + "/raft", 0o700)
        #expect(throws: DataDirectory.Failure.self) { try directory.prepareRaft(dqliteID: 7) }
        #expect(try Directory.names(data + "/raft") == [])
        try expectVictim()
    }

    @Test("a recovery empties no directory that a link leads to")
    func recovering() throws {
        let directory = try DataDirectory(data)
        mkdir(root + "/real", 0o700)
        try DurableFile.write([1], to: root + "/real/file")
        symlink(root + "/real", directory.recoveringDirectory)
        #expect(throws: SystemError.self) { try directory.directory.removeWithFiles(DataDirectory.recoveringName) }
        #expect(try Directory.names(root + "/real") == ["file"])
    }
}
