import Dqlite
import Logging
import Platform

extension ClusterNode {
    /// Takes no changes while this node leads, for the reason given; nil: takes them.
    public func refuseWrites(_ reason: String?) { writesRefused = reason }

    /// Notes once a second how far the log is committed (`StoredMark`), until it is cancelled.
    func markStored() async throws {
        var last = try? await BlockingThread.run(named: "stored") { [data] in try data.loadMark() }
        var seen: UInt64?
        var looks = 0
        var tail: (id: DqliteNodeID, tail: RaftLogTail)?
        while true {
            try await BootClock.sleepUntilBeat()
            let facts = facts.current
            guard let local = facts.local else { continue }
            let isSole = facts.members.filter { $0.role == .voter }.map(\.id) == [local.dqliteID]
            let committed = isSole ? nil : local.observer.highestCommit
            // Nothing is read while nothing happens. A sole voter sends nothing in which that could be seen.
            if isSole {
                looks += 1
                if looks % 10 != 1 { continue }
            } else if committed == seen, last?.term == local.monitor.current.term {
                continue
            }
            let (data, id, known) = (data, local.dqliteID, last)
            let before = tail.flatMap { $0.id == id ? $0.tail : nil } ?? RaftLogTail()
            do {
                let (mark, after) = try await BlockingThread.run(named: "stored") { () -> (StoredMark?, RaftLogTail) in
                    var tail = before
                    let stored = try tail.lastIndex(inDirectory: data.raftDirectory)
                    let term = RaftMetadata.term(inDirectory: data.raftDirectory) ?? 0
                    guard
                        let mark = StoredMark.next(
                            after: known, dqliteID: id, committed: committed, stored: stored, term: term)
                    else { return (nil, tail) }
                    try data.save(mark)
                    return (mark, tail)
                }
                tail = (id, after)
                if let mark { last = mark }
                seen = committed
            } catch {
                // libraft renames segments while they are read; and a full disk has its own warning.
                logger.debug("how far the log is committed was not noted", metadata: ["error": "\(error)"])
            }
        }
    }
}
