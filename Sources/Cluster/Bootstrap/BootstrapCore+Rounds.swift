import Platform

/// Hellos, and what is learnt from them.
extension BootstrapCore {
    // MARK: our own view

    /// What this node says of itself.
    mutating func view(_ now: BootInstant) -> NodeView {
        if let cachedView { return cachedView }
        let view = NodeView(
            nodeID: record.nodeID, name: options.name, dqliteID: record.dqliteID, generation: record.generation,
            address: record.address, clusterName: record.clusterName, expect: options.expect,
            nonVoter: options.nonVoter, phase: phase, clusterID: record.clusterID, proposal: boundTo?.proposal,
            founder: boundTo?.founder, ready: announcedReady, heard: cachedHeard, discovered: knowledge.discovered,
            leader: leader)
        cachedView = view
        return view
    }

    private var phase: NodeView.Phase {
        switch record.state {
        case .fresh: .fresh
        case .agreed: .agreed
        case .withdrawn: .withdrawn
        case .founding: .founding
        // To others it is a node that cannot be counted on, and founds nothing.
        case .joining, .removed: .joining
        case .formed: .formed
        }
    }

    /// The agreement that this node holds to; not the one that it has withdrawn from.
    private var boundTo: Agreement? {
        if case .withdrawn = record.state { return nil }
        return record.agreement
    }

    var ownLabel: NodeLabel { NodeLabel(name: options.name, nodeID: record.nodeID, address: record.address) }

    static func label(_ view: NodeView) -> NodeLabel {
        NodeLabel(name: view.name, nodeID: view.nodeID, address: view.address)
    }

    /// Changes what is on disk, and everything that follows from it.
    mutating func persist() {
        cachedView = nil
        readinessStale = true
        out.append(.persist(record))
    }

    // MARK: rounds

    mutating func roundSoon(_ now: BootInstant) {
        nextRound = min(nextRound, max(now, lastRound.advanced(by: options.timing.earlyRound)))
    }

    /// Asks every address that is known, all at once.
    mutating func round(_ now: BootInstant) {
        lastRound = now
        nextRound = now.advanced(by: random.duration(options.timing.round))
        expire(now)
        refreshHeard(now)
        if options.mode == .single, record.agreement?.members.count == 1 { return }
        if knowledge.listsChanged || knowledge.targets.isEmpty {
            var extra: [HostPort] = []
            for member in record.agreement?.members ?? [] where member.nodeID != record.nodeID {
                extra.append(member.address)
            }
            knowledge.rebuild(extra: extra, now: now)
            if knowledge.addressCount > NodeView.maximumListed { warn(.tooManyAddresses(knowledge.addressCount)) }
        }
        // Nobody to ask yet: the first address that comes up is asked at once.
        if knowledge.targets.isEmpty { lastRound = now.advanced(by: .zero - options.timing.earlyRound) }
        var index = 0
        while index < knowledge.targets.count {
            sayHello(index, now)
            index += 1
        }
        evaluateReadiness(now)
        updateWaiting(now)
    }

    private mutating func sayHello(_ index: Int, _ now: BootInstant) {
        guard knowledge.targets[index].pending == nil else { return }
        if knowledge.targets[index].node == record.nodeID, let at = knowledge.targets[index].answeredAt,
            at.duration(to: now) < .seconds(10)
        {
            return
        }
        let request = PeerRequest.hello(view(now))
        let id = send(
            request, .hello, to: knowledge.targets[index].address, within: options.timing.helloTimeout, now)
        knowledge.targets[index].pending = id
        knowledge.targets[index].sentAt = now
        if knowledge.targets[index].firstAskedAt == nil { knowledge.targets[index].firstAskedAt = now }
    }

    /// A node that we do not hear said hello: answer it with a hello of our own, so that it is heard within one trip.
    mutating func helloBack(_ view: NodeView, _ now: BootInstant) {
        guard !isFormed, view.nodeID != record.nodeID, let index = knowledge.targetIndex(view.address) else { return }
        if let peer = knowledge.peer(view.nodeID), peer.isLive(now, knowledge.window) { return }
        if let at = knowledge.targets[index].sentAt, at.advanced(by: options.timing.earlyRound) > now { return }
        sayHello(index, now)
    }

    mutating func send(
        _ request: PeerRequest, _ kind: Sent.Kind, to address: HostPort, within: Duration, _ now: BootInstant
    ) -> PeerRequestID {
        let id = nextRequestID
        nextRequestID += 1
        // The shell reports within the time; this is for a report that got lost.
        sent.append(Sent(id: id, kind: kind, at: now, expires: now.advanced(by: within + .milliseconds(100))))
        out.append(.send(request, to: address, id: id, within: within))
        return id
    }

    private mutating func expire(_ now: BootInstant) {
        var index = 0
        while index < sent.count {
            if sent[index].expires > now {
                index += 1
                continue
            }
            let lost = sent.remove(at: index)
            ended(lost, now)
        }
    }

    /// A request got no answer.
    private mutating func ended(_ request: Sent, _ now: BootInstant) {
        switch request.kind {
        case .hello: release(request.id)
        case .abort: break
        case .propose(let node, let proposal): proposeFailed(node, proposal, now)
        case .invite(let node, let clusterID): inviteFailed(node, clusterID, now)
        case .join: joinFailed(now)
        }
    }

    private mutating func release(_ id: PeerRequestID) {
        var index = 0
        while index < knowledge.targets.count {
            if knowledge.targets[index].pending == id {
                knowledge.targets[index].pending = nil
                knowledge.targets[index].settled = true
            }
            index += 1
        }
    }

    private mutating func take(_ id: PeerRequestID) -> Sent? {
        var index = 0
        while index < sent.count {
            if sent[index].id == id { return sent.remove(at: index) }
            index += 1
        }
        return nil
    }

    mutating func failed(_ id: PeerRequestID, at address: HostPort, _ reason: String, _ now: BootInstant) {
        guard let request = take(id) else { return }
        ended(request, now)
    }

    mutating func received(_ reply: PeerReply, to id: PeerRequestID, from address: HostPort, _ now: BootInstant) {
        guard let request = take(id) else { return }
        if request.kind == .hello { release(id) }
        switch reply {
        case .view(let view):
            learn(view, request, from: address, now)
        case .refused(let refusal):
            if let view = refusal.view { learn(view, request, from: address, now) }
        case .agreed, .accepted, .joined, .redirect, .error:
            break
        }
        switch request.kind {
        case .hello, .abort: break
        case .propose(let node, let proposal): proposeAnswered(node, proposal, reply, from: address, now)
        case .invite(let node, let clusterID): inviteAnswered(node, clusterID, reply, from: address, now)
        case .join(let clusterID): joinAnswered(clusterID, reply, from: address, now)
        }
    }

    /// Takes in the view of a node that answered.
    private mutating func learn(_ view: NodeView, _ request: Sent, from address: HostPort, _ now: BootInstant) {
        if view.nodeID == record.nodeID, view.address != record.address {
            warn(.copiedIdentity(record.nodeID, view.address))
        }
        let news = knowledge.learn(view, from: address, sentAt: request.at, now: now)
        if news.isNew { roundSoon(now) }
        if news.changed {
            refreshHeard(now)
            readinessStale = true
            compareOptions(view)
        }
        if !rules.wordAfterPromise || request.id >= boundSince { considerWord(of: view, now) }
        if readinessStale, case .fresh = record.state { evaluateReadiness(now) }
    }

    /// Keeps the list of heard nodes as it is while it is right, so that views stay equal and cheap.
    private mutating func refreshHeard(_ now: BootInstant) {
        let heard = knowledge.heard(now)
        guard heard != cachedHeard else { return }
        cachedHeard = heard
        cachedView = nil
        readinessStale = true
    }

    /// I4: a disagreement is said, with both values and both nodes.
    private mutating func compareOptions(_ other: NodeView) {
        if other.clusterName != record.clusterName {
            warn(.clusterName(here: ownLabel, record.clusterName, there: Self.label(other), other.clusterName))
        } else if other.phase != .formed, let mine = options.expect, let theirs = other.expect, mine != theirs {
            warn(.expect(here: ownLabel, mine, there: Self.label(other), theirs))
        }
    }

    // MARK: messages for people

    mutating func warn(_ warning: BootstrapWarning) {
        guard !warned.contains(warning) else { return }
        if warned.count >= 256 { warned.removeFirst() }
        warned.append(warning)
        out.append(.warn(warning))
    }

    mutating func say(_ waiting: BootstrapWaiting?) {
        guard waiting != lastWaiting else { return }
        lastWaiting = waiting
        out.append(.waiting(waiting))
    }

    private mutating func updateWaiting(_ now: BootInstant) {
        switch record.state {
        case .fresh:
            say(whyNotFounding(now))
        case .agreed(let agreement):
            if let proposing {
                say(.agreement(missing: proposing.others.filter { !$0.agreed }.map(\.member.address)))
            } else {
                say(.founder(agreement.member(agreement.founder)?.address ?? record.address))
            }
        case .withdrawn(let agreement):
            say(
                .withdrawn(
                    founder: agreement.member(agreement.founder)?.address ?? record.address,
                    left: losses(of: agreement), needed: agreement.fatalLosses,
                    silent: agreement.members.filter { !isHeard($0.nodeID, now) }.map(\.address)))
        case .founding(let agreement, _, _):
            if let duties {
                say(
                    .members(
                        present: duties.members.count { $0.isMember || $0.accepted }, needed: agreement.majority,
                        missing: duties.members.filter { !$0.isMember && !$0.accepted }.map(\.member.address)))
            } else {
                say(.formation(record.clusterID ?? ClusterID(high: 0, low: 0), founder: record.address))
            }
        case .joining(let clusterID, let agreement, _):
            if let agreement, formedPeer(of: clusterID, now) == nil {
                say(
                    .formation(
                        clusterID, founder: agreement.member(agreement.founder)?.address ?? record.address))
            } else {
                say(.admission(clusterID, via: formedPeer(of: clusterID, now)?.address))
            }
        case .formed:
            say(nil)
        case .removed(let clusterID, let removal):
            say(.removed(clusterID, removal))
        }
    }

    private func isHeard(_ id: NodeID, _ now: BootInstant) -> Bool {
        id == record.nodeID || knowledge.peer(id).map { $0.isLive(now, knowledge.window) } ?? false
    }

    private func whyNotFounding(_ now: BootInstant) -> BootstrapWaiting {
        let several = formedClusters(now)
        if several.count > 1 { return .severalClusters(several) }
        if options.mode == .claim, !options.nonVoter, let why = whyNotClaimed(now) { return why }
        guard let expect = options.expect else {
            return .noClusterFound(clusterName: record.clusterName, unanswered: knowledge.unanswered(now))
        }
        let candidates = knowledge.peers.filter {
            Self.isCandidate($0, record, expect) && $0.isLive(now, knowledge.window)
        }
        let found = [ownLabel] + candidates.map { Self.label($0.view) }
        let unanswered = knowledge.unanswered(now)
        if found.count < expect { return .tooFewNodes(found: found, expect: expect, unanswered: unanswered) }
        if connectedCount < expect { return .notMutual(found: found, connected: connectedCount, expect: expect) }
        guard readySet != nil else {
            let known = 1 + knowledge.strangers(to: [], now: now)
            return .noMajorityOfKnown(found: found, known: known, unanswered: unanswered)
        }
        return .proposal(by: proposer(now).map(Self.label) ?? ownLabel)
    }
}
