import Lease
import Platform

@testable import struct Lease.VoteGate

/// What passes between two nodes: raft's frames, and what their relays say to each other.
enum SimMessage: BitwiseCopyable {
    /// `sentAt` is the sender's clock, which only the sender reads again.
    case frame(SimFrame, incarnation: UInt32, sentAt: Int64, wantsPromise: Bool)
    case acknowledged(term: UInt64, incarnation: UInt32, sentAt: Int64)
    case released(upTo: Int64, incarnation: UInt32)
    case asked(term: UInt64)
    case silent(term: UInt64)
    case stands(term: UInt64)
}

struct SimFrame: BitwiseCopyable {
    enum Kind: BitwiseCopyable {
        /// The entries of the log `last` after `previous`.
        case append(previous: SimLog.Entry, last: SimLog.Entry, commit: Int32)
        case appended(success: Bool, last: Int32)
        case requestVote(log: SimLog.Entry, disrupts: Bool, isPreVote: Bool)
        case vote(granted: Bool, isPreVote: Bool)
        case timeoutNow(log: SimLog.Entry)
    }

    var term: UInt64
    var kind: Kind
}

/// A host with a raft node, its relay and its disk.
final class SimVoter {
    enum Role { case follower, candidate, leader }

    /// What the relay knows of a peer from what came on its connection.
    struct Link {
        var incarnation: UInt32 = 0
        var ledTerm: UInt64 = 0
        var position: SimLog.Entry = 0
    }

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
    /// The first entry of the term that it leads.
    var termStart: Int32 = 0
    var next: [Int32]
    var match: [Int32]
    var contactAt: [Int64]
    var commit: Int32 = 0
    /// While entries are on their way to the disk.
    var writesUntil: Int64 = 0
    /// What the election timer runs from, and how long.
    var timerStart: Int64 = 0
    var timeout: Int64 = 0

    // The relay.
    var gate: VoteGate
    var lease: LeaseCore
    var succession: SuccessionCore
    var links: [Link]
    var held: [(to: Int, frame: SimFrame)] = []
    /// When the held votes are looked at again.
    var releaseAt: Int64 = 0
    /// When the succession is looked at again.
    var wakeAt: Int64 = .max
    /// How many configurations frames have named to the relay.
    var named: UInt32 = 0
    /// How many times the members were asked for; only the last answer counts.
    var readings: UInt32 = 0
    /// Sockets between node and relay keep the order, each for itself.
    var outAt: [Int64]
    var inAt: [Int64]

    init(
        id: Int, count: Int, rate: Double, offset: Int64, gate: VoteGate, lease: LeaseCore, succession: SuccessionCore
    ) {
        self.id = id
        self.rate = rate
        self.offset = offset
        self.gate = gate
        self.lease = lease
        self.succession = succession
        next = [Int32](repeating: 1, count: count)
        match = [Int32](repeating: 0, count: count)
        contactAt = [Int64](repeating: 0, count: count)
        links = [Link](repeating: Link(), count: count)
        outAt = [Int64](repeating: 0, count: count)
        inAt = outAt
    }

    func local(_ now: Int64) -> BootInstant {
        BootInstant(nanoseconds: offset + Int64(Double(now) * rate))
    }

    /// When the host's clock will show `instant`.
    func real(_ instant: BootInstant) -> Int64 { Int64(Double(instant.nanoseconds - offset) / rate) + 1 }

    /// Whether it holds what it guards: a crash ends that at once, a pause does not (the guard keeps the deadline).
    func holds(_ now: Int64) -> Bool {
        guard isUp, let end = lease.end(now: local(now)) else { return false }
        return local(now) < end
    }
}
