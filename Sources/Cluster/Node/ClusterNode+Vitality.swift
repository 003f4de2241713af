import Logging
import Platform

/// A local database node that does not live any more: only a new process helps then.
extension ClusterNode {
    /// How long it may be silent to a leader that it hears: its disk may take its time.
    private static let patienceOfPeers: Duration = .seconds(10)

    /// Ends the daemon when raft in its database node is at its end, which the guard then starts again. One that answers nothing at all
    /// is the business of `SilenceWatch`.
    ///
    /// - Throws: `LocalNodeFailed`.
    func watchLocalNode() async throws {
        var suspicious = 0
        while true {
            try await BootClock.sleepUntilBeat()
            guard let local = facts.current.local else { continue }
            let now = BootClock.now
            var failure: LocalNodeFailed?
            if local.observer.silence(now: now) > Self.patienceOfPeers, await unfit() == nil {
                // While the disk takes nothing it would not start.
                failure = LocalNodeFailed(
                    description: "the local database node has not answered the leader for \(Self.patienceOfPeers): "
                        + "as after a write that failed")
            }
            if hasFailedDisk(local) {
                throw LocalNodeFailed(
                    description: "a write to the disk failed, after which the database node does not store what it says"
                )
            }
            if failure == nil, let wrong = await wrongConfiguration(of: local) {
                await handOver()
                throw wrong
            }
            // Twice in a row: a process that was stopped for a while has been silent too, and is well.
            suspicious = failure == nil ? 0 : suspicious + 1
            if let failure, suspicious > 1 { throw failure }
        }
    }

    /// Whether a write of the local node has failed. A node that is alone goes on: nobody has another copy that could differ.
    private func hasFailedDisk(_ local: LocalNode) -> Bool {
        if local.relayFacts.current.hasFailedDisk { return true }
        guard store.hasFailedDisk else { return false }
        guard facts.current.members.count > 1 else {
            store.forgetFailedDisk()
            return false
        }
        local.diskFailed()
        return true
    }

    /// Compares the members that the local node believes in with those of its log, for some seconds after its start.
    private func wrongConfiguration(of local: LocalNode) async -> LocalNodeFailed? {
        guard var watch = configurationWatch, watch.local === local else { return nil }
        let verdict = await watch.look(data.raftDirectory, membership)
        // Another one may run by now.
        guard configurationWatch?.local === local else { return nil }
        switch verdict {
        case .open:
            configurationWatch = watch
            return nil
        case .settled:
            configurationWatch = nil
            return nil
        case .wrong(let what):
            configurationWatch = nil
            logger.warning(
                "the local database node goes by an old list of members, and is started anew",
                metadata: ["reason": "\(what)"])
            return LocalNodeFailed(
                description:
                    "the local database node goes by an old list of members (\(what)), which libdqlite has kept over "
                    + "its start although it was never committed; a new start cures it")
        }
    }

    /// Since when the database does not answer, when that is longer than it should be; nil: it does, or there is none now.
    public nonisolated var databaseSilence: Duration? {
        guard let silence = facts.current.local?.monitor.silence(now: BootClock.now) else { return nil }
        return silence > SilenceCore.patience ? silence : nil
    }

    /// The raft of libdqlite has given up, or what it does is not to be relied on.
    struct LocalNodeFailed: Error, CustomStringConvertible {
        var description: String
    }
}
