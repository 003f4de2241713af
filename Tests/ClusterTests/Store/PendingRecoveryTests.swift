import Glibc
import Platform
import Testing

@testable import Cluster

@Suite("A recovery that was decided")
final class PendingRecoveryTests {
    private let data: String

    init() throws {
        var template = Array("/tmp/dqlite-vip-recovery-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.last("make a temporary directory") }
        data = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in ["/raft", "/raft.recovering", "/raft.before-recovery-x"] {
            try? Directory.removeWithFiles(data + name)
        }
        try? Directory.removeWithFiles(data)
    }

    private func record(_ cluster: UInt64) throws -> NodeRecord {
        NodeRecord(
            nodeID: NodeID(high: 1, low: 2), dqliteID: 7, address: try HostPort(parsing: "10.0.0.1:8800"),
            clusterName: "c", state: .formed(ClusterID(high: cluster, low: 0)))
    }

    private func write(_ text: String, _ name: String) throws {
        try DurableFile.write(Array(text.utf8), to: data + "/" + name)
    }

    private func read(_ name: String) throws -> String? {
        try DurableFile.read(data + "/" + name).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A node with an old and a new raft directory.
    private func prepare() throws -> PendingRecovery {
        let directory = try DataDirectory(data)
        try directory.save(try record(1))
        try write("old", "raft/log")
        try write("7 100 5", "stored")
        mkdir(directory.recoveringDirectory, 0o700)
        try write("new", "raft.recovering/log")
        return PendingRecovery(record: try record(2), backup: "raft.before-recovery-x")
    }

    @Test("before the decision the node is as it was, whatever lies around")
    func undecided() throws {
        _ = try prepare()
        let directory = try DataDirectory(data)
        #expect(try read("raft/log") == "old")
        #expect(try directory.loadRecord() == (try record(1)))
    }

    @Test("after the decision it comes to its end, at whatever step it was interrupted", arguments: 0...5)
    func interrupted(after step: Int) throws {
        do {
            let recovery = try prepare()
            let directory = try DataDirectory(data)
            try directory.decide(recovery)
            // What `finishRecovery` does, as far as it came.
            if step >= 1 { try Directory.move(data + "/raft", to: data + "/raft.before-recovery-x") }
            if step >= 2 { try Directory.move(data + "/raft.recovering", to: data + "/raft") }
            if step >= 3 {
                try DurableFile.write(
                    try #require(try DurableFile.read(data + "/node.json")),
                    to: data + "/raft.before-recovery-x/node.json")
            }
            if step >= 4 { unlink(data + "/stored") }
            if step >= 5 { try directory.save(recovery.record) }
        }
        for _ in 1...2 {
            let directory = try DataDirectory(data)
            #expect(try directory.loadRecord() == (try record(2)))
            #expect(try read("raft/log") == "new")
            #expect(try read("raft.before-recovery-x/log") == "old")
            #expect(
                try #require(try read("raft.before-recovery-x/node.json")).contains("\(ClusterID(high: 1, low: 0))"))
            #expect(try directory.loadMark() == nil)
            #expect(try read("recovery") == nil && !Directory.exists(directory.recoveringDirectory))
        }
    }

    @Test("one of another version, or that names a place elsewhere, is refused")
    func refused() throws {
        var recovery = try prepare()
        recovery.backup = "../elsewhere"
        do {
            let directory = try DataDirectory(data)
            try directory.decide(recovery)
        }
        #expect(throws: DataDirectory.Failure.self) { _ = try DataDirectory(self.data) }
        #expect(try read("raft/log") == "old")
    }
}
