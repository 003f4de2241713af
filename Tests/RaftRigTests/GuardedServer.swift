import Platform
import RaftRig

@testable import Lease

/// One server of the rig, and the relay between it and the others.
final class GuardedServer {
    let id: Int
    /// Of its process; 0 before the first.
    var incarnation: UInt64 = 0
    var isUp = false
    /// What its clock is ahead of the test's.
    let offset: Int64
    /// nil while it is down, and where nobody guards.
    var core: RelayCore?
    var held: [VoteTicket: rig_message] = [:]
    /// The newest process of each other server that was met, by its id less one.
    var met: [UInt64]
    /// When a reading of the members begins, and one that is under way.
    var readsAt = Int64.max
    var reading: (reading: RelayCore.Reading, voters: [VoterID], until: Int64)?
    var readings: UInt64 = 0
    /// When the disk ends what it has been given.
    var diskAt: [Int64] = []
    var isDiskParked = false
    var alarms: [RelayAlarm] = []
    var declined: [UInt64] = []

    init(id: Int, count: Int) {
        self.id = id
        offset = Int64(id) * 1_000_000_000_000
        met = [UInt64](repeating: 0, count: count)
    }

    var process: VoteGate.LeaderProcess { VoteGate.LeaderProcess(voter: VoterID(id), incarnation: incarnation) }

    func local(_ now: Int64) -> BootInstant { BootInstant(nanoseconds: now + offset) }

    /// Until when it has a lease by the test's clock; nil when it has none now.
    func lease(_ now: Int64) -> Int64? {
        guard let end = core?.lease.end(now: local(now)), end > local(now) else { return nil }
        return end.nanoseconds == .max ? .max : end.nanoseconds - offset
    }
}
