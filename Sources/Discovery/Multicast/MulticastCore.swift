import Platform

/// How nodes of one LAN find each other: questions to a multicast group, and answers to it.
///
/// Who looks for others asks, with a fresh random nonce; whoever is announced answers with its record and that nonce.
/// Only an answer to a question of our own of the last two seconds is believed. With a secret every datagram is
/// authenticated as a whole, so that neither an invented nor a recorded answer is worth anything, without any clock that
/// hosts would have to share. A question is only ever a reason to answer or to ask, within the limits, so a recorded one
/// does no harm either. Nobody sends when nobody asks; a node answers as long as it lives.
///
/// Answers go to the group, too, not to the asker:
/// - One answer serves all who ask at the same time, up to 16 nonces. What a node sends is bounded by its own rate, 20 in
///   a second, however many ask.
/// - Nothing is ever sent to an address that a datagram named, so nobody can turn the nodes against a third party.
/// - Every datagram goes to the group's port. A host's firewall needs that one port open; replies to a port of the
///   kernel's choice would be dropped by one that tracks connections, because a question to a group opens none.
/// - Several daemons of one host can share the port: each gets a copy of what comes for a group, unlike of what comes for
///   the host.
///
/// A node that starts, or whose announcement changes, asks once unbidden. Whoever hears a question of a node that it does
/// not know, and looks for nodes itself, asks at once, and so learns of it without waiting for its next look-up.
///
/// Datagrams of other disco keys are ignored. Those of ours that are not authenticated as our own are not believed and
/// told once; a notice, one in two seconds at most in the long run, tells the other side, which may not hear anything else
/// of us. A notice is never answered.
///
/// Pure: time and randomness come from outside.
struct MulticastCore: Sendable {
    private struct Heard {
        var record: MulticastRecord
        var source: IPAddress
        var at: BootInstant
    }

    private struct Question {
        var nonce: MulticastNonce
        var at: BootInstant
    }

    private struct Round {
        var endsAt: BootInstant
        var askAgainAt: BootInstant?
        var answered: Set<String> = []
        var quietAt: BootInstant?
    }

    private struct Trouble {
        var note: MulticastNote
        /// Seen last.
        var at: BootInstant
    }

    private let seal: MulticastSeal
    private let limits: MulticastLimits
    private(set) var counts = MulticastCounts()

    private var announcement: MulticastRecord?
    private var heard: [String: Heard] = [:]
    private var round: Round?
    private var lastLookUp: BootInstant?

    /// Oldest first, as are the next two.
    private var ownNonces: [Question] = []
    private var seenNonces: [MulticastNonce] = []
    private var waiting: [Question] = []
    /// What keeps others from being found; logged when it came up.
    private var troubles: [Trouble] = []

    private var answers: RateLimit
    private var questions: RateLimit
    private var promptedQuestions: RateLimit
    private var notices: RateLimit
    private var notes: RateLimit
    private var sources: [IPAddress: RateLimit] = [:]

    private var out: [MulticastDirective] = []

    init(seal: MulticastSeal, limits: MulticastLimits = MulticastLimits()) {
        self.seal = seal
        self.limits = limits
        answers = limits.answers
        questions = limits.questions
        promptedQuestions = limits.promptedQuestions
        notices = limits.notices
        notes = limits.notes
    }

    /// When `tick` is due; nil when there is nothing to wait for.
    var nextDeadline: BootInstant? {
        var deadlines: [BootInstant] = []
        if let round {
            deadlines.append(round.endsAt)
            if let at = round.askAgainAt { deadlines.append(max(at, questions.next)) }
            if let at = round.quietAt { deadlines.append(at) }
        }
        if !waiting.isEmpty { deadlines.append(answers.next) }
        return deadlines.min()
    }

    mutating func handle(
        _ event: MulticastEvent, at now: BootInstant, using random: inout some RandomNumberGenerator
    ) -> [MulticastDirective] {
        forget(now)
        switch event {
        case .announce(let record): announce(record, now, &random)
        case .lookUp: lookUp(now, &random)
        case .connected:
            if announcement != nil || isLooking(now) { askPrompted(now, &random) }
        case .datagram(let bytes, let source): receive(bytes, source, now, &random)
        case .tick: break
        }
        advance(now, &random)
        defer { out = [] }
        return out
    }

    private mutating func forget(_ now: BootInstant) {
        func isOver(_ since: BootInstant, _ limit: Duration) -> Bool { since.duration(to: now) > limit }
        if heard.values.contains(where: { isOver($0.at, limits.heardFor) }) {
            heard = heard.filter { !isOver($0.value.at, limits.heardFor) }
        }
        ownNonces.removeAll { isOver($0.at, limits.nonceLife) }
        waiting.removeAll { isOver($0.at, limits.questionLife) }
        troubles.removeAll { isOver($0.at, limits.troubleFor) }
    }

    /// Does what is due, whatever the event was.
    private mutating func advance(_ now: BootInstant, _ random: inout some RandomNumberGenerator) {
        if let round {
            let everybodyAnswered = heard.keys.allSatisfy(round.answered.contains)
            if let quietAt = round.quietAt, now >= quietAt {
                if everybodyAnswered { finish(now) } else { self.round?.quietAt = nil }
            }
            if now >= round.endsAt, self.round != nil { finish(now) }
            if self.round != nil, let at = round.askAgainAt, now >= at, now >= questions.next {
                self.round?.askAgainAt = nil
                if round.answered.isEmpty || !everybodyAnswered, questions.pass(at: now) { ask(now, &random) }
            }
        }
        answerWaiting(now)
    }

    private mutating func note(_ note: MulticastNote, _ now: BootInstant) {
        if notes.pass(at: now) { out.append(.note(note)) }
    }

    private mutating func note(trouble note: MulticastNote, _ now: BootInstant) {
        if let index = troubles.firstIndex(where: { $0.note == note }) {
            troubles[index].at = now
        } else if troubles.count < limits.troubles {
            troubles.append(Trouble(note: note, at: now))
            self.note(note, now)
        }
    }
}

// MARK: - Looking for others

extension MulticastCore {
    private mutating func announce(
        _ record: MulticastRecord?, _ now: BootInstant, _ random: inout some RandomNumberGenerator
    ) {
        guard record != announcement else { return }
        announcement = record
        guard let record else {
            waiting = []
            return
        }
        let probe = MulticastMessage.answer(nonces: [MulticastNonce(high: 0, low: 0)], record)
        guard seal.close(probe) != nil else {
            announcement = nil
            note(.unspeakable(record), now)
            return
        }
        askPrompted(now, &random)
    }

    private func isLooking(_ now: BootInstant) -> Bool {
        guard let lastLookUp else { return false }
        return lastLookUp.duration(to: now) <= limits.interest
    }

    /// A look-up that is wanted while one runs gets what that one finds.
    private mutating func lookUp(_ now: BootInstant, _ random: inout some RandomNumberGenerator) {
        lastLookUp = now
        guard round == nil else { return }
        round = Round(
            endsAt: now.advanced(by: limits.lookUp), askAgainAt: now.advanced(by: limits.askAgain))
        if questions.pass(at: now) { ask(now, &random) } else { round?.askAgainAt = questions.next }
    }

    private mutating func finish(_ now: BootInstant) {
        round = nil
        let recent = troubles.last { $0.at.duration(to: now) <= limits.troubleShownFor }
        out.append(.found(Set(heard.values.map(\.record.address)).sorted(), trouble: recent?.note))
    }

    private mutating func askPrompted(_ now: BootInstant, _ random: inout some RandomNumberGenerator) {
        if promptedQuestions.pass(at: now) { ask(now, &random) }
    }

    private mutating func ask(_ now: BootInstant, _ random: inout some RandomNumberGenerator) {
        let nonce = MulticastNonce(using: &random)
        ownNonces.append(Question(nonce: nonce, at: now))
        if ownNonces.count > limits.ownNonces { ownNonces.removeFirst() }
        if let bytes = seal.close(.question(nonce: nonce, nodeID: announcement?.nodeID ?? "")) {
            out.append(.send(bytes))
        }
    }
}

// MARK: - What arrives

extension MulticastCore {
    private mutating func receive(
        _ bytes: [UInt8], _ source: IPAddress, _ now: BootInstant, _ random: inout some RandomNumberGenerator
    ) {
        switch seal.open(bytes) {
        case .foreign: counts.foreign += 1
        case .malformed: counts.malformed += 1
        case .mismatch(let mismatch, let kind): tell(mismatch, kind, source, now)
        case .message(let message):
            switch message {
            case .question(let nonce, let nodeID): receive(nonce, of: nodeID, source, now, &random)
            case .answer(let nonces, let record): receive(record, to: nonces, source, now)
            case .notice: counts.notices += 1
            }
        }
    }

    private mutating func tell(
        _ mismatch: MulticastMismatch, _ kind: MulticastHeader.Kind, _ source: IPAddress, _ now: BootInstant
    ) {
        counts.mismatched += 1
        note(trouble: .mismatch(mismatch, from: source), now)
        if kind != .notice, notices.pass(at: now), let bytes = seal.close(.notice) { out.append(.send(bytes)) }
    }

    private mutating func receive(
        _ nonce: MulticastNonce, of nodeID: String, _ source: IPAddress, _ now: BootInstant,
        _ random: inout some RandomNumberGenerator
    ) {
        guard !ownNonces.contains(where: { $0.nonce == nonce }) else {
            counts.own += 1
            return
        }
        guard !seenNonces.contains(nonce), mayAsk(source, now) else {
            counts.refusedQuestions += 1
            return
        }
        counts.questions += 1
        seenNonces.append(nonce)
        if seenNonces.count > limits.seenNonces { seenNonces.removeFirst() }
        if announcement != nil, waiting.count < limits.waiting { waiting.append(Question(nonce: nonce, at: now)) }
        if !nodeID.isEmpty, nodeID != announcement?.nodeID, heard[nodeID] == nil, isLooking(now) {
            askPrompted(now, &random)
        }
    }

    private mutating func mayAsk(_ source: IPAddress, _ now: BootInstant) -> Bool {
        if sources[source] == nil, sources.count >= limits.sources {
            sources = sources.filter { $0.value.isFull(at: now) }
            // So many at once have invented their addresses: what protects then is the limit of all answers.
            if sources.count >= limits.sources { return true }
        }
        return sources[source, default: limits.questionsOfSource].pass(at: now)
    }

    private mutating func answerWaiting(_ now: BootInstant) {
        guard let announcement else { return }
        while !waiting.isEmpty, answers.pass(at: now) {
            let nonces = waiting.prefix(MulticastMessage.maximumNonces).map(\.nonce)
            waiting.removeFirst(nonces.count)
            if let bytes = seal.close(.answer(nonces: nonces, announcement)) { out.append(.send(bytes)) }
        }
    }

    private mutating func receive(
        _ record: MulticastRecord, to nonces: [MulticastNonce], _ source: IPAddress, _ now: BootInstant
    ) {
        guard nonces.contains(where: { nonce in ownNonces.contains { $0.nonce == nonce } }) else {
            if record.nodeID == announcement?.nodeID { counts.own += 1 } else { counts.otherAnswers += 1 }
            return
        }
        counts.answers += 1
        // We never answer our own question: this is somebody else.
        if record.nodeID == announcement?.nodeID {
            note(trouble: .sameNode(record, from: source), now)
            return
        }
        let known = heard[record.nodeID]
        if known?.record.address != record.address { note(.found(record), now) }
        if known == nil { makeRoom(for: source) }
        heard[record.nodeID] = Heard(record: record, source: source, at: now)
        if round?.answered.insert(record.nodeID).inserted == true {
            round?.quietAt = now.advanced(by: limits.quiet)
        }
    }

    private mutating func makeRoom(for source: IPAddress) {
        func drop(_ candidates: [String: Heard]) {
            guard let oldest = candidates.min(by: { ($0.value.at, $0.key) < ($1.value.at, $1.key) }) else { return }
            heard[oldest.key] = nil
        }
        let ofSource = heard.filter { $0.value.source == source }
        if ofSource.count >= limits.nodesPerSource { drop(ofSource) }
        if heard.count >= limits.nodes { drop(heard) }
    }
}
