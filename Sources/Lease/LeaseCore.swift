public import Platform

/// Names a voter; dqlite's node id.
public typealias VoterID = UInt64

/// The leader's side of the lease: until when it can prove that nobody else has become leader.
///
/// The relays of the followers acknowledge each AppendEntries that they hand to their nodes, and let their nodes elect
/// nobody else for the time `VoteGate.hold` from then on. So when a majority has acknowledged something sent at t, nobody
/// else can win before t + hold: of any two majorities at least one node is in both, and it either keeps its vote back or
/// is this leader itself, whose own vote `surrender` takes note of.
///
/// A value type without I/O or clock. All instants are those of this host; what other hosts' clocks say plays no part, but
/// for their rate: the margin covers a drift between any two of 0.2 %, and the milliseconds that clocks are rounded by.
public struct LeaseCore: Sendable {
    /// How long a lease lasts from the sending of what was acknowledged: `VoteGate.hold` less the margin.
    public let duration: Duration
    /// This node.
    public let own: VoterID
    /// The term in which this node leads or led last; 0 before the first.
    public private(set) var term: UInt64 = 0

    /// The highest term that this node has given away; no lease in it or below it.
    private var surrendered: UInt64 = 0
    /// What was sent before this counts for nothing: the lead was being given to another.
    private var notBefore = BootInstant(nanoseconds: .min)
    /// The lead is being handed over: until when the address may be kept all the same, and to whom; see `transfers`.
    private(set) var handingOver: (until: BootInstant, successor: VoterID)?
    /// Sorted; none before they were told, and without them there is no lease.
    public private(set) var voters: [VoterID] = []
    /// Until when the lease was proven with the voters before the last change.
    private var carried: BootInstant?
    /// When that was sent which each voter acknowledged last, in this term.
    private var acknowledged: [(voter: VoterID, sentAt: BootInstant)] = []
    /// When the first of what a majority has not acknowledged was sent, without a pause since; nil after each progress.
    private var unansweredSince: BootInstant?
    private var sentAt = BootInstant(nanoseconds: 0)

    /// What a follower's promise is worth to the leader: 0.2 % of difference between two clocks, and 4 ms for libraft's
    /// clock, which counts whole milliseconds, and for ours.
    public static func duration(hold: Duration) -> Duration { hold - hold / 500 - .milliseconds(4) }

    public init(own: VoterID, hold: Duration) {
        self.init(own: own, duration: Self.duration(hold: hold))
    }

    init(own: VoterID, duration: Duration) {
        self.own = own
        self.duration = duration
    }

    /// This node sends AppendEntries in `term`: it leads. Its voters have to be told anew: those of an earlier term may
    /// have changed more than once since.
    public mutating func leads(in term: UInt64) {
        guard term > self.term else { return }
        self.term = term
        voters = []
        acknowledged = []
        carried = nil
        unansweredSince = nil
        handingOver = nil
        // What was given away was the lead of an earlier term, and acknowledgements name theirs.
        notBefore = BootInstant(nanoseconds: .min)
    }

    /// The voters, as this node's log has them now, committed or not. Said before anybody else can know them.
    ///
    /// dqlite changes one member at a time, and each change is committed before the next: a majority of the voters before
    /// and one of those after have a node in common, so it does not matter by which of the two an election is held, and
    /// what was proven with the voters before stays proven through this change (but not through another).
    public mutating func configure(voters: [VoterID], now: BootInstant) {
        let sorted = voters.sorted()
        guard sorted != self.voters else { return }
        carried = proven(now).map { min($0, now.advanced(by: duration)) }
        self.voters = sorted
    }

    /// A follower's relay acknowledged what was sent to it at `sentAt` in `term`.
    public mutating func acknowledge(by voter: VoterID, in term: UInt64, sentAt: BootInstant) {
        guard term == self.term, sentAt >= notBefore else { return }
        let before = proven(sentAt)
        defer { if proven(sentAt) != before { unansweredSince = nil } }
        for index in acknowledged.indices where acknowledged[index].voter == voter {
            acknowledged[index].sentAt = max(acknowledged[index].sentAt, sentAt)
            return
        }
        acknowledged.append((voter, sentAt))
    }

    /// Who has acknowledged in this term what was sent at that time or later.
    public func acknowledged(since instant: BootInstant) -> [VoterID] {
        acknowledged.filter { $0.sentAt >= instant }.map(\.voter)
    }

    /// This node has voted for another in a higher term: whatever is acknowledged from now on, it has no lease in `term` or
    /// below any more. Said before the vote leaves the host.
    ///
    /// - Parameter candidate: who gets the vote; nil when that is not known.
    public mutating func surrender(upTo term: UInt64, to candidate: VoterID? = nil) {
        surrendered = max(surrendered, term)
        if handingOver?.successor != candidate { handingOver = nil }
    }

    /// This node asks another to take the lead: the lease is over at once, and the followers are told that their promises do not
    /// bind against that one (`VoteGate.released`); against all others they do, so that until the lease would have ended nobody else
    /// can be elected. Should the other not take it within `patience`, the lease begins anew with what
    /// is sent after that; until then nothing that is sent asks for a promise, which would keep the other from being
    /// elected. Said before the request leaves the host.
    ///
    /// What was held may be kept for `limit`, so that the other sets it before this node lets go, but never longer than the lease would
    /// have lasted: nobody but the successor is elected before, unless this node itself votes for another.
    ///
    /// - Parameter successor: nil for nobody in particular; then nothing is kept.
    public mutating func transfers(
        to successor: VoterID? = nil, now: BootInstant, patience: Duration, keeping limit: Duration = .zero
    ) {
        handingOver = nil
        if let successor, let end = end(now: now), end > now {
            handingOver = (min(end, now.advanced(by: limit)), successor)
        }
        notBefore = max(notBefore, now.advanced(by: patience))
        acknowledged = []
        carried = nil
        unansweredSince = nil
    }

    /// The other has said that it does not take the lead: what is sent from now on asks for promises again.
    public mutating func resumes(now: BootInstant) {
        notBefore = min(notBefore, now)
    }

    /// The successor has what was kept for it.
    public mutating func letsGo() { handingOver = nil }

    /// Until when what was held may be kept for the successor, but nothing be set anew; nil when no hand-over is under way.
    public func kept(now: BootInstant) -> BootInstant? {
        guard let until = handingOver?.until, until > now else { return nil }
        return until
    }

    /// Whether this node has given the lead of its term away, so that there is no lease in it any more.
    var isSurrendered: Bool { term <= surrendered }

    /// Something that asks for a promise is sent to a voter.
    ///
    /// - Returns: whether the lead is better given away: the lease is over, and for as long as one lasts no majority has
    ///   acknowledged anything. The others may hear this node all the same, and would wait for it. A node that was stopped
    ///   meanwhile has asked nobody, and begins anew.
    public mutating func sends(now: BootInstant) -> Bool {
        let isPause = sentAt.duration(to: now) > duration / 2
        sentAt = now
        if isPause { unansweredSince = nil }
        guard let since = unansweredSince else {
            unansweredSince = now
            return false
        }
        guard since.duration(to: now) >= duration, let proven = proven(now) else { return false }
        return max(proven, carried ?? proven) <= now
    }

    /// Whether followers shall promise anything on what is sent now.
    public func wantsPromise(now: BootInstant) -> Bool { now >= notBefore }

    /// Until when this node has the lease; nil when it has none, past when it is over.
    ///
    /// For a cluster of one voter it never ends: nobody else can be elected.
    public func end(now: BootInstant) -> BootInstant? {
        guard term > surrendered else { return nil }
        guard let proven = proven(now) else { return carried }
        return max(proven, carried ?? proven)
    }

    /// The end that the acknowledgements of the present voters prove.
    private func proven(_ now: BootInstant) -> BootInstant? {
        guard voters.contains(own) else { return nil }
        let others = voters.count / 2
        guard others > 0 else { return wantsPromise(now: now) ? BootInstant(nanoseconds: .max) : nil }
        // The newest instant that so many of them have reached; a cluster is too small for sorting to pay.
        var newest: BootInstant?
        for entry in acknowledged where counts(entry.voter) {
            guard newest.map({ entry.sentAt > $0 }) ?? true else { continue }
            let reached = acknowledged.count(where: { counts($0.voter) && $0.sentAt >= entry.sentAt })
            if reached >= others { newest = entry.sentAt }
        }
        return newest?.advanced(by: duration)
    }

    private func counts(_ voter: VoterID) -> Bool {
        voter != own && voters.contains(voter)
    }
}
