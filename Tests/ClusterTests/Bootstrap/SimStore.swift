import Platform

@testable import Cluster

/// A store with check-and-set as the founding by claim sees it: one leader key with a lifetime, and questions to it that
/// are slow or get lost, before or after they took effect.
struct SimStore {
    struct Key {
        var holder: Int
        var clusterID: ClusterID?
        var until: Int64
    }

    /// How long the key lives after its last renewal; nanoseconds.
    static let lifetime: Int64 = 700_000_000

    var key: Key?
    /// Formed clusters whose key lapsed, because no leader of theirs was up for so long: the store has taken them for
    /// dead, and whoever claims then founds another. That is what a key that lapses means, and no fault of the core.
    var lapsed: [ClusterID] = []
}

extension Simulation {
    /// Asks the store, as the shell does for `.claimFounding`.
    mutating func claim(_ index: Int, _ clusterID: ClusterID?) {
        let incarnation = hosts[index].incarnation
        let isLost = !calm && random.below(1000) < schedule.loss
        if !isLost || random.below(2) == 0 {
            let delay = 500_000 + Int64(random.below(calm ? 2_000_000 : 60_000_000))
            post(.claim(clusterID, host: index, incarnation: incarnation, askedAt: now, answers: !isLost), delay)
        }
        if isLost {
            post(.event(.claimFailed(reason: "lost"), host: index, incarnation: incarnation), 200_000_000)
        }
    }

    /// The question arrives. It takes effect even if who asked is dead by now.
    mutating func answerClaim(
        _ clusterID: ClusterID?, _ index: Int, _ incarnation: Int, askedAt: Int64, answers: Bool
    ) {
        expireKey()
        let isOurs = store.key.map { $0.holder == index } ?? true
        if isOurs { setKey(SimStore.Key(holder: index, clusterID: clusterID, until: now + SimStore.lifetime)) }
        guard answers else { return }
        let event: BootstrapEvent =
            isOurs
            ? .claimHeld(clusterID, until: BootInstant(nanoseconds: askedAt + SimStore.lifetime))
            : .claimTaken(by: hosts[store.key?.holder ?? index].address)
        post(.event(event, host: index, incarnation: incarnation), latencyOfStore())
    }

    /// The leader of each formed cluster reports itself.
    mutating func reportLeaders() {
        expireKey()
        for group in raft.groups where group.formed {
            guard let leader = group.leader, hosts[leader].isUp, let clusterID = group.clusterID else { continue }
            if store.key == nil || store.key?.clusterID == clusterID || store.key?.holder == leader {
                setKey(SimStore.Key(holder: leader, clusterID: clusterID, until: now + SimStore.lifetime))
            }
        }
    }

    private mutating func setKey(_ key: SimStore.Key) {
        store.key = key
    }

    private mutating func expireKey() {
        guard let key = store.key, key.until <= now else { return }
        trace?("\(time) the leader key of n\(key.holder) lapses")
        store.key = nil
        if let clusterID = key.clusterID,
            raft.groups.contains(where: { $0.formed && $0.clusterID == clusterID })
        {
            store.lapsed.append(clusterID)
        }
    }

    private mutating func latencyOfStore() -> Int64 { 500_000 + Int64(random.below(calm ? 1_000_000 : 40_000_000)) }
}
