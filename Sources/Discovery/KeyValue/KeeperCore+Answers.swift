import Platform

extension KeeperCore {
    /// What the store answered to a request that was sent at `sent`.
    mutating func finished(_ request: Request, _ answer: Answer, sent: BootInstant, now: BootInstant) {
        switch (request, answer) {
        case (_, .failed(let error)):
            // Whether a put was done is not known: so what stands is not, either.
            if case .putNode = request { written = nil }
            if case .putLeader = request { leaderKey = .unread }
            // It may be done late: a hold that was to be given back once is never relied on again. At worst it lapses.
            if case .release = request { forgetHold() }
            fail(error, now: now)
        case (.openHold, .opened(let store)):
            hold = Hold(store, since: sent)
            written = nil
            leaderKey = .unread
        case (.renew(let store), .accepted(true)):
            hold = Hold(store, since: sent)
        case (.renew, .accepted(false)), (.putNode, .accepted(false)):
            lose()
        case (.release, .released):
            released()
        case (.putNode(_, let record, _), .accepted(true)):
            written = record
            verifyAt = now.advanced(by: timing.verification)
        case (.putLeader, .accepted(true)):
            leaderKey = .settled
            conflicts = 0
            verifyAt = now.advanced(by: timing.verification)
            setProblem(nil)
        case (.putLeader, .accepted(false)):
            conflict(now: now)
        case (.read, .read(let snapshot)):
            verifyAt = now.advanced(by: timing.verification)
            saw(snapshot, now: now)
        default:
            // No store gives such an answer; to say so is better than to go round in circles.
            fail(DiscoveryError(.malformed, "the store answered \(answer) to \(request)"), now: now)
        }
    }

    /// The leader key was written by another since it was read, or the hold is gone: only renewing tells which.
    private mutating func conflict(now: BootInstant) {
        leaderKey = .unread
        hold?.renewAt = now
        conflicts += 1
        guard conflicts.isMultiple(of: 3) else { return }
        fail(DiscoveryError(.refused, "the leader key changes whenever it is to be written"), now: now)
    }

    /// The store does not know the hold any more.
    private mutating func lose() {
        if written != nil { isMadeAnew = true }
        forgetHold()
    }

    private mutating func forgetHold() {
        hold = nil
        written = nil
        claimUntil = nil
        givesUpHold = false
        leaderKey = .unread
    }

    private mutating func released() {
        if wanted == nil {
            note(.withdrawn)
        } else if givesUpHold {
            note(.claimGivenUp)
        }
        forgetHold()
    }

    private mutating func saw(_ snapshot: StoreSnapshot, now: BootInstant) {
        guard let wanted, let hold else { return }
        if let written, snapshot.nodes[wanted.nodeID] != written {
            // Somebody deleted it, or wrote over it.
            self.written = nil
            isMadeAnew = true
        }
        if let leader = wanted.announcement.leader, let record = wanted.leader {
            decide(leader, record, hold.store, snapshot.leader)
        } else if let key = snapshot.leader, key.holdID == hold.store.id {
            giveBack(key, of: wanted.announcement.node.clusterID, now: now)
        } else if let until = claimUntil, now >= until {
            claimUntil = nil
        }
    }

    /// The leader key is under our hold although this node does not lead.
    private mutating func giveBack(_ key: StoreSnapshot.Leader, of clusterID: String?, now: BootInstant) {
        if let until = claimUntil {
            // A claim, which its holder may still prolong.
            guard now >= until else { return }
        } else if clusterID != nil, RecordCoding.leader(key.record)?.clusterID == clusterID {
            // From when this node led its cluster: whoever leads now replaces it.
            return
        }
        // Others may found. The key goes with the hold, and a new one is opened for the rest. A claim that was never known
        // to be won is found here, too: the store may do late what it was asked for.
        claimUntil = nil
        givesUpHold = true
    }
}
