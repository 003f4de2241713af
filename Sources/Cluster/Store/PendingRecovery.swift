import FoundationEssentials
import Platform

/// A recovery that is decided: the new raft directory stands ready beside the old one, and `<data-dir>/recovery` holds this.
///
/// Before that file is there nothing of the node has changed. After it whoever takes the data directory next carries the
/// recovery to its end: each step can be repeated. So a crash leaves a node that is untouched or recovered, never half of it.
struct PendingRecovery: Codable, Equatable, Sendable {
    static let currentVersion = 1
    /// How the names of backups begin: no other directory is taken for one.
    static let backupPrefix = "raft.before-recovery-"

    var version = Self.currentVersion
    /// What `node.json` is to be.
    var record: NodeRecord
    /// The name, in the data directory, under which the old raft directory is kept, with the old `node.json` in it.
    var backup: String
}

extension DataDirectory {
    private var pendingFile: String { path + "/recovery" }
    /// Where a recovery prepares the new raft directory.
    static let recoveringName = "raft.recovering"
    var recoveringDirectory: String { "\(path)/\(Self.recoveringName)" }

    /// The point of no return: durable when it returns.
    func decide(_ recovery: PendingRecovery) throws(Failure) {
        let bytes: [UInt8]
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            bytes = Array(try encoder.encode(recovery))
        } catch {
            throw Failure(code: .corrupt, description: "cannot encode the content of \(pendingFile): \(error)")
        }
        try Self.system { () throws(SystemError) in try directory.write(bytes, to: "recovery") }
    }

    /// Carries a recovery that was decided to its end, if there is one. The directory is locked.
    ///
    /// - Throws: `Failure`; it can be called again.
    func finishRecovery() throws(Failure) {
        guard let bytes = try Self.system({ () throws(SystemError) in try directory.read("recovery") }) else {
            return
        }
        let recovery: PendingRecovery
        do {
            recovery = try JSONDecoder().decode(PendingRecovery.self, from: Data(bytes))
        } catch {
            // It is written whole or not at all.
            throw Failure(
                code: .corrupt,
                description: "\(pendingFile) is corrupt, and a recovery was under way: \(error); remove it, put "
                    + "raft.before-recovery-… back in the place of raft if there is one, and recover again")
        }
        guard recovery.version == PendingRecovery.currentVersion, !recovery.backup.contains("/"),
            recovery.backup.hasPrefix(PendingRecovery.backupPrefix)
        else {
            throw Failure(
                code: .version,
                description: "\(pendingFile) has version \(recovery.version): finish the recovery with the version of "
                    + "dqlite-vip that began it")
        }
        try Self.system { () throws(SystemError) in
            let isReady = try directory.has(Self.recoveringName)
            if isReady {
                if try !directory.has(recovery.backup) { try directory.move("raft", to: recovery.backup) }
                try directory.move(Self.recoveringName, to: "raft")
            }
            let backup = try OpenDirectory(recovery.backup, in: directory)
            if try !backup.has("node.json"), let old = try directory.read("node.json") {
                try backup.write(old, to: "node.json")
            }
        }
        // Of the log before, which may have been longer.
        try removeMark()
        try save(recovery.record)
        try Self.system { () throws(SystemError) in try directory.remove("recovery") }
    }
}
