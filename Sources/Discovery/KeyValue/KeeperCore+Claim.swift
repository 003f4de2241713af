import Platform

/// A claim to found a cluster under way: what `KeeperCore` has to do until it is decided.
struct ClaimProgress: Sendable {
    enum Step: Equatable, Sendable {
        case perform(KeeperCore.Request)
        case decided(FoundingClaim)
        case failed(DiscoveryError)
        /// What stands in the key is not understood.
        case blocked(LeaderProblem)
    }

    let record: DiscoveryAnnouncement.LeaderRecord
    let bytes: [UInt8]
    /// The hold was opened or renewed for this claim.
    var isFresh = false
    /// The key was read, and this is to be written.
    var write: KeeperCore.LeaderKey = .unread
    var puts = 0
    var outcome: Step?

    init(_ record: DiscoveryAnnouncement.LeaderRecord) {
        self.record = record
        bytes = RecordCoding.encode(record)
    }
}

extension KeeperCore {
    /// Begins to claim the right to found; from then on `next(in:now:)` and `finished(_:_:in:sent:now:)` are asked until
    /// the claim is decided, and nothing else.
    ///
    /// - Throws: `DiscoveryError` when nothing has been announced.
    func beginClaim(of clusterID: String?) throws -> ClaimProgress {
        guard let announcement = wanted?.announcement else {
            throw DiscoveryError(.unsupported, "the right to found cannot be claimed before this node was announced")
        }
        // A leader that claims all the same must not fight with its own record.
        if let leader = announcement.leader, leader.clusterID == clusterID { return ClaimProgress(leader) }
        let node = announcement.node
        return ClaimProgress(
            LeaderRecord(
                nodeID: node.nodeID, apiAddress: node.apiAddress, address: node.address, clusterID: clusterID,
                clusterName: node.clusterName, term: 0))
    }

    func next(in progress: ClaimProgress, now: BootInstant) -> ClaimProgress.Step {
        if let outcome = progress.outcome { return outcome }
        // The pauses of the keeper are the claim's, too.
        if let failure, let retryAt, now < retryAt { return .failed(failure) }
        guard let hold else { return .perform(.openHold) }
        guard progress.isFresh else { return .perform(.renew(hold.store)) }
        guard case .write(let version) = progress.write else { return .perform(.read) }
        return .perform(.putLeader(record: progress.bytes, replacing: version, hold: hold.store))
    }

    mutating func finished(
        _ request: Request, _ answer: Answer, in progress: inout ClaimProgress, sent: BootInstant, now: BootInstant
    ) {
        switch (request, answer) {
        case (.putLeader, .accepted(false)):
            // Another was quicker, or the hold is gone.
            progress.isFresh = false
            progress.write = .unread
            progress.puts += 1
            guard progress.puts >= 5 else { return }
            let error = DiscoveryError(.refused, "the leader key changes whenever it is to be claimed")
            fail(error, now: now)
            progress.outcome = .failed(error)
            return
        case (.putLeader, _):
            // Even a put that failed may have been done, and what may be ours must be given back in the end.
            if wanted?.leader == nil { claimUntil = hold?.until }
        default: break
        }
        finished(request, answer, sent: sent, now: now)
        switch (request, answer) {
        case (_, .failed(let error)): progress.outcome = .failed(error)
        case (.openHold, .opened), (.renew, .accepted(true)): progress.isFresh = true
        case (.putLeader, .accepted(true)): progress.outcome = held()
        case (.read, .read(let snapshot)): judge(snapshot.leader, &progress)
        default: break
        }
    }

    private mutating func held() -> ClaimProgress.Step? {
        guard let hold else { return nil }
        givesUpHold = false
        if wanted?.leader == nil { claimUntil = hold.until }
        return .decided(.held(until: hold.until))
    }

    /// What stands in the leader key, in the eyes of a node that wants to found.
    private mutating func judge(_ key: StoreSnapshot.Leader?, _ progress: inout ClaimProgress) {
        guard let key else { return progress.write = .write(replacing: nil) }
        if key.holdID == hold?.store.id {
            if key.record == progress.bytes {
                progress.outcome = held()
            } else {
                progress.write = .write(replacing: key.version)
            }
            return
        }
        guard let there = RecordCoding.leader(key.record) else {
            let problem = LeaderProblem(kind: .unreadable, record: nil, isHeld: key.isHeld)
            setProblem(problem)
            progress.outcome = .blocked(problem)
            return
        }
        // Of this node before it was restarted. With another address it may be a copy of this node's disk.
        let ours = progress.record
        if there.nodeID == ours.nodeID, there.address == ours.address,
            there.clusterID == nil || there.clusterID == ours.clusterID
        {
            progress.write = .write(replacing: key.version)
        } else {
            claimUntil = nil
            setProblem(key.isHeld ? nil : LeaderProblem(kind: .stale, record: there, isHeld: false))
            progress.outcome = .decided(.taken(by: there))
        }
    }
}
