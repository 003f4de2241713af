import Platform

/// What a node knows of the others: who answers where, what they said last, and which addresses discovery names.
struct BootstrapKnowledge: Sendable {
    /// What a node said last. Shared and never changed: every message is compared with all of them, and a view is large.
    final class Shown: Sendable {
        let view: NodeView

        init(_ view: NodeView) {
            self.view = view
        }
    }

    /// A node that has answered.
    struct Peer: Sendable {
        let nodeID: NodeID
        var shown: Shown
        /// Where it answered last.
        var address: HostPort
        /// When the request was sent that it answered last.
        var heardAt: BootInstant

        var view: NodeView { shown.view }

        /// It answered within the last `window` nanoseconds.
        func isLive(_ now: BootInstant, _ window: Int64) -> Bool {
            now.nanoseconds - heardAt.nanoseconds <= window
        }
    }

    /// An address that is asked.
    struct Target: Sendable {
        var address: HostPort
        /// Who answered there last.
        var node: NodeID?
        /// A hello is on the way.
        var pending: PeerRequestID?
        var firstAskedAt: BootInstant?
        var sentAt: BootInstant?
        var answeredAt: BootInstant?
        /// It has answered once, or refused, or been silent for the time of a request.
        var settled = false
        /// Named by discovery, a peer or an agreement at the last rebuild, or introduced by a hello since.
        var wanted = true
        /// A node said hello and named this address as its own; forgotten when it does not answer for a while.
        var introducedAt: BootInstant?
    }

    let ownID: NodeID
    let ownAddress: HostPort
    let clusterName: String
    /// Nanoseconds: `BootstrapTiming.hearingWindow`.
    let window: Int64
    private(set) var peers: [Peer] = []
    var targets: [Target] = []
    private(set) var discovered: [HostPort] = []
    /// How many addresses there would be without the bound.
    private(set) var addressCount = 0
    /// Some node has ever said that it is in a formed cluster.
    private(set) var anyFormed = false
    /// The lists of addresses have changed since `rebuild`.
    private(set) var listsChanged = true

    init(ownID: NodeID, ownAddress: HostPort, clusterName: String, window: Duration) {
        self.ownID = ownID
        self.ownAddress = ownAddress
        self.clusterName = clusterName
        self.window = window.inNanoseconds
    }

    func index(of id: NodeID) -> Int? {
        var index = 0
        while index < peers.count {
            if peers[index].nodeID == id { return index }
            index += 1
        }
        return nil
    }

    func peer(_ id: NodeID) -> Peer? {
        index(of: id).map { peers[$0] }
    }

    func targetIndex(_ address: HostPort) -> Int? {
        var index = 0
        while index < targets.count {
            if targets[index].address == address { return index }
            index += 1
        }
        return nil
    }

    mutating func setDiscovered(_ addresses: [HostPort]) {
        guard addresses != discovered else { return }
        discovered = Array(addresses.prefix(NodeView.maximumListed))
        listsChanged = true
    }

    /// What `learn` found out.
    struct News {
        /// The node was not heard within the window before.
        var isNew = false
        /// Something that matters to decisions differs from before.
        var changed = false
    }

    /// Takes in the answer of a node to a request that was sent to `address` at `sentAt`.
    mutating func learn(_ view: NodeView, from address: HostPort, sentAt: BootInstant, now: BootInstant) -> News {
        if let target = targetIndex(address) {
            targets[target].answeredAt = now
            targets[target].settled = true
            if targets[target].node != view.nodeID { targets[target].node = view.nodeID }
        }
        guard view.nodeID != ownID else { return News() }
        guard let index = index(of: view.nodeID) else {
            guard makeRoom(now) else { return News() }
            peers.append(
                Peer(
                    nodeID: view.nodeID, shown: Shown(view), address: address, heardAt: sentAt))
            listsChanged = true
            if view.phase == .formed { anyFormed = true }
            return News(isNew: true, changed: true)
        }
        var news = News(isNew: !peers[index].isLive(now, window))
        news.changed = update(index, view) || news.isNew
        if sentAt >= peers[index].heardAt {
            peers[index].heardAt = sentAt
            if peers[index].address != address { peers[index].address = address }
        }
        return news
    }

    /// Takes in what a node says when it asks. It does not count as heard by that: it may be out of our reach.
    ///
    /// - Returns: whether something that matters to decisions differs from before.
    mutating func introduce(_ view: NodeView, now: BootInstant) -> Bool {
        guard view.nodeID != ownID else { return false }
        if let target = targetIndex(view.address) {
            targets[target].introducedAt = now
        } else if targets.count < NodeView.maximumListed {
            targets.append(Target(address: view.address, introducedAt: now))
        }
        guard let index = index(of: view.nodeID) else { return false }
        return update(index, view)
    }

    private mutating func update(_ index: Int, _ view: NodeView) -> Bool {
        let old = peers[index].shown
        // A message that was overtaken must not undo what is known for sure.
        if view.generation < old.view.generation { return false }
        if old.view.phase == .formed && view.phase != .formed { return false }
        let sameLists = old.view.heard == view.heard && old.view.discovered == view.discovered
        if sameLists && !Self.matters(old, view) { return false }
        if !sameLists { listsChanged = true }
        peers[index].shown = Shown(view)
        if view.phase == .formed { anyFormed = true }
        return true
    }

    private static func matters(_ shown: Shown, _ new: NodeView) -> Bool {
        shown.view.phase != new.phase || shown.view.ready != new.ready || shown.view.dqliteID != new.dqliteID
            || shown.view.generation != new.generation || shown.view.proposal != new.proposal
            || shown.view.clusterID != new.clusterID
            || shown.view.expect != new.expect || shown.view.address != new.address
            || shown.view.clusterName != new.clusterName
            || shown.view.nonVoter != new.nonVoter || shown.view.leader != new.leader
    }

    /// Drops a node that was not heard for long when the table is full; false when all of them are alive.
    private mutating func makeRoom(_ now: BootInstant) -> Bool {
        if peers.count < NodeView.maximumListed { return true }
        guard let index = peers.firstIndex(where: { !$0.isLive(now, window) }) else { return false }
        peers.remove(at: index)
        return true
    }

    /// The nodes heard now, sorted by id, for our view.
    func heard(_ now: BootInstant) -> [NodeView.Heard] {
        var list: [NodeView.Heard] = []
        for peer in peers where peer.isLive(now, window) {
            list.append(NodeView.Heard(nodeID: peer.nodeID, address: peer.address))
        }
        list.sort { $0.nodeID < $1.nodeID }
        return list
    }

    /// Brings the targets in line with what discovery, the peers and `extra` name. First-hand knowledge only: what a peer
    /// has itself discovered or heard; so an address that is gone everywhere is forgotten everywhere.
    mutating func rebuild(extra: [HostPort], now: BootInstant) {
        listsChanged = false
        var index = 0
        while index < targets.count {
            let introduced = targets[index].introducedAt
            targets[index].wanted = introduced.map { now.nanoseconds - $0.nanoseconds < 10_000_000_000 } ?? false
            index += 1
        }
        var dropped = 0
        func want(_ address: HostPort) {
            if let index = targetIndex(address) {
                targets[index].wanted = true
            } else if targets.count < NodeView.maximumListed {
                targets.append(Target(address: address))
            } else {
                dropped += 1
            }
        }
        for address in discovered { want(address) }
        for address in extra { want(address) }
        for peer in peers where peer.isLive(now, window) {
            want(peer.address)
            guard peer.shown.view.clusterName == clusterName else { continue }
            for address in peer.shown.view.discovered { want(address) }
            for heard in peer.shown.view.heard where heard.nodeID != ownID { want(heard.address) }
        }
        targets.removeAll { !$0.wanted && $0.pending == nil }
        addressCount = targets.count + dropped
    }

    /// How many nodes and addresses are known that could found a cluster and are not in `members`: nodes that answer, and
    /// addresses that a discovery (ours or that of a node that answers) names and where nobody answers. Two addresses at
    /// which the same node answered count once; a node that never founds, or has another cluster name, does not count.
    func strangers(to members: [FoundingMember], now: BootInstant) -> Int {
        var nodes: [NodeID] = []
        var addresses: [HostPort] = []
        func isMember(_ id: NodeID) -> Bool {
            for member in members where member.nodeID == id { return true }
            return id == ownID
        }
        func count(_ address: HostPort) {
            if address == ownAddress { return }
            for member in members where member.address == address { return }
            if let node = answering(address, now) {
                if isMember(node) || nodes.contains(node) { return }
                if let known = index(of: node), !couldFound(peers[known].shown) { return }
                nodes.append(node)
            } else if !addresses.contains(address) {
                addresses.append(address)
            }
        }
        for address in discovered { count(address) }
        for peer in peers where peer.isLive(now, window) && peer.shown.view.clusterName == clusterName {
            for address in peer.shown.view.discovered { count(address) }
            if couldFound(peer.shown), !isMember(peer.nodeID), !nodes.contains(peer.nodeID) {
                nodes.append(peer.nodeID)
            }
        }
        return nodes.count + addresses.count
    }

    /// Who answers at the address. What is silent counts as an address of its own: another node may have taken it over.
    private func answering(_ address: HostPort, _ now: BootInstant) -> NodeID? {
        guard let index = targetIndex(address), let node = targets[index].node, let at = targets[index].answeredAt
        else {
            return nil
        }
        if node == ownID { return node }
        return now.nanoseconds - at.nanoseconds <= 2 * window ? node : nil
    }

    private func couldFound(_ shown: Shown) -> Bool {
        shown.view.clusterName == clusterName && shown.view.expect != nil && !shown.view.nonVoter
    }

    /// Until when to wait for addresses that were asked and have not answered even once; the past when there are none.
    func unsettledUntil(_ patience: Duration) -> BootInstant {
        var last = BootInstant(nanoseconds: .min / 4)
        for target in targets where !target.settled && target.address != ownAddress {
            if let asked = target.firstAskedAt { last = max(last, asked) }
        }
        return last.advanced(by: patience)
    }

    /// Discovered addresses at which nobody answered within the window.
    func unanswered(_ now: BootInstant) -> [HostPort] {
        discovered.filter { address in
            if address == ownAddress { return false }
            guard let index = targetIndex(address), let at = targets[index].answeredAt else { return true }
            return now.nanoseconds - at.nanoseconds > 2 * window
        }
    }
}
