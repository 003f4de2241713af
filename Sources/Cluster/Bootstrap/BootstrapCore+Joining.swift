import Platform

/// Joining a formed cluster; always before founding (I3).
extension BootstrapCore {
    /// The formed clusters with our name of which nodes are heard.
    func formedClusters(_ now: BootInstant) -> [ClusterID] {
        var ids: [ClusterID] = []
        for peer in knowledge.peers where peer.shown.view.phase == .formed {
            if peer.shown.view.clusterName == record.clusterName, let id = peer.shown.view.clusterID, !ids.contains(id),
                peer.isLive(now, knowledge.window)
            {
                ids.append(id)
            }
        }
        return ids
    }

    func formedPeer(of id: ClusterID, _ now: BootInstant) -> BootstrapKnowledge.Peer? {
        knowledge.peers.first {
            $0.view.phase == .formed && $0.view.clusterID == id && $0.view.clusterName == record.clusterName
                && $0.isLive(now, knowledge.window)
        }
    }

    /// Turns towards a formed cluster as soon as one is heard.
    mutating func considerFormedClusters(_ now: BootInstant) {
        guard knowledge.anyFormed else { return }
        let ids = formedClusters(now)
        guard let id = ids.first else { return }
        let own: ClusterID? =
            if case .joining(let own, nil, _) = record.state { own } else { nil }
        if let own {
            // Bound to a formed cluster: no other is joined, whatever is heard.
            if let other = ids.first(where: { $0 != own }), let peer = formedPeer(of: other, now) {
                warn(.otherCluster(own: own, other: other, peer.address))
            }
            return
        }
        guard ids.count == 1 else {
            warn(.severalClusters(ids, ids.compactMap { formedPeer(of: $0, now)?.address }))
            return
        }
        // Another formed cluster may be behind an address that has just been asked.
        let settled = knowledge.unsettledUntil(options.timing.joinFirst)
        guard now >= settled else {
            lookAgainAt = settled
            return
        }
        switch record.state {
        case .fresh, .agreed, .withdrawn:
            let given = proposing?.agreement
            proposing = nil
            record.generation += 1
            bind(.joining(id, nil, started: false), now)
            if let given { tellAbort(given, now) }
            startJoining(now)
        case .founding(_, let unformed, _), .joining(let unformed, .some, _):
            // Our own cluster, formed by others: `advanceJoin` asks for our place in it.
            if unformed == id { return }
            // I6.
            warn(.gaveUpFor(own: unformed, formed: id))
            reset(to: .joining(id, nil, started: false), now)
            startJoining(now)
        case .joining(_, nil, _), .formed, .removed:
            break
        }
    }

    private mutating func startJoining(_ now: BootInstant) {
        joining = JoinAttempt()
        joining.at = now
        out.append(.startNode(dqliteID: record.dqliteID, founding: false))
    }

    /// Asks the leader of the formed cluster for our place in it, until it is given.
    mutating func advanceJoin(_ now: BootInstant) {
        guard nodeRunning, !joining.pending, now >= joining.at, let clusterID = record.clusterID,
            let address = joinTarget(clusterID, now)
        else { return }
        joining.pending = true
        let request = JoinRequest(
            nodeID: record.nodeID, name: options.name, dqliteID: record.dqliteID, address: record.address,
            clusterName: record.clusterName, clusterID: clusterID, nonVoter: options.nonVoter)
        _ = send(.join(request), .join(clusterID), to: address, within: options.timing.joinTimeout, now)
    }

    /// Where to ask: where we were redirected to, where a member says that the leader is, or one member after the other.
    private mutating func joinTarget(_ clusterID: ClusterID, _ now: BootInstant) -> HostPort? {
        var members: [HostPort] = []
        for peer in knowledge.peers
        where peer.view.phase == .formed && peer.view.clusterID == clusterID && peer.isLive(now, knowledge.window) {
            members.append(peer.address)
        }
        guard !members.isEmpty else { return nil }
        if let address = joining.redirectedTo {
            joining.redirectedTo = nil
            return address
        }
        joining.turn += 1
        return members[joining.turn % members.count]
    }

    mutating func joinFailed(_ now: BootInstant) {
        joining.pending = false
        joining.redirects = 0
        joining.at = now.advanced(by: options.timing.retry)
    }

    mutating func joinAnswered(_ clusterID: ClusterID, _ reply: PeerReply, from address: HostPort, _ now: BootInstant) {
        guard record.clusterID == clusterID, !isFormed else { return }
        let redirects = joining.redirects
        joinFailed(now)
        switch reply {
        case .joined(clusterID, _):
            becameFormed(clusterID, now)
        case .redirect(let leader?):
            // Followed at once, but not for ever: two nodes may each take the other for the leader.
            if redirects < 3, leader != record.address {
                joining.redirectedTo = leader
                joining.redirects = redirects + 1
                joining.at = now
            }
        case .refused(let refusal):
            if let removal = refusal.removal { return removed(clusterID, removal, now) }
            warn(.refused(by: address, refusal.text))
        case .joined, .redirect, .view, .agreed, .accepted, .error:
            break
        }
    }
}
