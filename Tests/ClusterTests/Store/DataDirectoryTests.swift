import Glibc
import Platform
import Testing

@testable import Cluster

@Suite("data directory")
final class DataDirectoryTests {
    let root: String

    init() throws {
        var template = Array("/tmp/dqlite-vip-store-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a temporary directory") }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in ["/data/raft", "/data", "/other", ""] {
            for file in names(in: root + name) { unlink(root + name + "/" + file) }
            rmdir(root + name)
        }
    }

    var data: String { root + "/data" }

    private func names(in path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private func mode(of path: String) -> mode_t {
        var status = stat()
        stat(path, &status)
        return status.st_mode & 0o777
    }

    private func write(_ text: String, _ name: String) throws {
        try DurableFile.write(Array(text.utf8), to: data + "/" + name)
    }

    private func failure(_ work: () throws(DataDirectory.Failure) -> Void) -> DataDirectory.Failure? {
        do {
            try work()
            return nil
        } catch {
            return error
        }
    }

    @Test("a directory is new until a node has lived in it, and nobody speaks for it before it is opened")
    func new() throws {
        let before = BootClock.now
        let first = try DataDirectory(data)
        #expect(first.isNew && first.openedAt >= before && first.openedAt <= BootClock.now)
        // The daemon under its guard, which has made the directory.
        let passed = dup(first.lockDescriptor)
        let child = try DataDirectory(data, inheritedLock: passed)
        #expect(child.isNew && child.openedAt >= first.openedAt)
        for name in ["node.json", "lease", "stored"] {
            try write("x", name)
            #expect(try !DataDirectory(data, inheritedLock: dup(first.lockDescriptor)).isNew, "\(name)")
            unlink(data + "/" + name)
        }
        #expect(try DataDirectory(data, inheritedLock: dup(first.lockDescriptor)).isNew)
    }

    @Test("it is made with mode 0700, whatever the umask")
    func made() throws {
        let directory = try DataDirectory(data + "/")
        #expect(directory.path == data)
        #expect(mode(of: data) == 0o700)
        #expect(mode(of: directory.raftDirectory) == 0o700)
        #expect(try directory.loadRecord() == nil)
        #expect(directory.raftIsEmpty)
    }

    @Test("a second user is refused while the first one lives, with the process id of the first")
    func locked() throws {
        var first: DataDirectory? = try DataDirectory(data)
        let refusal = failure { () throws(DataDirectory.Failure) in _ = try DataDirectory(data) }
        #expect(refusal?.code == .locked)
        #expect(
            refusal?.description
                == "another dqlite-vip (process \(getpid())) runs on the data directory \(data): stop it, or name another directory with --data-dir"
        )
        withExtendedLifetime(first) {}
        first = nil
        _ = try DataDirectory(data)
    }

    @Test("an inherited lock is taken over, and stays when the parent's own descriptor goes")
    func inherited() throws {
        var parent: DataDirectory? = try DataDirectory(data)
        let passed = dup(try #require(parent?.lockDescriptor))
        #expect(passed >= 0)
        var child: DataDirectory? = try DataDirectory(data, inheritedLock: passed)
        #expect(fcntl(passed, F_GETFD) & FD_CLOEXEC != 0)
        withExtendedLifetime(parent) {}
        parent = nil
        #expect(failure { () throws(DataDirectory.Failure) in _ = try DataDirectory(data) }?.code == .locked)
        withExtendedLifetime(child) {}
        child = nil
        _ = try DataDirectory(data)
    }

    @Test("a descriptor that is not that of the lock is refused")
    func wrongDescriptor() throws {
        _ = try DataDirectory(data)
        let other = open("/dev/null", O_RDONLY)
        defer { close(other) }
        let refusal = failure { () throws(DataDirectory.Failure) in
            _ = try DataDirectory(data, inheritedLock: other)
        }
        #expect(refusal?.description.hasPrefix("the inherited descriptor \(other) is not that of \(data)/lock") == true)
        #expect(fcntl(other, F_GETFD) >= 0)
    }

    static let agreement = CoreHarness.agreement(by: 5, [2, 5, 7])
    static let cluster = ClusterID(high: 0xC1, low: 1)
    static let states: [NodeRecord.State] = [
        .fresh, .agreed(agreement), .withdrawn(agreement), .founding(agreement, cluster, .creating),
        .founding(agreement, cluster, .inviting), .founding(agreement, cluster, .admitting),
        .joining(cluster, agreement, started: false), .joining(cluster, nil, started: true), .formed(cluster),
    ]

    @Test("a record comes back as it was written, in every state", arguments: states)
    func record(state: NodeRecord.State) throws {
        let directory = try DataDirectory(data)
        var record = CoreHarness.record(state, dqliteID: 1 << 53 - 1)
        record.generation = 7
        record.wipePending = true
        record.address = HostPort(host: "fd00::5", port: 8800)
        try directory.save(record)
        #expect(try directory.loadRecord() == record)
        #expect(mode(of: directory.recordFile) == 0o600)
        #expect(names(in: data) == ["lock", "node.json", "raft"])
    }

    @Test(
        "a corrupt record is refused with the file and the remedy",
        arguments: ["", "{", "[]", "{\"version\":1}", "\u{0}\u{0}"])
    func corrupt(text: String) throws {
        let directory = try DataDirectory(data)
        try write(text, "node.json")
        let refusal = failure { () throws(DataDirectory.Failure) in _ = try directory.loadRecord() }
        #expect(refusal?.code == .corrupt)
        #expect(refusal?.description.hasPrefix("\(data)/node.json is corrupt: ") == true)
        #expect(
            refusal?.description.hasSuffix(
                "restore it from a backup, or move \(data) away: the node then comes back as a new one and joins again")
                == true)
    }

    @Test("a record of a newer version is refused and left alone")
    func newerVersion() throws {
        let directory = try DataDirectory(data)
        try write("{\"version\":9,\"unheard\":true}", "node.json")
        let refusal = failure { () throws(DataDirectory.Failure) in _ = try directory.loadRecord() }
        #expect(refusal?.code == .version)
        #expect(
            refusal?.description
                == "\(data)/node.json has format version 9, and this program knows version 1: run the version of dqlite-vip that wrote it"
        )
        #expect(try DurableFile.read(data + "/node.json") == Array("{\"version\":9,\"unheard\":true}".utf8))
    }

    @Test(
        "the lease of the last run comes back; what makes no sense counts as the longest",
        arguments: [
            ("150", 150), ("75\n", 75), ("", 15_000), ("-1", 15_000), ("0", 15_000), ("x", 15_000),
            ("99999999", 15_000),
        ])
    func hold(text: String, milliseconds: Int) throws {
        let directory = try DataDirectory(data)
        #expect(try directory.loadHold() == nil)
        try directory.save(hold: .milliseconds(150))
        #expect(try directory.loadHold() == .milliseconds(150))
        try write(text, "lease")
        #expect(try directory.loadHold() == .milliseconds(milliseconds))
    }

    @Test("raft data or our marker make the raft directory not empty; wiping leaves nothing")
    func raft() throws {
        let directory = try DataDirectory(data)
        try directory.prepareRaft(dqliteID: 77)
        #expect(!directory.raftIsEmpty)
        try directory.prepareRaft(dqliteID: 77)
        for name in ["metadata1", "0000000000000001-0000000000000010", "open-1", "snapshot-1-2-3"] {
            try write("x", "raft/" + name)
        }
        try directory.wipeRaft()
        #expect(names(in: directory.raftDirectory).isEmpty)
        #expect(directory.raftIsEmpty)
        try directory.prepareRaft(dqliteID: 78)
        try directory.wipeRaft()
        try write("x", "raft/metadata2")
        #expect(!directory.raftIsEmpty)
    }

    @Test("the data of another dqlite id are not used")
    func otherOwner() throws {
        let directory = try DataDirectory(data)
        try directory.prepareRaft(dqliteID: 77)
        let refusal = failure { () throws(DataDirectory.Failure) in try directory.prepareRaft(dqliteID: 78) }
        #expect(refusal?.code == .otherOwner)
        #expect(
            refusal?.description.hasPrefix(
                "\(data)/raft belongs to the dqlite id 77, and \(data)/node.json names 78: were files of two nodes mixed?"
            )
                == true)
    }

    @Test("where no directory can be made it is said why, and what to do")
    func cannotBeMade() throws {
        try DurableFile.write([], to: root + "/other")
        let file = failure { () throws(DataDirectory.Failure) in _ = try DataDirectory(root + "/other") }
        #expect(file?.description.contains("it is not a directory; name another with --data-dir") == true)
        unlink(root + "/other")
        let above = failure { () throws(DataDirectory.Failure) in _ = try DataDirectory(root + "/no/data") }
        #expect(above?.description.contains("create the directory above it") == true)
        let kernel = failure { () throws(DataDirectory.Failure) in _ = try DataDirectory("/proc/data") }
        #expect(kernel?.description.hasPrefix("cannot create the data directory /proc/data: ") == true)
    }
}
