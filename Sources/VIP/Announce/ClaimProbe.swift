import Platform

/// The times of the question whether somebody on the LAN has an address.
public struct ClaimProbeTiming: Hashable, Sendable {
    /// How many probes go unanswered before the address counts as free; 0: nobody is asked.
    public var count = 3
    /// From one of them to the next.
    public var spacing: Duration = .milliseconds(1)
    /// How long an answer to the last of them is waited for.
    public var lastAnswer: Duration = .milliseconds(2)
    /// From the begin of a round that was answered to the begin of the next one.
    public var again: Duration = .milliseconds(15)
    /// How long a claim that has its lease waits for a holder to go. A kernel whose daemon and guard are dead or stopped
    /// was measured to keep the address for 1.0 to 1.7 s. So long, from the end of its process on, it is waited for a holder
    /// whose host cannot be heard, too.
    public var bound: Duration = .seconds(2)
    /// How long it waits for somebody who only asks for the address himself.
    public var rivalBound: Duration = .milliseconds(60)
    /// How long silence counts. It is asked again after half of this while the lease is not there yet.
    public var freshness: Duration = .milliseconds(100)
    /// How often it is asked whether a foreign holder is still there, while both have the address.
    public var recheck: Duration = .seconds(5)

    public init() {}

    /// The address is claimed unasked.
    public static let none: ClaimProbeTiming = {
        var timing = ClaimProbeTiming()
        timing.count = 0
        return timing
    }()
}

/// Decides when an address may be claimed, by asking the LAN for it. A value without clock and I/O, for one address.
///
/// In rounds of a few probes (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2, with shorter times: the question is for a host
/// that is there and answers at once). Where a whole round is met with silence the address is free. While somebody answers, the claim waits,
/// but not for ever: then it is made all the same, and the other is a foreign holder, who is asked for from time to time.
/// Who is known not to be the last holder is one at once: nothing waits for him.
///
/// Silence of a host that cannot be heard says nothing. Where the last holder's process has ended, its host has to have answered
/// something that was asked after the last probe of the round; or so much time must have passed that its kernel has let go.
public struct ClaimProbe: Hashable, Sendable {
    /// What to do now.
    public enum Directive: Hashable, Sendable {
        /// Nothing is asked.
        case idle
        /// Send a probe, and tell `sent`.
        case send
        /// Ask again at this time, or when something was heard.
        case wait(until: BootInstant)
        /// Claim the address, and tell `claimed`. The holder has it too, and did not let go of it in time.
        case claim(foreignHolder: HardwareAddress?)
    }

    /// What somebody else said about the address.
    public enum Claimant: Hashable, Sendable {
        /// He has it: he answered, announced it, or used it as sender.
        case holder
        /// The same, and he cannot be the last holder, whose kernel would let go of it soon.
        case stranger
        /// He asks for it, without an address of his own: a probe as ours is.
        case rival
    }

    private enum Purpose: Hashable, Sendable {
        case none
        /// The address is to be claimed.
        case claim
        /// It is held although somebody has it.
        case watch
    }

    private struct Stranger: Hashable {
        var address: HardwareAddress
        var at: BootInstant
    }

    private let timing: ClaimProbeTiming
    private var purpose = Purpose.none
    /// A round is going on: nobody was heard in it yet.
    private var isAsking = false
    private var roundBegan = BootInstant(nanoseconds: 0)
    private var count = 0
    private var lastSent = BootInstant(nanoseconds: 0)
    private var nextRound = BootInstant(nanoseconds: 0)
    /// Nobody was heard in a whole round; until then that counts.
    private var silentUntil: BootInstant?
    /// When the last probe of that round was sent.
    private var silentSince = BootInstant(nanoseconds: 0)
    /// How many rounds were met with silence since the claim is sought, or somebody was heard.
    private var silentRounds = 0
    private var predecessor: Predecessor?
    /// The claim waits no longer than this; nil while it is not allowed.
    private var limit: BootInstant?
    private var rivalLimit: BootInstant?
    /// Who else has the address, as far as was heard, and the claim waits for it.
    public private(set) var holder: HardwareAddress?
    /// Who else has it, and the claim does not wait for it; and when that was heard.
    private var stranger: Stranger?

    public init(timing: ClaimProbeTiming = ClaimProbeTiming()) {
        self.timing = timing
    }

    /// Something has to be heard.
    public var isActive: Bool { purpose != .none }
    /// The address is held while somebody else has it, who was not seen to let go.
    public var isWatching: Bool { purpose == .watch }

    /// A claim is sought that only an answer would stop.
    public var isAllowed: Bool { limit != nil }

    /// Nobody answers, and that is not believed yet: the last holder's host does not answer either.
    /// An answer may be a little late; from the second round on it is worth telling.
    public var isWithheld: Bool { limit != nil && silentRounds > 1 && holder == nil && !isBelieved }

    private var isBelieved: Bool { predecessor?.answeredSince.map { $0 >= silentSince } ?? (predecessor == nil) }

    /// Whether the probe that is to be sent now ends a round whose silence has to be believed: then the last holder's host is
    /// to be asked after it.
    public var wantsInquiry: Bool { purpose == .claim && predecessor != nil && count + 1 >= timing.count }

    // MARK: Events

    /// The claim is wanted. `isAllowed`: nothing but an answer would stop it, that is, there is a lease. To be told at each
    /// change, and as often as one likes. `predecessor`: the last holder, if his process has ended.
    public mutating func seek(isAllowed: Bool, predecessor: Predecessor? = nil, now: BootInstant) {
        if purpose != .claim {
            self = ClaimProbe(timing: timing)
            purpose = .claim
            nextRound = now
        }
        // From the lease on nobody renews his hold, so that the bound counts from there.
        limit = isAllowed ? limit ?? now.advanced(by: timing.bound) : nil
        self.predecessor = predecessor.flatMap { now < lapse($0) ? $0 : nil }
    }

    /// A probe was sent, or could not be: then it counts as one that was lost.
    public mutating func sent(now: BootInstant) {
        guard isActive else { return }
        count += 1
        lastSent = now
    }

    /// Somebody else was heard.
    public mutating func heard(_ address: HardwareAddress, as claimant: Claimant, now: BootInstant) {
        switch (purpose, claimant) {
        case (.none, _), (.watch, .rival): return
        case (.claim, .rival):
            // He has not got it, and hears from us that he must not; if he is of our kind he has no lease.
            let end = rivalLimit ?? now.advanced(by: timing.rivalBound)
            rivalLimit = end
            guard now < end else { return }
        case (.claim, .stranger):
            // The question is for the last holder: it goes on.
            stranger = Stranger(address: address, at: now)
            return
        case (_, .holder), (.watch, .stranger): holder = address
        }
        silentUntil = nil
        silentRounds = 0
        if purpose == .watch {
            // Who announces it all the time need not be asked, and is not gone because it answers no probe.
            nextRound = (isAsking ? roundBegan : now).advanced(by: timing.recheck)
            isAsking = false
        } else if isAsking {
            isAsking = false
            nextRound = roundBegan.advanced(by: timing.again)
        } else {
            nextRound = min(nextRound, now.advanced(by: timing.again))
        }
    }

    /// The address was set.
    public mutating func claimed(now: BootInstant) {
        guard purpose == .claim else { return }
        guard let holder = holder ?? stranger(now) else { return stop() }
        watch(holder, now: now)
    }

    /// Another host announced the address, which is held here.
    public mutating func met(_ address: HardwareAddress, now: BootInstant) {
        if isActive { heard(address, as: .holder, now: now) } else { watch(address, now: now) }
    }

    private mutating func watch(_ address: HardwareAddress, now: BootInstant) {
        self = ClaimProbe(timing: timing)
        holder = address
        purpose = .watch
        nextRound = now.advanced(by: timing.recheck)
    }

    /// The claim is not wanted any more, or the address is not held any more.
    public mutating func stop() {
        self = ClaimProbe(timing: timing)
    }

    // MARK: Decision

    /// Whether the address may be set at this moment.
    public func mayClaim(now: BootInstant) -> Bool {
        guard purpose == .claim, let limit else { return false }
        if let silentUntil, now < silentUntil, isBelieved || predecessor.map(lapse).map({ $0 <= now }) ?? true {
            return true
        }
        // A round that goes on may still end in silence.
        return limit <= now && holder != nil && !isAsking
    }

    /// What to do now. What was received up to now must have been told before.
    public mutating func next(now: BootInstant) -> Directive {
        guard isActive else { return .idle }
        if isAsking, count >= timing.count, lastSent.advanced(by: timing.lastAnswer) <= now { endInSilence(now) }
        if mayClaim(now: now) { return .claim(foreignHolder: holder ?? stranger(now)) }
        guard isActive else { return .idle }
        if !isAsking {
            guard nextRound <= now else {
                if let limit, holder != nil { return .wait(until: min(limit, nextRound)) }
                return .wait(until: predecessor.map { min(lapse($0), nextRound) } ?? nextRound)
            }
            isAsking = true
            roundBegan = now
            count = 0
        }
        if count >= timing.count { return .wait(until: lastSent.advanced(by: timing.lastAnswer)) }
        let due = lastSent.advanced(by: timing.spacing)
        return count == 0 || due <= now ? .send : .wait(until: due)
    }

    /// Who has the address and was not waited for, unless it has been silent since the last question.
    private func stranger(_ now: BootInstant) -> HardwareAddress? {
        stranger.flatMap { now < $0.at.advanced(by: timing.freshness) ? $0.address : nil }
    }

    /// When the kernel of a host without daemon and guard has let go of the address, whoever cannot hear it.
    private func lapse(_ predecessor: Predecessor) -> BootInstant { predecessor.endedAt.advanced(by: timing.bound) }

    private mutating func endInSilence(_ now: BootInstant) {
        guard purpose == .claim else { return stop() }
        isAsking = false
        holder = nil
        silentSince = lastSent
        silentRounds += 1
        silentUntil = now.advanced(by: timing.freshness)
        nextRound = now.advanced(by: timing.freshness / 2)
    }
}
