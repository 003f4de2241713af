import Platform

/// The end of a membership, and the way back.
extension BootstrapCore {
    /// The cluster has said that this node is out.
    mutating func removed(_ clusterID: ClusterID, _ removal: RemovedNode, _ now: BootInstant) {
        guard removal.dqliteID == record.dqliteID else { return }
        switch record.state {
        case .formed(clusterID), .joining(clusterID, nil, _): break
        case .fresh, .agreed, .withdrawn, .founding, .joining, .formed, .removed: return
        }
        isFormed = false
        joining = JoinAttempt()
        warned.removeAll { if case .removed = $0 { true } else { false } }
        warn(.removed(clusterID, removal))
        guard removal.isFinal else { return rejoin(clusterID, now) }
        // On disk before anything else: from here on not even a crash brings it back.
        record.state = .removed(clusterID, removal)
        persist()
        nodeRunning = false
        out.append(.stopNode)
        say(.removed(clusterID, removal))
    }

    /// Joins the cluster anew, under another dqlite id and with an empty log: what raft knew of the old one is void.
    mutating func rejoin(_ clusterID: ClusterID, _ now: BootInstant) {
        isFormed = false
        reset(to: .joining(clusterID, nil, started: false), now)
        joining.at = now
        roundSoon(now)
        out.append(.startNode(dqliteID: record.dqliteID, founding: false))
    }

    /// The record of a node that has left of its own accord: when it starts again it joins anew.
    mutating func left() -> NodeRecord? {
        guard case .formed(let clusterID) = record.state else { return nil }
        record.generation += 1
        record.dqliteID = DqliteID.random(using: &random)
        record.state = .joining(clusterID, nil, started: false)
        record.wipePending = true
        return record
    }
}

extension RemovedNode {
    func description(of clusterID: ClusterID) -> String {
        let what =
            switch reason {
            case .removed: "this node was removed from cluster \(clusterID) by an operator"
            case .left: "this node has left cluster \(clusterID)"
            case .reaped:
                "this node was removed from cluster \(clusterID) because it could not be reached (--reap-after)"
            case .unknown: "cluster \(clusterID) does not know this node any more"
            }
        return reason == .unknown ? what : what + " at \(at)"
    }
}
