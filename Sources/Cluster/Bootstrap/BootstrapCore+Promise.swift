import Platform

/// The member's side of an agreement: promising, and being released.
extension BootstrapCore {
    // MARK: promising

    mutating func answerProposal(_ agreement: Agreement, _ token: PeerReplyToken, _ now: BootInstant) {
        if case .agreed(let own) = record.state, own.proposal == agreement.proposal, agreement.founder != record.nodeID
        {
            out.append(.respond(.agreed(agreement.proposal), token: token))
            return
        }
        if let refusal = objection(to: agreement, now) {
            out.append(.respond(.refused(refusal), token: token))
            return
        }
        let given = proposing?.agreement
        proposing = nil
        bind(.agreed(agreement), now)
        out.append(.respond(.agreed(agreement.proposal), token: token))
        if let given { tellAbort(given, now) }
    }

    /// Why this node does not agree; nil when it does.
    private mutating func objection(to agreement: Agreement, _ now: BootInstant) -> Refusal? {
        func refuse(_ code: Refusal.Code, _ text: String) -> Refusal {
            Refusal(code, text, view: view(now, for: agreement.clusterName))
        }
        switch record.state {
        case .fresh:
            break
        case .agreed(let own):
            // Our own proposal, that not all have agreed to, gives way to that of a smaller id; else the two would keep
            // each other waiting.
            let givesWay = proposing != nil && agreement.founder < record.nodeID
            if rules.exclusiveAgreement && !givesWay {
                let founder = own.member(own.founder)?.address ?? record.address
                return refuse(.promised, "\(ownLabel) has agreed to found a cluster with \(founder)")
            }
        case .withdrawn(let own):
            if rules.exclusiveAgreement {
                let founder = own.member(own.founder)?.address ?? record.address
                return refuse(
                    .promised,
                    "\(ownLabel) has withdrawn from founding a cluster with \(founder), which may still come to be")
            }
        case .founding, .joining, .formed, .removed:
            if rules.stateNeverPromises {
                return refuse(.hasState, "\(ownLabel) belongs to a cluster already, and founds no other")
            }
        }
        guard agreement.clusterName == record.clusterName else {
            return refuse(
                .clusterName,
                "the cluster names differ: the proposal of \(founderLabel(agreement)) has \"\(agreement.clusterName)\", "
                    + "\(ownLabel) has \"\(record.clusterName)\"")
        }
        guard let expect = options.expect, options.mode != .single else {
            return refuse(.neverFounds, "\(ownLabel) was started to join a cluster, not to found one")
        }
        guard agreement.expect == expect else {
            return refuse(
                .expect,
                "--bootstrap-expect differs: the proposal of \(founderLabel(agreement)) has \(agreement.expect), "
                    + "\(ownLabel) has \(expect)")
        }
        if let fault = agreement.fault { return refuse(.foundingSet, "the proposal is unsound: \(fault)") }
        guard let own = agreement.member(record.nodeID), own.address == record.address,
            own.dqliteID == record.dqliteID, own.generation == record.generation || !rules.generations
        else {
            return refuse(
                .stale, "the proposal of \(founderLabel(agreement)) describes \(ownLabel) as it is not any more")
        }
        let strangers = knowledge.strangers(to: agreement.members, now: now)
        guard !rules.majorityOfKnown || agreement.members.count > strangers else {
            return refuse(
                .foundingSet,
                "the proposal of \(founderLabel(agreement)) has \(agreement.members.count) members, which is not more than "
                    + "half of the \(agreement.members.count + strangers) nodes and addresses that \(ownLabel) knows")
        }
        return nil
    }

    private func founderLabel(_ agreement: Agreement) -> String {
        if let peer = knowledge.peer(agreement.founder) { return Self.label(peer.view).description }
        let address = agreement.member(agreement.founder)?.address.description
        return address ?? agreement.founder.description
    }

    // MARK: being released

    /// The founder's word: it answered, after this node had promised, that it does not hold the agreement any more.
    mutating func considerWord(of view: NodeView, _ now: BootInstant) {
        guard let agreement = record.agreement, view.nodeID == agreement.founder, view.nodeID != record.nodeID,
            view.phase != .formed, view.proposal != agreement.proposal
        else { return }
        release(from: agreement, "its founder has given it up", now)
    }

    /// Free again: the agreement is known to be dead. A dqlite node that was started for it is stopped and its data wiped.
    mutating func release(from agreement: Agreement, _ reason: String, _ now: BootInstant) {
        switch record.state {
        case .agreed:
            record.generation += 1
            becomeFresh()
        case .withdrawn:
            becomeFresh()
        case .joining(let clusterID, .some, _):
            warn(.gaveUp(clusterID, reason: reason))
            reset(to: .fresh, now)
        case .founding(_, let clusterID, _):
            warn(.gaveUp(clusterID, reason: reason))
            reset(to: .fresh, now)
            tellAbort(agreement, now)
        case .fresh, .joining(_, nil, _), .formed, .removed:
            return
        }
        roundSoon(now)
    }

    /// Bound to nothing, so that a new cluster name of the options comes into force.
    mutating func becomeFresh() {
        record.state = .fresh
        record.clusterName = options.clusterName
        persist()
    }

    /// Leaves an unformed cluster: another dqlite id, an empty raft directory. The intent is on disk first, so that a crash in
    /// between leaves no raft data that nobody knows of.
    mutating func reset(to state: NodeRecord.State, _ now: BootInstant) {
        record.generation += 1
        record.dqliteID = DqliteID.random(using: &random)
        record.state = state
        record.wipePending = true
        record.clusterName = options.clusterName
        proposing = nil
        duties = nil
        createAgainAt = nil
        nodeRunning = false
        joining = JoinAttempt()
        bind(state, now)
        finishWipe()
        for token in waitingInvitations {
            out.append(.respond(.error("the cluster was given up meanwhile"), token: token))
        }
        waitingInvitations = []
    }

    mutating func finishWipe() {
        out.append(.stopNodeAndWipeRaft)
        record.wipePending = false
        persist()
    }

    /// How many members are known to have left the agreement for ever.
    func losses(of agreement: Agreement) -> Int {
        var count = 0
        for member in agreement.members {
            let generation =
                member.nodeID == record.nodeID
                ? record.generation : knowledge.peer(member.nodeID)?.shown.view.generation ?? 0
            if generation > member.generation { count += 1 }
        }
        return count
    }

    /// The founder is silent for too long: this node will not join its cluster while that is unformed.
    mutating func considerWithdrawal(_ now: BootInstant) {
        guard case .agreed(let agreement) = record.state, agreement.founder != record.nodeID else { return }
        let heard = knowledge.peer(agreement.founder)?.heardAt ?? boundAt
        guard max(heard, boundAt).advanced(by: options.timing.withdrawAfter) <= now else { return }
        record.generation += 1
        bind(.withdrawn(agreement), now)
        considerRelease(now)
    }

    /// So many members have left that the cluster can never be formed.
    mutating func considerRelease(_ now: BootInstant) {
        guard case .withdrawn(let agreement) = record.state else { return }
        let needed = rules.withdrawalNeedsLosses ? agreement.fatalLosses : 1
        if losses(of: agreement) >= needed { release(from: agreement, "too many members have left it", now) }
    }
}
