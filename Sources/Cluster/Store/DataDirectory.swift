import FoundationEssentials
import Glibc
import Platform

/// `<data-dir>`: belongs to one node, one process at a time, mode 0700.
///
///     lock        flock(2); holds the process id of who took it last, for people
///     node.json   NodeRecord, replaced by rename
///     recovery    a recovery that is decided and not yet done (PendingRecovery)
///     stored      how far the log is committed, at least (StoredMark)
///     lease       how long this node's promises bind, in milliseconds, as its last run had it
///     addresses   what this host has set (written by the daemon, read by the guard)
///     raft/       libdqlite's files, and our marker `owner` with the dqlite id that they belong to
///
/// The lock is held for as long as the descriptor is open in any process that inherited it.
///
/// It is refused where anybody but root and the effective user could have put something into it (`+Trust.swift`), held open,
/// and its files are reached from its descriptor: nothing that is written follows a link. Only libdqlite goes by path.
public final class DataDirectory: Sendable {
    /// As given, without a slash at the end.
    public let path: String
    let directory: OpenDirectory
    /// The locked descriptor, close-on-exec. A parent passes it on by dup2 or posix_spawn_file_actions_adddup2.
    public let lockDescriptor: Int32
    /// From then on no earlier process speaks for this directory: it has ended, or it would hold the lock; and whoever passes
    /// the lock on to a process of his own, as the guard does, has waited for the end of the one before.
    public let openedAt: BootInstant
    /// No node has ever lived here, so that nothing was ever promised under an id of this directory.
    public let isNew: Bool

    public var raftDirectory: String { path + "/raft" }
    public var recordFile: String { path + "/node.json" }
    public var addressesFile: StoredFile { StoredFile("addresses", in: directory) }

    /// Why a data directory cannot be used: which file, what is wrong, what to do.
    public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
        public enum Code: Sendable, Equatable {
            /// Another process holds the lock.
            case locked
            /// A system call failed.
            case system
            /// A file holds what this program did not write.
            case corrupt
            /// A file was written by a newer version.
            case version
            /// The raft directory belongs to another dqlite id.
            case otherOwner
            /// The raft directory is not whole.
            case damaged
            /// Somebody else may have had a hand in it.
            case untrusted
        }

        public var code: Code
        public var description: String
    }

    /// Creates what is missing, and takes the lock.
    ///
    /// - Parameters:
    ///   - path: `--data-dir`; the directory above it must be there.
    ///   - inheritedLock: the descriptor of `lock` that the parent has locked already; this object closes it.
    /// - Throws: `Failure`; `.locked` when another process has it.
    public init(_ path: String, inheritedLock: Int32? = nil) throws(Failure) {
        var trimmed = Substring(path)
        while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
        self.path = String(trimmed)
        directory = try Self.open(self.path)
        lockDescriptor = try Self.lock(directory, inherited: inheritedLock)
        openedAt = BootClock.now
        // What cannot be looked at may be there.
        isNew = ["node.json", "lease", "recovery", "stored"].allSatisfy { [directory] name in
            (try? directory.has(name)) == false
        }
        try checkOwnFiles()
        try finishRecovery()
        try Self.system { () throws(SystemError) in try directory.makeDirectory("raft") }
        try checkRaftFiles()
    }

    deinit {
        close(lockDescriptor)
    }

    // MARK: node.json

    /// What the last run left; nil when there was none.
    ///
    /// - Throws: `Failure` that names the file: `.system`, `.corrupt`, `.version`.
    public func loadRecord() throws(Failure) -> NodeRecord? {
        guard let bytes = try Self.system({ () throws(SystemError) in try directory.read("node.json") }) else {
            return nil
        }
        struct Head: Decodable {
            var version: Int
        }
        let remedy =
            "restore it from a backup, or move \(path) away: the node then comes back as a new one and joins again"
        do {
            let data = Data(bytes)
            let version = try JSONDecoder().decode(Head.self, from: data).version
            guard version == NodeRecord.currentVersion else {
                throw Failure(
                    code: .version,
                    description: "\(recordFile) has format version \(version), and this program knows version "
                        + "\(NodeRecord.currentVersion): run the version of dqlite-vip that wrote it")
            }
            return try JSONDecoder().decode(NodeRecord.self, from: data)
        } catch let failure as Failure {
            throw failure
        } catch let error as DecodingError {
            throw Failure(
                code: .corrupt, description: "\(recordFile) is corrupt: \(DecodingText.describe(error)): \(remedy)")
        } catch {
            throw Failure(code: .corrupt, description: "\(recordFile) is corrupt: \(error): \(remedy)")
        }
    }

    /// Replaces `node.json`; when it returns the record survives a power loss.
    public func save(_ record: NodeRecord) throws(Failure) {
        let bytes: [UInt8]
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            bytes = Array(try encoder.encode(record)) + [UInt8(ascii: "\n")]
        } catch {
            throw Failure(code: .corrupt, description: "cannot encode the content of \(recordFile): \(error)")
        }
        try Self.system { () throws(SystemError) in try directory.write(bytes, to: "node.json") }
    }

    // MARK: lease

    /// How long the promises bound that the last run gave to leaders; nil when there was none.
    ///
    /// - Throws: `Failure`. A file that makes no sense is not one: it stands for the longest time there can be.
    func loadHold() throws(Failure) -> Duration? {
        guard let bytes = try Self.system({ () throws(SystemError) in try directory.read("lease") }) else {
            return nil
        }
        let text = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).first ?? ""
        let longest = Timing.latencies.upperBound * 15
        guard let number = Int64(text), number > 0 else { return longest }
        return min(.milliseconds(number), longest)
    }

    /// Notes it, before the first promise is given.
    func save(hold: Duration) throws(Failure) {
        let bytes = Array("\(hold.inMilliseconds)\n".utf8)
        try Self.system { () throws(SystemError) in try directory.write(bytes, to: "lease") }
    }

    // MARK: raft/

    /// Neither dqlite's data nor our marker is there.
    ///
    /// The marker is needed because libdqlite writes nothing at all until it is added to a cluster: without it a node
    /// that has run cannot be told from one that was emptied by hand.
    public var raftIsEmpty: Bool {
        guard let raft = try? openRaft() else { return false }
        return ["metadata1", "metadata2", "owner"].allSatisfy { (try? raft.has($0)) == false }
    }

    /// Marks the raft directory as that of this dqlite id; to be done before the dqlite node is started.
    ///
    /// - Throws: `Failure` `.otherOwner` when it holds the data of another id.
    public func prepareRaft(dqliteID: UInt64) throws(Failure) {
        let raft = try openRaft()
        try checkPath(of: raft)
        if let bytes = try Self.system({ () throws(SystemError) in try raft.read("owner") }) {
            let text = String(decoding: bytes, as: UTF8.self)
            if text == "\(dqliteID)\n" { return }
            throw Failure(
                code: .otherOwner,
                description: "\(raftDirectory) belongs to the dqlite id \(text.prefix(32).filter { $0 != "\n" }), and "
                    + "\(recordFile) names \(dqliteID): were files of two nodes mixed? Restore both from one backup, or "
                    + "move \(path) away: the node then comes back as a new one and joins again")
        }
        try Self.system { () throws(SystemError) in try raft.write(Array("\(dqliteID)\n".utf8), to: "owner") }
    }

    /// Empties the raft directory durably. Our dqlite node must not run.
    public func wipeRaft() throws(Failure) {
        try removeMark()
        let raft = try openRaft()
        try Self.system { () throws(SystemError) in
            // The marker goes last: while it is there nobody takes the directory for an empty one.
            for name in try raft.names() where name != "owner" {
                if unlinkat(raft.descriptor, name, 0) != 0, errno != ENOENT {
                    throw SystemError.last(
                        "remove", raft.pathOf(name), remedy: "remove it by hand and start again")
                }
            }
            try raft.remove("owner")
            try raft.sync()
        }
    }

    func openRaft() throws(Failure) -> OpenDirectory {
        try Self.system { () throws(SystemError) in try OpenDirectory("raft", in: directory) }
    }
}

extension DataDirectory {
    /// Makes it where it is missing.
    private static func open(_ path: String) throws(Failure) -> OpenDirectory {
        do {
            if mkdir(path, 0o700) != 0, errno != EEXIST { throw SystemError.last("create the data directory", path) }
            let directory = try OpenDirectory(trusted: path)
            try check(directory)
            return directory
        } catch let error as SystemError {
            let remedy =
                switch error.errno {
                case ENOTDIR: "it is not a directory; name another with --data-dir"
                case ENOENT: "create the directory above it, or name another with --data-dir"
                case EACCES, EPERM: "give this user the right to write there, or name another with --data-dir"
                case EROFS: "it is mounted read-only; name another with --data-dir"
                case ENOSPC, EDQUOT: "free some space"
                default: "name another with --data-dir"
                }
            throw Failure(code: .system, description: error.advised(error.remedy ?? remedy).description)
        } catch let failure as Failure {
            throw failure
        } catch {
            // Nothing above throws any other type.
            throw Failure(code: .system, description: "\(error)")
        }
    }

    private static func lock(_ directory: OpenDirectory, inherited: Int32?) throws(Failure) -> Int32 {
        let file = directory.pathOf("lock")
        let descriptor: Int32
        if let inherited {
            var mine = stat()
            guard fstat(inherited, &mine) == 0, let there = try? directory.status(of: "lock"),
                mine.st_ino == there.st_ino, mine.st_dev == there.st_dev
            else {
                throw Failure(
                    code: .system,
                    description:
                        "the inherited descriptor \(inherited) is not that of \(file): start dqlite-vip by its "
                        + "own command and not by its inner one")
            }
            _ = fcntl(inherited, F_SETFD, FD_CLOEXEC)
            descriptor = inherited
        } else {
            descriptor = try system { () throws(SystemError) in try directory.openFile("lock") }
            // It is written to in place.
            do throws(Failure) {
                try checkFile("lock", in: directory)
            } catch {
                close(descriptor)
                throw error
            }
        }
        do {
            try retryingOnInterrupt("lock", file) { flock(descriptor, LOCK_EX | LOCK_NB) }
        } catch {
            let holder = (try? directory.read("lock")).flatMap { $0 }.map { String(decoding: $0, as: UTF8.self) } ?? ""
            close(descriptor)
            guard error.errno == EWOULDBLOCK else { throw Failure(code: .system, description: error.description) }
            let process = holder.isEmpty ? "" : " (process \(holder.filter { $0 != "\n" }))"
            throw Failure(
                code: .locked,
                description:
                    "another dqlite-vip\(process) runs on the data directory \(directory.path): stop it, or name "
                    + "another directory with --data-dir")
        }
        // For people only; a full disk must not keep a locked directory from being used.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
        return descriptor
    }

    @discardableResult
    static func system<Value>(_ work: () throws(SystemError) -> Value) throws(Failure) -> Value {
        do {
            return try work()
        } catch {
            var error = error
            if error.remedy == nil {
                switch error.errno {
                case ENOSPC, EDQUOT: error.remedy = "free some space on its file system"
                case EROFS: error.remedy = "its file system is mounted read-only; see dmesg"
                case EIO: error.remedy = "the disk fails; see dmesg"
                case EACCES, EPERM: error.remedy = "give this user the right to read and write it"
                default: break
                }
            }
            throw Failure(code: .system, description: error.description)
        }
    }
}
