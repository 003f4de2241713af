import Platform

/// From the created database to the formed cluster; and giving up when it comes to nothing.
extension BootstrapCore {
    // MARK: our dqlite node

    mutating func nodeStarted(_ dqliteID: UInt64, _ now: BootInstant) {
        guard dqliteID == record.dqliteID, !nodeRunning else { return }
        nodeRunning = true
        switch record.state {
        case .founding(let agreement, let clusterID, let phase):
            // Created again after a crash, which does no harm: nobody else can have written before `.admitting`.
            if phase != .admitting { out.append(.createDatabase(clusterID, agreement)) }
        case .joining(let clusterID, let agreement, let started):
            if !started {
                // On disk before anybody may add us: from now on an empty raft directory means lost data.
                record.state = .joining(clusterID, agreement, started: true)
                persist()
            }
            for token in waitingInvitations { out.append(.respond(.accepted(clusterID), token: token)) }
            waitingInvitations = []
            if agreement != nil { out.append(.becameMember(clusterID, formed: false)) }
            joining.at = now
        case .fresh, .agreed, .withdrawn, .formed, .removed:
            break
        }
    }

    mutating func databaseCreated(_ clusterID: ClusterID, _ now: BootInstant) {
        guard case .founding(let agreement, clusterID, let phase) = record.state, phase != .admitting else { return }
        createAgainAt = nil
        if phase == .creating {
            record.state = .founding(agreement, clusterID, .inviting)
            persist()
        }
        foundingSince = now
        out.append(.becameMember(clusterID, formed: false))
        takeUpDuties(clusterID, agreement, members: [DqliteID.bootstrap], now)
    }

    mutating func databaseFailed(_ clusterID: ClusterID, _ reason: String, _ now: BootInstant) {
        guard case .founding(_, clusterID, _) = record.state else { return }
        warn(.retrying("create the database of cluster \(clusterID)", reason: reason))
        createAgainAt = now.advanced(by: options.timing.retry)
    }

    // MARK: leading the unformed cluster

    mutating func leading(_ clusterID: ClusterID, _ agreement: Agreement, _ members: [UInt64], _ now: BootInstant) {
        guard record.clusterID == clusterID, !isFormed else { return }
        if case .founding(agreement, clusterID, .creating) = record.state {
            // The database is there, and the report of it is still to come.
            databaseCreated(clusterID, now)
        }
        if let duties, duties.clusterID == clusterID {
            // Already at it; only what the configuration says is new.
            for index in duties.members.indices where members.contains(duties.members[index].member.dqliteID) {
                self.duties?.members[index].isMember = true
            }
            return
        }
        takeUpDuties(clusterID, agreement, members: members, now)
    }

    private mutating func takeUpDuties(
        _ clusterID: ClusterID, _ agreement: Agreement, members: [UInt64], _ now: BootInstant
    ) {
        let list = agreement.members.map { member in
            Duties.Member(
                member: member, isMember: members.contains(member.dqliteID) || member.nodeID == record.nodeID,
                askAt: now)
        }
        duties = Duties(clusterID: clusterID, agreement: agreement, members: list, commitAt: now)
    }

    /// Invites, adds, and commits "formed".
    mutating func advanceDuties(_ now: BootInstant) {
        if let at = createAgainAt, now >= at, case .founding(let agreement, let clusterID, _) = record.state {
            createAgainAt = nil
            out.append(.createDatabase(clusterID, agreement))
        }
        guard let current = duties, current.clusterID == record.clusterID else { return }
        let present = current.members.count { $0.isMember }
        if present >= (rules.formedNeedsMajority ? current.agreement.majority : 1) {
            if !current.committing, now >= current.commitAt, mayForm(current.agreement, current.clusterID, now) {
                duties?.committing = true
                let deadline = needsClaim(current.agreement) ? claim.heldUntil : nil
                out.append(.commitFormed(current.clusterID, before: deadline))
            }
            return
        }
        let accepted = current.members.count { $0.isMember || $0.accepted }
        if accepted >= current.agreement.majority { admitNext(now) }
        for index in current.members.indices {
            let member = current.members[index]
            guard !member.isMember, !member.accepted, !member.pending, now >= member.askAt else { continue }
            duties?.members[index].pending = true
            _ = send(
                .invite(current.agreement, current.clusterID), .invite(member.member.nodeID, current.clusterID),
                to: knowledge.peer(member.member.nodeID)?.address ?? member.member.address,
                within: options.timing.inviteTimeout, now)
        }
    }

    /// Adds one of those that have accepted; dqlite changes its configuration one step at a time.
    private mutating func admitNext(_ now: BootInstant) {
        guard let current = duties, current.admitting == nil,
            var next = current.members.first(where: { $0.accepted && !$0.isMember && now >= $0.askAt })?.member
        else { return }
        if case .founding(let agreement, let clusterID, .inviting) = record.state {
            // No way back from here: on disk before the first is added.
            record.state = .founding(agreement, clusterID, .admitting)
            persist()
        }
        // The address that it has now, should it have moved since it agreed.
        if let address = knowledge.peer(next.nodeID)?.view.address { next.address = address }
        duties?.admitting = next.nodeID
        let role = RolePolicy().role(
            currentVoters: current.members.count { $0.isMember }, isFoundingMember: true, nonVoter: false)
        out.append(.admit(next, role, current.clusterID))
    }

    private func dutyIndex(_ node: NodeID, _ clusterID: ClusterID) -> Int? {
        guard let duties, duties.clusterID == clusterID else { return nil }
        return duties.members.firstIndex { $0.member.nodeID == node }
    }

    mutating func inviteFailed(_ node: NodeID, _ clusterID: ClusterID, _ now: BootInstant) {
        guard let index = dutyIndex(node, clusterID) else { return }
        duties?.members[index].pending = false
        duties?.members[index].askAt = now.advanced(by: options.timing.retry)
    }

    mutating func inviteAnswered(
        _ node: NodeID, _ clusterID: ClusterID, _ reply: PeerReply, from address: HostPort, _ now: BootInstant
    ) {
        inviteFailed(node, clusterID, now)
        guard let index = dutyIndex(node, clusterID) else { return }
        switch reply {
        case .accepted(clusterID):
            duties?.members[index].accepted = true
            duties?.members[index].askAt = now
        case .refused(let refusal):
            warn(.refused(by: address, refusal.text))
        case .view, .agreed, .accepted, .joined, .redirect, .error:
            break
        }
    }

    mutating func admitted(_ node: NodeID, _ clusterID: ClusterID, _ now: BootInstant) {
        guard let index = dutyIndex(node, clusterID) else { return }
        duties?.members[index].isMember = true
        if duties?.admitting == node { duties?.admitting = nil }
    }

    mutating func admitFailed(_ node: NodeID, _ clusterID: ClusterID, _ reason: String, _ now: BootInstant) {
        guard let index = dutyIndex(node, clusterID) else { return }
        if duties?.admitting == node { duties?.admitting = nil }
        warn(.retrying("add \(duties?.members[index].member.address.description ?? "a member")", reason: reason))
        // Invited again, which shows whether it is still there.
        duties?.members[index].accepted = false
        duties?.members[index].askAt = now.advanced(by: options.timing.retry)
    }

    mutating func formedCommitted(_ clusterID: ClusterID, _ now: BootInstant) {
        becameFormed(clusterID, now)
    }

    mutating func formedFailed(_ clusterID: ClusterID, _ reason: String, _ now: BootInstant) {
        guard duties?.clusterID == clusterID else { return }
        warn(.retrying("commit that cluster \(clusterID) is formed", reason: reason))
        duties?.committing = false
        duties?.commitAt = now.advanced(by: options.timing.retry)
    }

    mutating func becameFormed(_ clusterID: ClusterID, _ now: BootInstant) {
        guard record.clusterID == clusterID, !isFormed else { return }
        let leads = duties != nil
        record.state = .formed(clusterID)
        isFormed = true
        persist()
        duties = nil
        proposing = nil
        joining = JoinAttempt()
        out.append(.becameMember(clusterID, formed: true))
        say(nil)
        for token in waitingInvitations { out.append(.respond(.accepted(clusterID), token: token)) }
        waitingInvitations = []
        // One last hello, so that those that wait need not wait for their next round.
        if leads {
            for target in knowledge.targets where target.node != record.nodeID {
                _ = send(.hello(view(now)), .hello, to: target.address, within: options.timing.helloTimeout, now)
            }
        }
    }

    // MARK: giving up

    /// A founder whose cluster comes to nothing gives it up; a member whose cluster can never be formed, too.
    mutating func considerDissolution(_ now: BootInstant) {
        switch record.state {
        case .founding(let agreement, _, let phase):
            guard agreement.members.count > 1 else { return }
            if losses(of: agreement) >= agreement.fatalLosses {
                release(from: agreement, "too many members have left it", now)
                backOff(now)
            } else if phase != .admitting || !rules.noWayBackAfterAdmitting,
                now >= foundingSince.advanced(by: options.timing.dissolveAfter)
            {
                release(from: agreement, "no majority of its members answered", now)
                backOff(now)
            }
        case .joining(_, let agreement?, _):
            if losses(of: agreement) >= agreement.fatalLosses {
                release(from: agreement, "too many members have left it", now)
            } else if !rules.acceptedNeverWithdraws {
                let heard = knowledge.peer(agreement.founder)?.heardAt ?? boundAt
                if max(heard, boundAt).advanced(by: options.timing.withdrawAfter) <= now {
                    reset(to: .withdrawn(agreement), now)
                }
            }
        case .fresh, .agreed, .withdrawn, .joining, .formed, .removed:
            break
        }
    }
}
