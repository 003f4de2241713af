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
        var mutual: [BootstrapKnowledge.Shown] = []
        for peer in knowledge.peers where peer.isLive(now, knowledge.window) {
            guard Self.isCandidate(peer, record, expect) else { continue }
            if FoundingSet.hears(peer.shown, record.nodeID) { mutual.append(peer.shown) }
        }
        connectedCount = 1
        guard mutual.count + 1 >= expect else { return }
        mutual.append(BootstrapKnowledge.Shown(view(now)))
        var connected = FoundingSet.connected(mutual).map { mutual[$0] }
        connectedCount = connected.count
        guard connected.count >= expect else { return }
        connected.sort { $0.view.nodeID < $1.view.nodeID }
        // More than may found: the smallest ids, and this node.
        while connected.count > Agreement.maximumMembers {
            let last = connected.last?.view.nodeID == record.nodeID ? connected.count - 2 : connected.count - 1
            connected.remove(at: last)
        }
        var members: [FoundingMember] = []
        for shown in connected {
            let isOwn = shown.view.nodeID == record.nodeID
            members.append(
                FoundingMember(
                    nodeID: shown.view.nodeID, address: shown.view.address,
                    dqliteID: isOwn ? DqliteID.bootstrap : shown.view.dqliteID, generation: shown.view.generation))
        }
        guard !rules.majorityOfKnown || members.count > knowledge.strangers(to: members, now: now) else { return }
        readySet = members
    }

    /// A node that could found a cluster with this one, if they hear each other.
    static func isCandidate(_ peer: BootstrapKnowledge.Peer, _ record: NodeRecord, _ expect: Int) -> Bool {
        let shown = peer.shown
        return shown.view.phase == .fresh && shown.view.expect == expect && !shown.view.nonVoter
            && shown.view.clusterName == record.clusterName
    }

    /// The ready node with the smallest id, when it is another one.
    func proposer(_ now: BootInstant) -> NodeView? {
        var best: BootstrapKnowledge.Shown?
        for peer in knowledge.peers where peer.shown.view.ready && peer.nodeID < record.nodeID {
            guard Self.isCandidate(peer, record, options.expect ?? 1), peer.isLive(now, knowledge.window) else {
                continue
            }
            if best.map({ peer.nodeID < $0.view.nodeID }) ?? true { best = peer.shown }
        }
        return best?.view
    }

    /// When this node may propose, unless a smaller one is seen to be ready before.
    var proposeAt: BootInstant? {
        guard let readySet, let readySince else { return nil }
        var rank = 0
        while rank < readySet.count, readySet[rank].nodeID != record.nodeID { rank += 1 }
        let settled = knowledge.unsettledUntil(options.timing.joinFirst)
        return max(backOffUntil, settled, readySince.advanced(by: options.timing.precedence * rank))
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
        if options.mode == .claim {
            advanceClaim(now)
            return
        }
        if readinessStale || (readySet != nil && !announcedReady) { evaluateReadiness(now) }
        guard let members = readySet, let at = proposeAt, now >= at, proposer(now) == nil else { return }
        let agreement = Agreement(
            proposal: ProposalID(using: &random), clusterName: record.clusterName, expect: options.expect ?? 1,
            founder: record.nodeID, members: members)
        // Say, two nodes with one dqlite id: cannot be founded with, and goes away when one of them is restarted.
        guard agreement.fault == nil else { return }
        if members.count == 1 {
            found(agreement, now)
            return
        }
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

    mutating func foundAlone(_ now: BootInstant) {
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
            case .clusterName, .expect, .neverFounds, .hasState, .foundingSet, .notAgreed, .notFormed, .otherCluster,
                .removed, .virtualAddress:
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
