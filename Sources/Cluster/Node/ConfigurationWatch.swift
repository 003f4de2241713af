import Dqlite
import Glibc
import Platform

/// Reads what `ConfigurationCheck` compares.
struct ConfigurationWatch: Sendable {
    let local: LocalNode
    var check: ConfigurationCheck
    private var reading = LogReading()

    /// - Parameter newestAtStart: the index of the last entry that was in the log before the local node was started.
    init(local: LocalNode, newestAtStart: UInt64) {
        self.local = local
        check = ConfigurationCheck(own: local.dqliteID, newestAtStart: newestAtStart)
    }

    /// One look; blocking work is done on a thread of its own.
    mutating func look(_ directory: String, _ membership: Membership) async -> ConfigurationCheck.Verdict {
        let committed = local.observer.highestCommit
        let handedOver = local.observer.latestIndex
        let known = reading
        guard let before = try? await membership.members(),
            // libraft renames segments while they are read.
            let reading = try? await BlockingThread.run(named: "raft", { try known.renewed(directory) }),
            let after = try? await membership.members(), Set(before) == Set(after)
        else { return check.look(nil, committed: committed) }
        self.reading = reading
        // What the node has been given and has not stored yet may change the members.
        guard let log = reading.log, log.lastIndex >= handedOver else { return check.look(nil, committed: committed) }
        let listed = log.members.map { DqliteMember(id: $0.id, address: $0.address, role: $0.role) }
        return check.look(
            .init(believed: Set(before), listed: Set(listed), lastIndex: log.lastIndex), committed: committed)
    }
}

/// The log of a node that runs, read anew only when its files have changed: it has some 24 MiB, and a cluster without a
/// majority may rest for days.
struct LogReading: Sendable {
    private struct File: Hashable, Sendable {
        var name: String
        var inode: ino_t
        var size: off_t
        var seconds: Int
        var nanoseconds: Int
    }

    private var files: Set<File> = []
    /// nil: not read yet, or not whole at that moment.
    private(set) var log: RaftLog?

    /// - Throws: `SystemError`; also when a file is renamed in that moment.
    func renewed(_ directory: String) throws(SystemError) -> LogReading {
        var reading = LogReading()
        for name in try Directory.names(directory) ?? [] where name != "owner" {
            var status = stat()
            let path = "\(directory)/\(name)"
            try retryingOnInterrupt("look at", path) { stat(path, &status) }
            reading.files.insert(
                File(
                    name: name, inode: status.st_ino, size: status.st_size, seconds: status.st_mtim.tv_sec,
                    nanoseconds: status.st_mtim.tv_nsec))
        }
        if reading.files == files, log != nil { return self }
        let log = try RaftLog(directory: directory)
        // A write that goes on looks like one that was torn.
        if log.faults.isEmpty, log.unknown.isEmpty, !log.hasTornEnd { reading.log = log }
        return reading
    }
}
