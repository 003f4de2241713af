import Platform

/// Founding by claim: a store with check-and-set gives the right to found to one node at a time.
///
/// The right lapses when its holder does not renew it, so it is asked for twice: before the founding, and again, with the
/// cluster's id, before the cluster is formed. A node that slept in between, or was restarted, finds the other's claim
/// then, and its own cluster stays unformed until it joins the other's. What remains is the holder that sleeps in the very
/// moment of the commit, and a formed cluster that cannot reach the store for longer than its key lives while somebody
/// starts a new node: who must exclude that gives `--bootstrap-expect`.
extension BootstrapCore {
    /// Claims, when nobody is there to be joined, and founds with the claim.
    mutating func advanceClaim(_ now: BootInstant) {
        guard hasLookedUp, !options.nonVoter, founders(now).isEmpty else { return }
        // I3: a formed cluster may be behind an address that is still to be asked, or has just been.
        guard !knowledge.listsChanged else { return roundSoon(now) }
        let settled = knowledge.unsettledUntil(options.timing.joinFirst)
        guard now >= settled else {
            lookAgainAt = settled
            return
        }
        if let until = claim.heldUntil, now.advanced(by: options.timing.claimMargin) < until {
            foundAlone(now)
        } else {
            askForClaim(nil, now)
        }
    }

    /// Nodes that will found together, because they were told how many to expect: these are waited for and joined.
    private func founders(_ now: BootInstant) -> [BootstrapKnowledge.Peer] {
        knowledge.peers.filter { peer in
            peer.view.clusterName == record.clusterName && peer.view.expect != nil && !peer.view.nonVoter
                && peer.isLive(now, knowledge.window)
        }
    }

    private mutating func askForClaim(_ clusterID: ClusterID?, _ now: BootInstant) {
        guard !claim.pending, now >= claim.askAt else { return }
        claim.pending = true
        out.append(.claimFounding(clusterID))
    }

    /// Whether a cluster of this agreement comes into being by a claim.
    func needsClaim(_ agreement: Agreement) -> Bool {
        options.mode == .claim && agreement.members.count == 1 && rules.claimBeforeForming
    }

    /// Whether the claim, if one is needed, is still this node's; asks for it otherwise.
    mutating func mayForm(_ agreement: Agreement, _ clusterID: ClusterID, _ now: BootInstant) -> Bool {
        guard needsClaim(agreement) else { return true }
        if claim.clusterID == clusterID, let until = claim.heldUntil,
            now.advanced(by: options.timing.claimMargin) < until
        {
            return true
        }
        askForClaim(clusterID, now)
        return false
    }

    mutating func claimHeld(_ clusterID: ClusterID?, _ until: BootInstant) {
        claim.pending = false
        claim.heldUntil = until
        claim.clusterID = clusterID
        claim.holder = nil
        claim.failure = nil
    }

    /// Why a node that founds by claim has not founded.
    func whyNotClaimed(_ now: BootInstant) -> BootstrapWaiting? {
        let founders = founders(now)
        if !founders.isEmpty { return .founders(founders.map { (Self.label($0.view)) }) }
        if let holder = claim.holder { return .claim(of: holder) }
        return claim.failure.map { .store(reason: $0) }
    }

    mutating func claimTaken(by holder: HostPort, _ now: BootInstant) {
        claim = Claim()
        claim.holder = holder
        claim.askAt = now.advanced(by: options.timing.claimRetry)
        if case .founding(_, let clusterID, _) = record.state {
            warn(.retrying("form cluster \(clusterID)", reason: "the leader key names \(holder)"))
        }
        // Its address may be news.
        nextLookUp = now
        roundSoon(now)
    }

    mutating func claimFailed(_ reason: String, _ now: BootInstant) {
        claim.pending = false
        claim.failure = reason
        claim.askAt = now.advanced(by: options.timing.claimRetry)
    }
}
