import Lease
import Platform

@testable import struct Lease.VoteGate

/// What passes between two nodes: raft's frames, and what their relays say to each other.
enum SimMessage {
    /// Terms stand in `Frame`. `sentAt` is the sender's clock, which only the sender reads again.
    case frame(SimFrame, incarnation: UInt64, sentAt: Int64, wantsPromise: Bool)
    case acknowledged(term: UInt64, incarnation: UInt64, sentAt: Int64)
    case released(upTo: Int64, incarnation: UInt64)
}

struct SimFrame {
    enum Kind {
        case append(previous: Int, previousTerm: UInt64, entries: ArraySlice<SimEntry>, commit: Int)
        case appended(success: Bool, last: Int)
        case requestVote(last: Int, lastTerm: UInt64, disrupts: Bool)
        case vote(granted: Bool)
        case timeoutNow
    }

    var term: UInt64
    var kind: Kind
}

struct SimEntry {
    var term: UInt64
    /// A configuration change; nil: anything else.
    var voters: [Int]?
}

/// A host with a raft node, its relay and its disk.
final class SimVoter {
    enum Role { case follower, candidate, leader }

    let id: Int
    /// The host's clock: rate and offset against real time.
    let rate: Double
    let offset: Int64

    // The disk.
    var term: UInt64 = 0
    var votedFor: Int?
    /// The first entry is the initial configuration.
    var log: [SimEntry]

    // The process.
    var isUp = true
    var incarnation: UInt64 = 1
    var pausedUntil: Int64 = 0
    var role = Role.follower
    var votes: Set<Int> = []
    var next: [Int] = []
    var match: [Int] = []
    var commit = 0
    /// Real time of the last frame of a leader.
    var heardAt: Int64 = .min / 2
    var gate: VoteGate
    var lease: LeaseCore
    var held: [(to: Int, frame: SimFrame)] = []
    /// When the held votes are looked at again.
    var releaseAt: Int64 = 0
    /// Sockets between node and relay keep the order.
    var outAt: Int64 = 0
    var inAt: Int64 = 0
    var contactAt: [Int64] = []

    init(id: Int, count: Int, voters: [Int], rate: Double, offset: Int64, gate: VoteGate, lease: LeaseCore) {
        self.id = id
        self.rate = rate
        self.offset = offset
        log = [SimEntry(term: 0, voters: voters)]
        self.gate = gate
        self.lease = lease
        next = [Int](repeating: 1, count: count)
        match = [Int](repeating: 0, count: count)
        contactAt = [Int64](repeating: 0, count: count)
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

    /// As the log has it, committed or not.
    var voters: [Int] {
        for entry in log.reversed() {
            if let voters = entry.voters { return voters }
        }
        return []
    }

    var lastTerm: UInt64 { log[log.count - 1].term }

    func isMajority(_ nodes: Set<Int>) -> Bool {
        let voters = voters
        return 2 * voters.count(where: { nodes.contains($0) }) > voters.count
    }
}
