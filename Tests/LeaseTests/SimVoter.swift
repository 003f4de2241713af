import Lease
import Platform

@testable import Lease

/// What passes between two nodes: raft's frames, what their relays say to each other, and the questions of a hand-over.
enum SimMessage: BitwiseCopyable {
    /// `sentAt` is the sender's clock, which only the sender reads again.
    case frame(SimFrame, incarnation: UInt32, sentAt: BootInstant, wantsPromise: Bool, acknowledging: PeerMessage?)
    /// `to` is the process that is meant, where a connection of it is answered; 0 for whichever is there.
    case said(PeerMessage, incarnation: UInt32, to: UInt32)
    /// Can you take the lead of that term? `isMade`: expect it.
    case offer(term: UInt64, isMade: Bool, isHolder: Bool, incarnation: UInt32)
    /// The sender's votes are kept back for so long, by its clock.
    case ready(term: UInt64, heldFor: Int64, isMade: Bool, to: UInt32)
    /// The sender has the address, as the successor in that term.
    case tookOver(term: UInt64)
}

struct SimFrame: BitwiseCopyable {
    enum Kind: BitwiseCopyable {
        /// The entries of the log `last` after `previous`.
        case append(previous: SimLog.Entry, last: SimLog.Entry, commit: Int32)
        /// `previous` is that of a request which was refused.
        case appended(success: Bool, last: Int32, previous: Int32)
        case requestVote(log: SimLog.Entry, disrupts: Bool, isPreVote: Bool)
        case vote(granted: Bool, isPreVote: Bool)
        case timeoutNow(LogPosition)
    }

    var term: UInt64
    var kind: Kind
}

/// A host with a raft node, its relay, its disk, and its kernel, which may have the address.
final class SimVoter {
    enum Role { case follower, candidate, leader }

    let id: Int
    /// The host's clock: rate and offset against real time.
    let rate: Double
    let offset: Int64

    // The disk.
    var term: UInt64 = 0
    var votedFor: Int?
    var stored: SimLog.Entry = 0

    // The process.
    var isUp = true
    var incarnation: UInt32 = 1
    var pausedUntil: Int64 = 0

    // The raft node.
    var role = Role.follower
    var leader: Int?
    var isPreVoting = false
    var votes = SimVoters()
    var log: SimLog.Entry = 0
    /// The voters that it goes by, and where the entry stands that names them while that is not committed.
    var voters = SimVoters()
    var uncommittedAt: Int32 = 0
    /// The first entry that it has appended in the term that it leads; 0 before.
    var termStart: Int32 = 0
    var next: [Int32]
    var match: [Int32]
    var contactAt: [Int64]
    var commit: Int32 = 0
    /// While entries are on their way to the disk.
    var writesUntil: Int64 = 0
    /// Whom it asks to take the lead: also when it does not lead any more.
    var transfer: (to: Int, until: Int64, isTold: Bool)?
    /// What the election timer runs from, and how long.
    var timerStart: Int64 = 0
    var timeout: Int64 = 0

    // The relay.
    var core: RelayCore
    var held: [VoteTicket: (to: Int, frame: SimFrame)] = [:]
    /// When the relay is to be looked at again.
    var wakeAt: Int64 = .max
    /// How many times the members were asked for.
    var readings: UInt64 = 0
    /// Sockets between node and relay keep the order, each for itself.
    var outAt: [Int64]
    var inAt: [Int64]

    // The daemon: what it was told, as the lease is published; hand-over and address.
    var leaseEnd: BootInstant?
    /// The term whose configuration it has read.
    var configuredTerm: UInt64 = 0
    var giving: (term: UInt64, successor: Int)?
    var expected: (term: UInt64, from: Int, until: BootInstant, isHolder: Bool)?
    var askedToStand: (by: Int, term: UInt64, at: BootInstant)?
    /// When the address was set, under which term; nil: not set.
    var placed: UInt64?
    /// It asks the LAN: the answers until then decide.
    var probesUntil: Int64 = .max
    /// Since when it seeks the address.
    var soughtSince: Int64 = 0
    /// Daemon and guard are dead: until when the kernel has the address.
    var leftUntil: Int64 = 0
    /// Its configuration may be one that was never committed: until the log is committed up to there.
    var doubtsUpTo: Int32 = 0

    init(id: Int, count: Int, rate: Double, offset: Int64, voters: SimVoters, core: RelayCore) {
        self.id = id
        self.rate = rate
        self.offset = offset
        self.core = core
        self.voters = voters
        next = [Int32](repeating: 1, count: count)
        match = [Int32](repeating: 0, count: count)
        contactAt = [Int64](repeating: 0, count: count)
        outAt = [Int64](repeating: 0, count: count)
        inAt = outAt
    }

    func local(_ now: Int64) -> BootInstant {
        BootInstant(nanoseconds: offset + Int64(Double(now) * rate))
    }

    /// When the host's clock will show `instant`.
    func real(_ instant: BootInstant) -> Int64 {
        instant.nanoseconds == .max ? .max : Int64(Double(instant.nanoseconds - offset) / rate) + 1
    }

    /// Whether it may hold what it guards: a crash ends that at once, a pause does not (the guard keeps the deadline).
    func hasLease(_ now: Int64) -> Bool {
        guard isUp, let end = core.lease.end(now: local(now)) else { return false }
        return local(now) < end
    }

    /// Whether it keeps the address for the moment that a hand-over takes.
    func gives(_ now: Int64) -> Bool { isUp && core.lease.kept(now: local(now)) != nil }
}
