import Dqlite
import Platform

/// Decides to whom a leader hands over, when, and why not. A value type without clock: it is told what the voters answer and
/// says what to do next.
///
/// To be elected the successor needs its own vote and those of others, and a node that has started just now keeps its votes
/// back. Were the lead given up before enough of them are free, nobody would lead for that long. So nothing is changed before it is
/// known that the successor and enough others can vote: another one is taken, or it is waited for, or refused.
struct HandOverCore: Sendable {
    struct Voter: Sendable, Equatable {
        var id: DqliteNodeID
        /// For people.
        var address: String
    }

    /// What a voter has answered.
    enum Answer: Sendable, Equatable {
        /// Its votes leave from then on. `objection`: why it cannot lead; nil when it can.
        case votes(from: BootInstant, objection: String?)
        /// None that helps, and why.
        case silent(String)
    }

    enum Step: Sendable, Equatable {
        /// Tell it that it is chosen, and then to stand.
        case offer(to: DqliteNodeID)
        /// Answers are outstanding, or may be worth waiting for: ask again for a step when one comes, or at this time.
        case listen(until: BootInstant)
        /// Only time helps: ask all of them again at this time.
        case wait(until: BootInstant)
        /// It is not handed over; nothing has been changed.
        case refuse(String)
    }

    /// Who is slow to answer would be slow to take over: waited for only while nobody else is ready.
    static let grace: Duration = .milliseconds(20)
    /// Who has not answered by then does not.
    static let patience: Duration = .milliseconds(300)

    /// All, the leader among them.
    private let voters: [Voter]
    private let own: DqliteNodeID
    private let candidates: Set<DqliteNodeID>
    /// Until when it may be waited for what only time can bring.
    private let deadline: BootInstant
    private var answers: [DqliteNodeID: Answer] = [:]
    /// Those that could lead, the quickest first.
    private var order: [DqliteNodeID] = []
    private var roundBegan: BootInstant
    /// Candidates that are not to be tried, and why.
    private var excluded: [DqliteNodeID: String]

    /// - Parameters:
    ///   - candidates: who may be the successor; voters other than this node.
    ///   - excluded: those of them that cannot take it whatever they say, and why.
    init(
        voters: [Voter], own: DqliteNodeID, candidates: Set<DqliteNodeID>, excluded: [DqliteNodeID: String] = [:],
        now: BootInstant, deadline: BootInstant
    ) {
        self.voters = voters
        self.own = own
        self.candidates = candidates
        self.excluded = excluded
        self.deadline = deadline
        roundBegan = now
    }

    // MARK: - Events

    /// All others are asked anew; `ownVotesFrom`: when the leader's own votes leave.
    mutating func begins(ownVotesFrom: BootInstant, now: BootInstant) {
        answers = [own: .votes(from: ownVotesFrom, objection: nil)]
        order = []
        roundBegan = now
    }

    mutating func answers(_ id: DqliteNodeID, _ answer: Answer) {
        answers[id] = answer
        if !order.contains(id) { order.append(id) }
    }

    /// It was chosen and did not take the lead.
    mutating func failed(_ id: DqliteNodeID, _ reason: String) { excluded[id] = reason }

    // MARK: - Decision

    /// What to do now.
    ///
    /// - Parameter stored: how far each voter has stored the log, as it last said.
    func next(stored: [DqliteNodeID: UInt64], now: BootInstant) -> Step {
        let outstanding = voters.contains { answers[$0.id] == nil }
        if let best = best(stored, now), canElect(now) {
            let late = roundBegan.advanced(by: Self.grace)
            return outstanding && now < late ? .listen(until: late) : .offer(to: best)
        }
        let end = roundBegan.advanced(by: Self.patience)
        if outstanding, now < end { return .listen(until: end) }
        if let time = opening(after: now), time <= deadline { return .wait(until: time) }
        return .refuse(refusal(now))
    }

    /// Among those that can take it now, the one with the newest log, and then the quickest.
    private func best(_ stored: [DqliteNodeID: UInt64], _ now: BootInstant) -> DqliteNodeID? {
        let able = order.filter { canTake($0, now) }
        let newest = able.map { stored[$0] ?? 0 }.max() ?? 0
        return able.first { stored[$0] ?? 0 == newest }
    }

    private func canTake(_ id: DqliteNodeID, _ time: BootInstant) -> Bool {
        guard candidates.contains(id), id != own, excluded[id] == nil,
            case .votes(let from, nil) = answers[id]
        else { return false }
        return from <= time
    }

    private func votes(_ id: DqliteNodeID, _ time: BootInstant) -> Bool {
        guard case .votes(let from, _) = answers[id] else { return false }
        return from <= time
    }

    /// Whether a majority of the voters can vote; who takes it is one of them.
    private func canElect(_ time: BootInstant) -> Bool {
        voters.count { votes($0.id, time) } >= majority
    }

    private var majority: Int { RoleCore.majority(of: voters.count) }

    /// When, by what is known, somebody can take it; nil: never.
    private func opening(after now: BootInstant) -> BootInstant? {
        let times = answers.values.compactMap { answer -> BootInstant? in
            if case .votes(let from, _) = answer, from > now { from } else { nil }
        }
        return times.sorted().first { time in canElect(time) && order.contains { canTake($0, time) } }
    }

    // MARK: - For people

    private func refusal(_ now: BootInstant) -> String {
        let able = order.filter { canTake($0, now) }
        let meant = voters.filter { candidates.contains($0.id) }
        guard able.isEmpty else {
            let reasons = voters.filter { !votes($0.id, now) }.map { "\($0.address): \(silence($0, now))" }
            return "no voter can take the lead now: only \(voters.count { votes($0.id, now) }) of the \(voters.count) "
                + "voters can vote, and \(majority) are needed: " + reasons.joined(separator: "; ")
        }
        return "no voter can take the lead now: "
            + meant.map { "\($0.address): \(reason($0, now))" }.joined(separator: "; ")
    }

    private func reason(_ voter: Voter, _ now: BootInstant) -> String {
        if let reason = excluded[voter.id] { return reason }
        if case .votes(_, let objection?) = answers[voter.id] { return objection }
        return silence(voter, now)
    }

    /// Why it cannot vote.
    private func silence(_ voter: Voter, _ now: BootInstant) -> String {
        switch answers[voter.id] {
        case .votes(let from, _) where from > now:
            // Rounded up: what is left is more than nothing.
            "its votes are kept back for another \((now.duration(to: from) + .nanoseconds(999_999)).inMilliseconds) ms, "
                + "because it has just started: ask again after that"
        case .votes: "it can vote"
        case .silent(let reason): reason
        case nil: "no answer within \(Self.patience.inMilliseconds) ms"
        }
    }
}
