import Platform
import RaftRig
import Testing

@testable import Lease

/// A cluster by hand: time stands still but for `elapse`, and what is not parked happens at once.
extension RigCluster {
    /// A cluster whose servers all run, and whose relays do not stand for election by themselves.
    static func running(
        _ roles: [Rig.Role], guarded: Bool, _ change: (inout RelayCore.Rules) -> Void = { _ in }
    ) throws -> RigCluster {
        var rules = RelayCore.Rules()
        rules.succeeds = false
        change(&rules)
        let cluster = try RigCluster(roles, guardedBy: guarded ? rules : nil)
        for server in cluster.servers { try cluster.start(server.id) }
        return cluster
    }

    static func voters(
        _ count: Int, guarded: Bool, _ change: (inout RelayCore.Rules) -> Void = { _ in }
    ) throws -> RigCluster {
        try running([Rig.Role](repeating: .voter, count: count), guarded: guarded, change)
    }

    // MARK: - Links and disks

    private func wires(_ from: Int, _ to: Int) -> [Int] { [lane(.wire, from, to), lane(.answer, from, to)] }

    /// What goes from one host to another stays on its way.
    func park(_ from: Int, _ to: Int...) { for to in to { parked.formUnion(wires(from, to)) } }

    /// It goes on.
    func unpark(_ from: Int, _ to: Int...) { for to in to { parked.subtract(wires(from, to)) } }

    /// What is on its way is lost.
    func lose(_ from: Int, _ to: Int...) {
        for to in to {
            lose(.wire, from, to)
            lose(.answer, from, to)
        }
    }

    /// Nothing passes but within one of the groups; what is on its way between them is lost, now and when they are joined again.
    func split(_ groups: [Int]...) {
        parked = []
        for from in 1...count {
            for to in 1...count where from != to {
                lose(from, to)
                if !groups.contains(where: { $0.contains(from) && $0.contains(to) }) { park(from, to) }
            }
        }
    }

    func join() {
        for lane in parked {
            let place = place(ofLane: lane)
            lose(place.way, place.from, place.to)
        }
        parked = []
    }

    // MARK: - Time

    func elapse(milliseconds: Int64) { now += milliseconds * Self.ms }

    /// All that can happen now happens, or what comes before something.
    func settle(until condition: () -> Bool = { false }) {
        for _ in 0..<10_000 {
            if condition() || !step() { return }
        }
        Issue.record("the cluster does not come to rest")
    }

    private func step() -> Bool {
        for lane in lanes.indices where !lanes[lane].isEmpty && !parked.contains(lane) {
            advance(lane)
            return true
        }
        for server in servers where server.isUp {
            if !server.diskAt.isEmpty, !server.isDiskParked {
                write(server.id)
                return true
            }
            if server.readsAt <= now || server.reading != nil {
                readMembers(server.id)
                return true
            }
            if let wake = server.core?.nextWake, wake <= server.local(now) {
                due(server.id)
                return true
            }
        }
        if let position = ends.firstIndex(where: { $0.at <= now }) {
            endsConnection(position)
            return true
        }
        if let position = probes.firstIndex(where: { $0.at <= now }) {
            answersProbe(position)
            return true
        }
        return false
    }

    /// The next heartbeats of a leader, and what follows from them.
    func beat(_ id: Int, times: Int = 1) {
        for _ in 0..<times {
            elapse(milliseconds: 45)
            tick(id)
            settle()
        }
    }

    /// A second passes in which nobody hears anything. Then the server stands, and gets the votes of those others; if they have
    /// voted in its term already, once more.
    func elect(_ id: Int, by others: Int...) {
        for _ in 0..<6 {
            elapse(milliseconds: 1000)
            for other in others { canVote(other) }
            tick(id)
            settle()
            if rig.isLeader(id) { return }
        }
        Issue.record("server \(id) is not elected")
    }

    /// A follower gives its leader up, after a second without one, and nobody hears of it.
    func canVote(_ id: Int) {
        guard rig.role(id) == RIG_FOLLOWER else { return }
        tick(id)
        for to in 1...count { lose(.out, id, to) }
    }

    // MARK: - Reading

    func term(_ id: Int) -> UInt64 { rig.state(id).term }
    func committed(_ id: Int) -> UInt64 { rig.state(id).committed }

    /// The terms of the log on a disk.
    func terms(onDiskOf id: Int) -> [UInt64] {
        (0..<rig.disk(id).last_index).compactMap { rig.diskLog(id, $0 + 1)?.term }
    }

    /// The first message that waits on a lane.
    func first(_ way: Way, _ from: Int, _ to: Int) -> rig_message? {
        guard case .frame(let message, _, _, _) = lanes[lane(way, from, to)].first?.content else { return nil }
        return message
    }

    /// Takes the first message that waits on a lane away.
    func takeFirst(_ way: Way, _ from: Int, _ to: Int) -> rig_message? {
        let message = first(way, from, to)
        removeFirst(lane(way, from, to))
        return message
    }
}
