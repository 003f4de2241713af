import Platform

/// The start, and the answers to other nodes.
extension BootstrapCore {
    mutating func start(_ now: BootInstant) {
        boundAt = now
        boundSince = nextRequestID
        lastRound = now
        nextRound = now
        nextLookUp = now
        foundingSince = now
        let before = record
        takeUpRecord()
        if record.wipePending { finishWipe() }
        switch record.state {
        case .agreed(let agreement) where agreement.founder == record.nodeID:
            // The promises collected so far are lost with the process.
            becomeFresh()
            tellAbort(agreement, now)
        case .fresh, .agreed, .withdrawn:
            if record != before || resume == .newRecord { persist() }
        case .founding(_, _, let phase):
            if record != before { persist() }
            out.append(.startNode(dqliteID: record.dqliteID, founding: phase == .creating))
        case .joining:
            if record != before { persist() }
            joining.at = now
            out.append(.startNode(dqliteID: record.dqliteID, founding: false))
        case .formed(let clusterID):
            if record != before { persist() }
            out.append(.startNode(dqliteID: record.dqliteID, founding: false))
            out.append(.becameMember(clusterID, formed: true))
        case .removed(let clusterID, let removal):
            if options.rejoins {
                rejoin(clusterID, now)
            } else {
                if record != before { persist() }
                warn(.removed(clusterID, removal))
                say(.removed(clusterID, removal))
            }
        }
    }

    /// Brings the record in line with the options and with what was found of the raft directory.
    private mutating func takeUpRecord() {
        switch resume {
        case .newRecord, .asIs:
            break
        case .foundingLost(let clusterID):
            warn(.gaveUp(clusterID, reason: "its raft directory was emptied"))
            record.generation += 1
            record.dqliteID = DqliteID.random(using: &random)
            record.state = .fresh
        case .memberLost(let was):
            warn(.raftLost(was: was, now: record.nodeID))
            record.dqliteID = DqliteID.random(using: &random)
            record.generation = 0
            switch record.state {
            case .formed(let clusterID), .joining(let clusterID, nil, _):
                // The cluster is still there, as far as we know: this node may only join it.
                record.state = .joining(clusterID, nil, started: false)
            case .fresh, .agreed, .withdrawn, .founding, .joining, .removed:
                record.state = .fresh
            }
        }
        record.address = options.address
        if record.clusterName != options.clusterName {
            if case .fresh = record.state {
                record.clusterName = options.clusterName
            } else {
                warn(.clusterNameIgnored(option: options.clusterName, record: record.clusterName))
            }
        }
    }

    mutating func answer(_ request: PeerRequest, _ token: PeerReplyToken, _ now: BootInstant) {
        switch request {
        case .hello(let other):
            if !isFormed, knowledge.introduce(other, now: now) { readinessStale = true }
            out.append(.respond(.view(view(now, for: other.clusterName)), token: token))
            helloBack(other, now)
        case .propose(let agreement):
            answerProposal(agreement, token, now)
        case .abort(let proposal):
            // Only ever sent by a founder that has dropped the proposal on disk, and before it added anybody.
            if let agreement = record.agreement, agreement.proposal == proposal, agreement.founder != record.nodeID {
                release(from: agreement, "its founder has given it up", now)
            }
            out.append(.respond(.view(view(now, for: nil)), token: token))
        case .invite(let agreement, let clusterID):
            answerInvitation(agreement, clusterID, token, now)
        case .join(let join):
            if let own = record.clusterID, isFormed, own == join.clusterID {
                out.append(.respond(.redirect(leader: leader), token: token))
            } else {
                let text = "\(ownLabel) is in no formed cluster \(join.clusterID)"
                out.append(
                    .respond(.refused(Refusal(.notFormed, text, view: view(now, for: join.clusterName))), token: token))
            }
        }
    }

    /// What this node tells of itself to somebody who has said this name of a cluster: the cluster's id to nobody else, as it is all
    /// that a stranger needs to speak as a member.
    mutating func view(_ now: BootInstant, for clusterName: String?) -> NodeView {
        var view = view(now)
        if clusterName != record.clusterName { view.clusterID = nil }
        return view
    }

    private mutating func answerInvitation(
        _ agreement: Agreement, _ clusterID: ClusterID, _ token: PeerReplyToken, _ now: BootInstant
    ) {
        switch record.state {
        case .agreed(let own) where own.proposal == agreement.proposal && own.founder != record.nodeID:
            bind(.joining(clusterID, own, started: false), now)
            waitingInvitations.append(token)
            out.append(.startNode(dqliteID: record.dqliteID, founding: false))
        case .joining(clusterID, .some, _) where !nodeRunning:
            if waitingInvitations.count < 8 {
                waitingInvitations.append(token)
            } else {
                out.append(.respond(.error("the dqlite node is starting"), token: token))
            }
        case .joining(clusterID, .some, _), .formed(clusterID):
            out.append(.respond(.accepted(clusterID), token: token))
        case .fresh, .agreed, .withdrawn, .founding, .joining, .formed, .removed:
            let text = "\(ownLabel) is not bound to the proposal \(agreement.proposal)"
            out.append(
                .respond(.refused(Refusal(.notAgreed, text, view: view(now, for: agreement.clusterName))), token: token)
            )
        }
    }
}
