import Platform

/// Why the leader key is left as it is although this node leads, or wants to found.
struct LeaderProblem: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// Another cluster's.
        case otherCluster(String)
        /// A node that founds a cluster, or a program that knows no cluster ids, keeps it alive.
        case nameless
        /// What stands there is not a record.
        case unreadable
        /// This node wants to found, and what stands there is kept alive by nobody.
        case stale
    }

    var kind: Kind
    /// The record there, when it is one.
    var record: DiscoveryAnnouncement.LeaderRecord?
    /// Whether the key goes by itself when its holder does.
    var isHeld: Bool

    /// Whether a person who knows of `old` should be told; another leader of that other cluster is not news.
    func isNews(after old: LeaderProblem?) -> Bool { old?.kind != kind || old?.isHeld != isHeld }

    /// For a person, with the way out.
    func message(of clusterID: String?, in store: some KeyValueStore) -> String {
        let key = store.fullName("leader")
        let way = "delete the key with `\(store.deleteLeaderCommand)`"
        let holder = record.map { "node \($0.nodeID) at \($0.address)" } ?? "somebody"
        switch kind {
        case .otherCluster(let other):
            let lapse = isHeld ? "" : ", and it will not lapse by itself, because it is under no lease or session"
            return "the key \(key) in \(store.place) names the leader of cluster \(other), not of ours, "
                + "\(clusterID ?? "which has no id yet"), and is left alone\(lapse): if that cluster is gone for good, "
                + "\(way); if not, give one of the two another --disco-key"
        case .nameless where isHeld:
            return "the key \(key) in \(store.place) is the claim of \(holder) to found a cluster, and is left alone: "
                + "it goes when that node joins ours or stops; if it is not to join, give it another --disco-key"
        case .nameless:
            return "the key \(key) in \(store.place) is written again and again for \(holder), without a lease or a "
                + "cluster id, as rqlite does it, and is left alone: use another --disco-key"
        case .stale:
            return "the key \(key) in \(store.place) names \(holder) as leader"
                + (record?.clusterID.map { " of cluster \($0)" } ?? "")
                + ", so no cluster is founded, and it will not lapse by itself, because it is under no lease or session: if "
                + "that cluster is gone for good, \(way); if not, and it is not to be joined, use another --disco-key"
        case .unreadable:
            let lapse = isHeld ? "" : ", and it will not lapse by itself"
            return "the key \(key) in \(store.place) holds something that is no record of a leader, and is left "
                + "alone\(lapse): if nobody needs it, \(way); if somebody does, use another --disco-key"
        }
    }
}

extension KeeperCore {
    /// What the leader of a formed cluster does about the key as it was read.
    mutating func decide(
        _ ours: LeaderRecord, _ bytes: [UInt8], _ hold: StoreHold, _ key: StoreSnapshot.Leader?
    ) {
        defer { if leaderKey == .settled { conflicts = 0 } }
        guard let key else { return leaderKey = .write(replacing: nil) }
        if key.holdID == hold.id {
            // Whatever it says, it is of our making.
            leaderKey = key.record == bytes ? .settled : .write(replacing: key.version)
            setProblem(nil)
            return
        }
        guard let there = RecordCoding.leader(key.record) else { return refuse(.unreadable, nil, key) }
        guard let other = there.clusterID else { return decideNameless(ours, there, key) }
        guard other == ours.clusterID else { return refuse(.otherCluster(other), there, key) }
        setProblem(nil)
        // With a higher term there we are deposed, and about to learn of it.
        let isOlder = there.nodeID == ours.nodeID || (there.term ?? 0) <= (ours.term ?? 0) || !key.isHeld
        leaderKey = isOlder ? .write(replacing: key.version) : .settled
    }

    /// The claim of a node that founds a cluster, or a record of rqlite's.
    private mutating func decideNameless(_ ours: LeaderRecord, _ there: LeaderRecord, _ key: StoreSnapshot.Leader) {
        if there.nodeID == ours.nodeID {
            leaderKey = .write(replacing: key.version)
        } else if key.isHeld || replacedLeader {
            // A record under no hold that comes back after it was replaced has a living writer.
            refuse(.nameless, there, key)
        } else {
            leaderKey = .write(replacing: key.version)
            replacedLeader = true
            note(.replacedLeader(there))
        }
    }

    private mutating func refuse(_ kind: LeaderProblem.Kind, _ record: LeaderRecord?, _ key: StoreSnapshot.Leader) {
        leaderKey = .settled
        setProblem(LeaderProblem(kind: kind, record: record, isHeld: key.isHeld))
    }
}
