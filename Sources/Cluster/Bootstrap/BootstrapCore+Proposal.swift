import Platform

/// Readiness, and the founder's side of an agreement.
extension BootstrapCore {
    // MARK: readiness

    /// Looks for a founding set, when anything has changed since the last time.
    mutating func evaluateReadiness(_ now: BootInstant) {
        let mayPropose = now >= backOffUntil
        guard readinessStale || announcedReady != (readySet != nil && mayPropose) else { return }
        readinessStale = false
        readySet = nil
        candidates = []
        connectedCount = 0
        if case .fresh = record.state, let expect = options.expect, options.mode != .single {
            findFoundingSet(expect, now)
        }
        let ready = readySet != nil && mayPropose
        readySince = readySet == nil ? nil : readySince ?? now
        if ready != announcedReady {
            announcedReady = ready
            cachedView = nil
        }
    }

    private mutating func findFoundingSet(_ expect: Int, _ now: BootInstant) {
        var mutual: [NodeView] = [view(now)]
        for peer in knowledge.peers
        where peer.view.phase == .fresh && peer.view.expect == expect && !peer.view.nonVoter
            && peer.view.clusterName == record.clusterName && knowledge.isLive(peer, now)
        {
            candidates.append(peer.view)
            if FoundingSet.hears(peer.view, record.nodeID) { mutual.append(peer.view) }
        }
        if !rules.oneNodeCountsOnce {
            // The fault that this rule excludes: counting addresses instead of nodes.
            for target in knowledge.targets where target.node == record.nodeID { mutual.append(mutual[0]) }
        }
        var connected = FoundingSet.connected(mutual).map { mutual[$0] }
        connectedCount = connected.count
        guard connected.count >= expect else { return }
        connected.sort { $0.nodeID < $1.nodeID }
        if connected.count > Agreement.maximumMembers {
            connected.removeAll { $0.nodeID == record.nodeID }
            connected = Array(connected.prefix(Agreement.maximumMembers - 1)) + [view(now)]
            connected.sort { $0.nodeID < $1.nodeID }
        }
        var members: [FoundingMember] = []
        for view in connected {
            members.append(
                FoundingMember(
                    nodeID: view.nodeID, address: view.address,
                    dqliteID: view.nodeID == record.nodeID ? DqliteID.bootstrap : view.dqliteID,
                    generation: view.generation))
        }
        guard !rules.majorityOfKnown || members.count > knowledge.strangers(to: members, now: now) else { return }
        readySet = members
    }

    /// The ready node with the smallest id, when it is another one.
    func proposer(of members: [FoundingMember], _ now: BootInstant) -> NodeView? {
        var best: NodeView?
        for peer in knowledge.peers
        where peer.view.ready && peer.view.phase == .fresh && peer.view.nodeID < record.nodeID
            && peer.view.clusterName == record.clusterName && peer.view.expect == options.expect
            && knowledge.isLive(peer, now)
        {
            if best.map({ peer.view.nodeID < $0.nodeID }) ?? true { best = peer.view }
        }
        return best
    }

    /// When this node may propose, unless a smaller one is seen to be ready before.
    var proposeAt: BootInstant? {
        guard let readySet, let readySince else { return nil }
        var rank = 0
        while rank < readySet.count, readySet[rank].nodeID != record.nodeID { rank += 1 }
        return max(backOffUntil, readySince.advanced(by: options.timing.precedence * rank))
    }

    // MARK: proposing

    /// Proposes when it is this node's turn, and keeps a proposal going.
    mutating func advanceProposal(_ now: BootInstant) {
        if proposing != nil {
            askMembers(now)
            return
        }
        guard case .fresh = record.state else { return }
        if options.mode == .single {
            foundAlone(now)
            return
        }
        if readinessStale || (readySet != nil && !announcedReady) { evaluateReadiness(now) }
        guard let members = readySet, let at = proposeAt, now >= at, proposer(of: members, now) == nil else { return }
        let agreement = Agreement(
            proposal: ProposalID(using: &random), clusterName: record.clusterName, expect: options.expect ?? 1,
            founder: record.nodeID, members: members)
        // Say, two nodes with one dqlite id: cannot be founded with, and goes away when one of them is restarted.
        guard agreement.fault == nil else { return }
        bind(.agreed(agreement), now)
        var others: [Proposing.Member] = []
        for member in members where member.nodeID != record.nodeID {
            others.append(Proposing.Member(member: member, askAt: now))
        }
        proposing = Proposing(
            agreement: agreement, others: others, deadline: now.advanced(by: options.timing.proposalTimeout))
        askMembers(now)
    }

    /// Enters a state that promises something, and notes from when on answers can release this node from it.
    mutating func bind(_ state: NodeRecord.State, _ now: BootInstant) {
        record.state = state
        persist()
        boundSince = nextRequestID
        boundAt = now
    }

    private mutating func foundAlone(_ now: BootInstant) {
        let agreement = Agreement(
            proposal: ProposalID(using: &random), clusterName: record.clusterName, expect: 1, founder: record.nodeID,
            members: [
                FoundingMember(
                    nodeID: record.nodeID, address: record.address, dqliteID: DqliteID.bootstrap,
                    generation: record.generation)
            ])
        found(agreement, now)
    }

    private mutating func askMembers(_ now: BootInstant) {
        guard let current = proposing else { return }
        if now >= current.deadline {
            abandonProposal(now)
            return
        }
        for index in current.others.indices {
            let other = current.others[index]
            guard !other.agreed, !other.pending, now >= other.askAt else { continue }
            proposing?.others[index].pending = true
            _ = send(
                .propose(current.agreement), .propose(other.member.nodeID, current.agreement.proposal),
                to: knowledge.peer(other.member.nodeID)?.address ?? other.member.address,
                within: options.timing.helloTimeout, now)
        }
    }

    private func memberIndex(_ node: NodeID, _ proposal: ProposalID) -> Int? {
        guard let proposing, proposing.agreement.proposal == proposal else { return nil }
        return proposing.others.firstIndex { $0.member.nodeID == node }
    }

    mutating func proposeFailed(_ node: NodeID, _ proposal: ProposalID, _ now: BootInstant) {
        guard let index = memberIndex(node, proposal) else { return }
        proposing?.others[index].pending = false
        proposing?.others[index].askAt = now.advanced(by: options.timing.retry)
    }

    mutating func proposeAnswered(
        _ node: NodeID, _ proposal: ProposalID, _ reply: PeerReply, from address: HostPort, _ now: BootInstant
    ) {
        proposeFailed(node, proposal, now)
        guard let index = memberIndex(node, proposal) else { return }
        switch reply {
        case .agreed(let agreed):
            guard agreed == proposal else { return }
            proposing?.others[index].agreed = true
            guard let current = proposing else { return }
            let agreedCount = current.others.count { $0.agreed }
            let enough = rules.unanimity ? current.others.count : current.agreement.majority - 1
            if agreedCount >= enough { found(current.agreement, now) }
        case .refused(let refusal):
            switch refusal.code {
            case .promised:
                // To a proposal that may be given up for ours right now: asked again until the deadline.
                break
            case .stale:
                abandonProposal(now)
            case .clusterName, .expect, .neverFounds, .hasState, .foundingSet, .notAgreed, .notFormed, .otherCluster:
                warn(.refused(by: address, refusal.text))
                abandonProposal(now)
            }
        case .view, .accepted, .joined, .redirect, .error:
            break
        }
    }

    /// Gives the own proposal up before anything came of it, and tells the members so that they need not find out.
    private mutating func abandonProposal(_ now: BootInstant) {
        guard let agreement = proposing?.agreement else { return }
        proposing = nil
        becomeFresh()
        tellAbort(agreement, now)
        backOff(now)
    }

    func tellAbortTargets(_ agreement: Agreement) -> [HostPort] {
        var list: [HostPort] = []
        for member in agreement.members where member.nodeID != record.nodeID {
            list.append(knowledge.peer(member.nodeID)?.address ?? member.address)
        }
        return list
    }

    mutating func tellAbort(_ agreement: Agreement, _ now: BootInstant) {
        for address in tellAbortTargets(agreement) {
            _ = send(.abort(agreement.proposal), .abort, to: address, within: options.timing.helloTimeout, now)
        }
    }

    mutating func backOff(_ now: BootInstant) {
        let factor = 1 << min(3, failedProposals)
        failedProposals += 1
        backOffUntil = now.advanced(by: random.duration(options.timing.backOff) * factor)
    }

    /// All have agreed: the one moment at which a cluster comes into being.
    private mutating func found(_ agreement: Agreement, _ now: BootInstant) {
        proposing = nil
        failedProposals = 0
        record.dqliteID = DqliteID.bootstrap
        bind(.founding(agreement, ClusterID(using: &random), .creating), now)
        foundingSince = now
        out.append(.startNode(dqliteID: DqliteID.bootstrap, founding: true))
    }
}
