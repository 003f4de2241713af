import Platform

/// A local database node that does not live any more: only a new process helps then.
extension ClusterNode {
    /// How long it may be silent to libdqlite's clients.
    private static let patience: Duration = .seconds(10)
    /// How long it may be silent to a leader that it hears: its disk may take its time.
    private static let patienceOfPeers: Duration = .seconds(10)

    /// Ends the daemon when its database node has not answered for long, which the guard then starts again.
    ///
    /// - Throws: `LocalNodeFailed`.
    func watchLocalNode() async throws {
        var suspicious = 0
        while true {
            try await BootClock.sleepUntilBeat()
            guard let local = facts.current.local else { continue }
            let now = BootClock.now
            var failure: LocalNodeFailed?
            if local.monitor.silence(now: now) > Self.patience {
                failure = LocalNodeFailed(
                    description: "the local database node has not answered for \(Self.patience)")
            } else if local.observer.silence(now: now) > Self.patienceOfPeers, await unfit() == nil {
                // While the disk takes nothing it would not start.
                failure = LocalNodeFailed(
                    description: "the local database node has not answered the leader for \(Self.patienceOfPeers): "
                        + "as after a write that failed")
            }
            // Twice in a row: a process that was stopped for a while has been silent too, and is well.
            suspicious = failure == nil ? 0 : suspicious + 1
            if let failure, suspicious > 1 { throw failure }
        }
    }

    /// libdqlite's one thread does not answer any more, or its raft has given up.
    struct LocalNodeFailed: Error, CustomStringConvertible {
        var description: String
    }
}
