import Platform

/// What keeps a node's records in a store: told what was announced, what the store answered and what time it is, it says
/// what to ask of the store next. One request at a time; no I/O, no clock, no log.
struct KeeperCore: Sendable {
    typealias LeaderRecord = DiscoveryAnnouncement.LeaderRecord

    enum Request: Hashable, Sendable {
        case openHold
        case renew(StoreHold)
        case release(StoreHold)
        case read
        case putNode(id: String, record: [UInt8], hold: StoreHold)
        case putLeader(record: [UInt8], replacing: UInt64?, hold: StoreHold)
    }

    enum Answer: Equatable, Sendable {
        case opened(StoreHold)
        case read(StoreSnapshot)
        /// Of renew, putNode, putLeader: what the store returned.
        case accepted(Bool)
        case released
        case failed(DiscoveryError)
    }

    enum Step: Hashable, Sendable {
        case perform(Request)
        /// Nothing is to be done before then, or before something is announced; nil: for ever.
        case wait(until: BootInstant?)
    }

    /// A change that a person wants to read of, once.
    enum Note: Hashable, Sendable {
        case registered
        /// The store had dropped what was in it; all is there again.
        case registeredAnew
        /// A record that is under no hold and names no cluster was replaced: rqlite's, or written by hand.
        case replacedLeader(LeaderRecord)
        case leaderKeyRefused(LeaderProblem)
        case leaderKeyFree
        /// The right to found had not been prolonged in time, and was given back.
        case claimGivenUp
        case withdrawn
    }

    struct Timing: Sendable {
        /// From one look at what stands in the store to the next.
        var verification: Duration = .seconds(10)
        /// After failures.
        var retry: ClosedRange<Duration> = Duration.seconds(1)...Duration.seconds(10)
    }

    /// A hold that the store granted, as far as is known.
    struct Hold: Hashable, Sendable {
        var store: StoreHold
        /// The store keeps what is under it at least until then.
        var until: BootInstant
        var renewAt: BootInstant

        init(_ store: StoreHold, since sent: BootInstant) {
            self.store = store
            until = sent.advanced(by: store.lifetime)
            renewAt = sent.advanced(by: store.lifetime / 3)
        }
    }

    /// The leader key, while there is something that should stand in it.
    enum LeaderKey: Hashable, Sendable {
        /// It must be read.
        case unread
        /// It was read, and is ours to write.
        case write(replacing: UInt64?)
        /// It stands, or must be left alone.
        case settled
    }

    /// What is to stand in the store.
    struct Wanted: Sendable {
        let announcement: DiscoveryAnnouncement
        let node: [UInt8]
        let leader: [UInt8]?

        init(_ announcement: DiscoveryAnnouncement) {
            self.announcement = announcement
            node = RecordCoding.encode(announcement.node)
            leader = announcement.leader.map { RecordCoding.encode($0) }
        }

        var nodeID: String { announcement.node.nodeID }
    }

    let timing: Timing
    var wanted: Wanted?
    var hold: Hold?
    /// The record of the node as it stands under the hold.
    var written: [UInt8]?
    var leaderKey = LeaderKey.unread
    /// When the store is to be read again.
    var verifyAt: BootInstant?
    /// A right to found that was won or may have been, and until when it stands unless it is claimed again.
    var claimUntil: BootInstant?
    /// Why the leader key is not ours; nil when it is, or when nothing should stand there.
    var problem: LeaderProblem?
    var replacedLeader = false
    /// How often, one after the other, the leader key was not as it had been read.
    var conflicts = 0
    /// The hold was lost with all that was under it, and not everything is back.
    var isMadeAnew = false
    /// The hold is to be given back because of a key under it, and another opened for the rest.
    var givesUpHold = false
    private var wasRegistered = false
    /// What failed last; nil again when everything stands.
    private(set) var failure: DiscoveryError?
    private(set) var retryAt: BootInstant?
    private var backoff: Backoff
    private var notes: [Note] = []

    init(timing: Timing = Timing(), seed: UInt64) {
        self.timing = timing
        backoff = Backoff(timing.retry, seed: seed)
    }

    /// Whether the record of the node stands in the store now, as far as is known.
    func isRegistered(at now: BootInstant) -> Bool {
        guard let hold else { return false }
        return written != nil && now < hold.until
    }

    mutating func announce(_ announcement: DiscoveryAnnouncement) {
        guard wanted?.announcement != announcement else { return }
        if wanted?.announcement.leader != announcement.leader {
            leaderKey = .unread
            // Only the rule of one leadership: the next begins with a look of its own.
            replacedLeader = false
        }
        if let wanted, wanted.nodeID != announcement.node.nodeID { written = nil }
        wanted = Wanted(announcement)
        if announcement.leader == nil {
            setProblem(nil)
        } else {
            // What was claimed is kept as the leader's from now on.
            claimUntil = nil
            givesUpHold = false
        }
        // News is worth an attempt at once.
        retryAt = nil
    }

    /// From now on nothing is to stand in the store.
    mutating func withdraw() {
        wanted = nil
        retryAt = nil
        claimUntil = nil
        setProblem(nil)
    }

    /// The store was seen to answer: no use in sitting out a pause.
    mutating func storeAnswered() {
        if failure?.isAbsence == true { retryAt = nil }
    }

    mutating func note(_ note: Note) { notes.append(note) }

    mutating func takeNotes() -> [Note] {
        defer { notes = [] }
        return notes
    }

    mutating func setProblem(_ new: LeaderProblem?) {
        if let new, new.isNews(after: problem) { note(.leaderKeyRefused(new)) }
        if new == nil, problem != nil { note(.leaderKeyFree) }
        problem = new
    }

    /// A request failed: nothing more before the pause is over.
    mutating func fail(_ error: DiscoveryError, now: BootInstant) {
        failure = error
        retryAt = now.advanced(by: backoff.next())
    }

    /// What to do next.
    mutating func next(now: BootInstant) -> Step {
        if let retryAt, now < retryAt { return .wait(until: retryAt) }
        retryAt = nil
        guard let wanted else {
            if let hold { return .perform(.release(hold.store)) }
            settle()
            return .wait(until: nil)
        }
        guard let hold else { return .perform(.openHold) }
        if givesUpHold { return .perform(.release(hold.store)) }
        if now >= hold.renewAt { return .perform(.renew(hold.store)) }
        if let claimUntil, now >= claimUntil { return .perform(.read) }
        if written != wanted.node {
            return .perform(.putNode(id: wanted.nodeID, record: wanted.node, hold: hold.store))
        }
        if let leader = wanted.leader {
            switch leaderKey {
            case .unread: return .perform(.read)
            case .write(let version):
                return .perform(.putLeader(record: leader, replacing: version, hold: hold.store))
            case .settled: break
            }
        }
        let verification = verifyAt ?? now.advanced(by: timing.verification)
        verifyAt = verification
        if now >= verification { return .perform(.read) }
        settle()
        return .wait(until: [hold.renewAt, verification, claimUntil].compactMap(\.self).min())
    }

    /// Everything is as it should be, for now.
    private mutating func settle() {
        failure = nil
        backoff.reset()
        guard wanted != nil else { return }
        if isMadeAnew {
            note(.registeredAnew)
        } else if !wasRegistered {
            note(.registered)
        }
        isMadeAnew = false
        wasRegistered = true
    }
}

extension DiscoveryError {
    /// Whether nobody answered, as opposed to an answer that was a refusal.
    var isAbsence: Bool { code == .unreachable || code == .timedOut || code == .unresolvable }
}
