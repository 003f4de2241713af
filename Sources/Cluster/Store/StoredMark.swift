import Dqlite
import FoundationEssentials
import Platform

/// How far this node's log is committed, noted beside the log: what is missing from its end otherwise leaves no trace.
///
/// A segment that is gone, or a last entry that was damaged while the node did not run, looks like a log that never went
/// that far, or like a write that a power loss has torn. A committed entry, though, is one that a majority has told to have on
/// disk; a log without it must not vote. The mark follows about a second behind, so that it costs no write its time.
struct StoredMark: Equatable, Sendable {
    /// Whose log it is: another id has another log.
    var dqliteID: DqliteNodeID
    /// Of a committed entry that is on disk here.
    var index: UInt64
    /// The term was at least this.
    var term: UInt64

    init(dqliteID: DqliteNodeID, index: UInt64, term: UInt64) {
        self.dqliteID = dqliteID
        self.index = index
        self.term = term
    }

    /// What the file says; nil when it makes no sense.
    init?(_ bytes: [UInt8]) {
        let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).map { UInt64($0) }
        guard words.count == 3, let id = words[0], let index = words[1], let term = words[2] else { return nil }
        self.init(dqliteID: id, index: index, term: term)
    }

    var bytes: [UInt8] { Array("\(dqliteID) \(index) \(term)\n".utf8) }

    /// What is wrong with a log beside this mark, as the rest of a sentence about the directory; nil: nothing.
    func objection(to log: RaftLog) -> String? {
        // An unknown format is counted by file names, if at all.
        guard log.unknown.isEmpty else { return nil }
        if log.lastIndex < index {
            return "ends at entry \(log.lastIndex), and entry \(index) was committed: the end of the log is missing"
        }
        if log.term < term {
            return "says that the term is \(log.term), and it was \(term) already: an old copy of it?"
        }
        return nil
    }

    /// What to note now; nil when there is no news.
    ///
    /// - Parameters:
    ///   - committed: the highest index that any leader said to be committed; nil for a sole voter, who commits what it
    ///     writes.
    ///   - stored: the index of the last entry on disk.
    static func next(
        after last: StoredMark?, dqliteID: DqliteNodeID, committed: UInt64?, stored: UInt64, term: UInt64
    ) -> StoredMark? {
        let earlier = last?.dqliteID == dqliteID ? last : nil
        let mark = StoredMark(
            dqliteID: dqliteID, index: max(earlier?.index ?? 0, min(committed ?? stored, stored)),
            term: max(earlier?.term ?? 0, term))
        return mark == earlier || mark.index == 0 ? nil : mark
    }
}

extension DataDirectory {
    /// nil when there is none, or none that makes sense: it only ever adds a reason to refuse.
    func loadMark() throws(Failure) -> StoredMark? {
        try Self.system { () throws(SystemError) in try directory.read("stored", limit: 4096) }.flatMap(
            StoredMark.init)
    }

    func save(_ mark: StoredMark) throws(Failure) {
        try Self.system { () throws(SystemError) in try directory.write(mark.bytes, to: "stored") }
    }

    /// To be done before the log is taken away on purpose.
    func removeMark() throws(Failure) {
        try Self.system { () throws(SystemError) in try directory.remove("stored") }
    }

    /// Looks whether the raft directory is whole, before anything votes with it; blocking, some ms for each segment.
    ///
    /// - Returns: what could not be looked at, each a sentence.
    /// - Throws: `Failure` `.damaged` that names the file and the remedy, `.system`.
    @discardableResult
    public func checkRaft() throws(Failure) -> [String] {
        guard !raftIsEmpty else { return [] }
        let record = try loadRecord()
        // It is thrown away anyway.
        if record?.wipePending == true { return [] }
        let log = try readRaft()
        if let fault = log.faults.first {
            let more = log.faults.count > 1 ? " (and \(log.faults.count - 1) more)" : ""
            throw damaged("\(fault)\(more)", record)
        }
        if let mark = try loadMark(), mark.dqliteID == record?.dqliteID, let objection = mark.objection(to: log) {
            throw damaged("\(raftDirectory) \(objection)", record)
        }
        return log.unknown.map {
            "\(raftDirectory): \($0) is of a newer libdqlite: whether it is whole is not known"
        }
    }

    /// That libdqlite has put parts of the log aside while it started, which `checkRaft` should have foreseen.
    ///
    /// - Throws: `Failure` `.damaged`.
    func checkNothingWasPutAside() throws(Failure) {
        let names = try Self.system { () throws(SystemError) in try Directory.names(raftDirectory) } ?? []
        if let name = names.first(where: { $0.hasPrefix("corrupt-") }) {
            throw damaged(
                "\(raftDirectory)/\(name) was put aside by libdqlite as damaged: what it held is missing from the log",
                try loadRecord())
        }
    }

    /// What stands in the raft directory.
    func readRaft() throws(Failure) -> RaftLog {
        try Self.system { () throws(SystemError) in try RaftLog(directory: raftDirectory) }
    }

    private func damaged(_ what: String, _ record: NodeRecord?) -> Failure {
        let cluster = record?.clusterID.map { " of cluster \($0)" } ?? ""
        return Failure(
            code: .damaged,
            description:
                "\(what): with such a log this node\(cluster) must not vote. If a majority of its voters is up, move "
                + "\(path) away and start the node again: it joins as a new one. If no other node has the data: "
                + "dqlite-vip recover --data-dir \(path) --accept-data-loss. See DOC/RECOVERY.md")
    }
}
