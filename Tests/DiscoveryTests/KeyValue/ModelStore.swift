import Platform

@testable import Discovery

/// A key-value store as `KeyValueStore` describes it, in virtual time.
struct ModelStore {
    private struct Entry {
        var record: [UInt8]
        var hold: String
    }

    private(set) var leader: StoreSnapshot.Leader?
    private var nodes: [String: Entry] = [:]
    private var holds: [String: BootInstant] = [:]
    private var revision: UInt64 = 0
    private var lastHold = 0
    let lifetime = Duration.seconds(12)
    /// What was written over although it names another cluster than the writer's, and is not the writer's own.
    private(set) var trespasses: [String] = []

    /// - Returns: what the store answers at `now`.
    mutating func perform(_ request: KeeperCore.Request, at now: BootInstant) -> KeeperCore.Answer {
        lapse(at: now)
        switch request {
        case .openHold:
            lastHold += 1
            holds["h\(lastHold)"] = now + lifetime
            return .opened(StoreHold(id: "h\(lastHold)", lifetime: lifetime))
        case .renew(let hold):
            guard holds[hold.id] != nil else { return .accepted(false) }
            holds[hold.id] = now + lifetime
            return .accepted(true)
        case .release(let hold):
            drop(hold.id)
            return .released
        case .read:
            return .read(StoreSnapshot(nodes: nodes.mapValues(\.record), leader: leader))
        case .putNode(let id, let record, let hold):
            guard holds[hold.id] != nil else { return .accepted(false) }
            nodes[id] = Entry(record: record, hold: hold.id)
            return .accepted(true)
        case .putLeader(let record, let version, let hold):
            guard holds[hold.id] != nil, leader?.version == version else { return .accepted(false) }
            check(record, hold)
            revision += 1
            leader = StoreSnapshot.Leader(record: record, version: revision, holdID: hold.id)
            return .accepted(true)
        }
    }

    private mutating func check(_ record: [UInt8], _ hold: StoreHold) {
        guard let old = leader, old.holdID != hold.id, let before = RecordCoding.leader(old.record),
            let after = RecordCoding.leader(record), let cluster = before.clusterID, cluster != after.clusterID
        else { return }
        trespasses.append("\(after.nodeID) of \(after.clusterID ?? "none") over \(before.nodeID) of \(cluster)")
    }

    mutating func lapse(at now: BootInstant) {
        for (id, until) in holds where until <= now { drop(id) }
    }

    private mutating func drop(_ hold: String) {
        holds[hold] = nil
        nodes = nodes.filter { $0.value.hold != hold }
        if leader?.holdID == hold { leader = nil }
    }

    mutating func wipe() {
        holds = [:]
        nodes = [:]
        leader = nil
    }

    /// What rqlite or a person writes: under no hold.
    mutating func writeByHand(_ leader: StoreSnapshot.Leader?) {
        revision += 1
        self.leader = leader.map { .init(record: $0.record, version: revision, holdID: nil) }
    }
}
