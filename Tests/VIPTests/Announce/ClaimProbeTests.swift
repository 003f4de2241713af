import Platform
import Testing

@testable import VIP

@Suite("asking the LAN before a claim: decisions")
struct ClaimProbeTests {
    private static let start = BootInstant(nanoseconds: 5_000_000_000)

    /// Plays the clock and the LAN for a probe; times are milliseconds since the start.
    private struct Play {
        var probe = ClaimProbe()
        var now = ClaimProbeTests.start
        /// Whether somebody answers a probe at this time, and who.
        var answer: (Double) -> UInt8? = { _ in nil }
        /// From when on there is a lease.
        var leaseAt = 0.0
        /// How much later than wanted each wake-up comes.
        var late: () -> Duration = { .zero }
        var sent: [Double] = []
        var isOver = false
        /// The last holder, whose process has ended, and whether his host answers a question of this time, how much later.
        var predecessor: Predecessor?
        var hostAnswer: (Double) -> Double? = { _ in nil }
        /// When his host was asked.
        var inquiries: [Double] = []
        var answers: [(at: Double, asked: Double)] = []

        var time: Double { Double(ClaimProbeTests.start.duration(to: now).inNanoseconds) / 1_000_000 }

        /// Runs until the claim; gives its time and the holder that it met, or nil when there was none up to `limit`.
        mutating func claimIfAny(before limit: Double) -> (time: Double, holder: HardwareAddress?)? {
            while time <= limit {
                while let answer = answers.first, answer.at <= time {
                    let askedAt = instant(answer.asked)
                    predecessor?.answeredSince = askedAt
                    answers.removeFirst()
                }
                if !isOver { probe.seek(isAllowed: time >= leaseAt, predecessor: predecessor, now: now) }
                switch probe.next(now: now) {
                case .claim(let holder): return (time, holder)
                case .idle: return nil
                case .send:
                    sent.append(time)
                    let wantsInquiry = probe.wantsInquiry
                    if let mac = answer(time) { probe.heard(ClaimProbeTests.mac(mac), as: .holder, now: now) }
                    probe.sent(now: now)
                    if wantsInquiry {
                        inquiries.append(time)
                        if let delay = hostAnswer(time) { answers.append((time + delay, time)) }
                    }
                case .wait(let until):
                    var wake = isOver || time >= leaseAt ? until : min(until, instant(leaseAt))
                    if let answer = answers.first { wake = min(wake, instant(answer.at)) }
                    if wake <= now { Issue.record("it would wake again and again") }
                    now = max(wake, now.advanced(by: .microseconds(1))).advanced(by: late())
                }
            }
            return nil
        }

        /// The same; throws when there was none.
        mutating func claim(before limit: Double) throws -> (time: Double, holder: HardwareAddress?) {
            guard let claim = claimIfAny(before: limit) else {
                throw DidNotHappen(description: "no claim within \(limit) ms; sent at \(sent)")
            }
            return claim
        }

        func instant(_ time: Double) -> BootInstant {
            ClaimProbeTests.start.advanced(by: .nanoseconds(Int(time * 1_000_000)))
        }
    }

    private static func mac(_ last: UInt8) -> HardwareAddress {
        HardwareAddress([2, 0, 0, 0, 0, last]) ?? HardwareAddress.broadcast
    }

    @Test(
        "who announces a held address now and then and answers no probe is there until five seconds after the last word"
    )
    func announcing() throws {
        var probe = ClaimProbe()
        var now = Self.start
        probe.met(Self.mac(9), now: now)
        for _ in 0..<20 {
            now = now.advanced(by: .seconds(3))
            guard case .wait = probe.next(now: now) else { return #expect(Bool(false), "it asks at \(now)") }
            probe.met(Self.mac(9), now: now)
            #expect(probe.isWatching)
        }
        now = now.advanced(by: .seconds(5))
        for _ in 0..<3 {
            #expect(probe.next(now: now) == .send)
            probe.sent(now: now)
            now = now.advanced(by: .milliseconds(1))
        }
        #expect(probe.next(now: now.advanced(by: .milliseconds(1))) == .idle && !probe.isWatching)
    }

    @Test("a stranger's answers do not interrupt the question; he is the foreign holder if he was heard in it")
    func stranger() throws {
        var probe = ClaimProbe()
        var now = Self.start
        probe.seek(isAllowed: true, now: now)
        for _ in 0..<3 {
            #expect(probe.next(now: now) == .send)
            probe.sent(now: now)
            probe.heard(Self.mac(9), as: .stranger, now: now)
            now = now.advanced(by: .milliseconds(1))
        }
        #expect(probe.holder == nil)
        now = now.advanced(by: .milliseconds(1))
        #expect(probe.next(now: now) == .claim(foreignHolder: Self.mac(9)))
        // Who was heard long ago is not there any more, as far as is known.
        var later = probe
        let end = now.advanced(by: .milliseconds(99))
        later.claimed(now: end)
        #expect(!later.isWatching)
        probe.claimed(now: now)
        #expect(probe.isWatching && probe.holder == Self.mac(9))
        // While the address is held he is one who has it, like any other.
        now = now.advanced(by: .seconds(5))
        #expect(probe.next(now: now) == .send)
        probe.sent(now: now)
        probe.heard(Self.mac(8), as: .stranger, now: now)
        #expect(probe.isWatching && probe.holder == Self.mac(8))
    }

    @Test("nobody answers three probes a millisecond apart: claimed after 4 ms")
    func silence() throws {
        var play = Play()
        let claim = try play.claim(before: 100)
        #expect(play.sent == [0, 1, 2])
        #expect(claim.time == 4 && claim.holder == nil)
        play.probe.claimed(now: play.now)
        #expect(!play.probe.isActive)
        #expect(play.probe.next(now: play.now) == .idle)
    }

    @Test(
        "asked before the lease: it is claimed with the lease, however late that is",
        arguments: [4.0, 17, 52, 330, 999])
    func early(leaseAt: Double) throws {
        var play = Play(leaseAt: leaseAt)
        let claim = try play.claim(before: 5000)
        #expect(claim.time == leaseAt && claim.holder == nil)
        // The question is asked again every 50 ms or so meanwhile.
        #expect(play.sent.count <= 3 * (1 + Int(leaseAt / 50)))
    }

    @Test("somebody who comes after the silence and before the lease is heard")
    func appearsBeforeLease() throws {
        var play = Play(answer: { (300..<700).contains($0) ? 7 : nil }, leaseAt: 500)
        let claim = try play.claim(before: 5000)
        #expect(claim.time > 700 && claim.time < 720 && claim.holder == nil)
    }

    @Test("a holder that goes: claimed within 20 ms, and he is asked once every 15 ms until then", arguments: 0..<20)
    func holderGoes(phase: Int) throws {
        let end = 700 + Double(phase)
        var play = Play(answer: { $0 < end ? 7 : nil })
        let claim = try play.claim(before: 5000)
        #expect(claim.time > end && claim.time <= end + 20)
        #expect(claim.holder == nil)
        let answered = play.sent.filter { $0 < end }
        #expect(zip(answered, answered.dropFirst()).allSatisfy { $1 - $0 == 15 })
    }

    @Test(
        "a holder that never goes: claimed after the bound, which counts from the lease", arguments: [0.0, 250, 3000])
    func holderStays(leaseAt: Double) throws {
        var play = Play(answer: { _ in 7 }, leaseAt: leaseAt)
        let claim = try play.claim(before: 9000)
        #expect(claim.time == leaseAt + 2000)
        #expect(claim.holder == Self.mac(7))
        #expect(play.probe.holder == Self.mac(7))
    }

    @Test("a lease that was lost meanwhile: the bound begins anew, for somebody else may have renewed his hold")
    func leaseLost() throws {
        var play = Play(answer: { _ in 7 })
        let early = play.claimIfAny(before: 1500)
        #expect(early == nil)
        play.leaseAt = 1800
        let claim = try play.claim(before: 9000)
        #expect(claim.time == 3800)
    }

    @Test("two of the three probes or their answers are lost: the one that is answered suffices", arguments: 0..<3)
    func lost(answered: Int) throws {
        var count = 0
        var play = Play(
            answer: { time in
                defer { count += 1 }
                return count == answered && time < 10 ? 7 : nil
            })
        let claim = try play.claim(before: 100)
        // The next round is silent.
        #expect(claim.time == 19)
        #expect(play.sent.count == answered + 1 + 3)
    }

    @Test("an answer that comes just in time for the verdict counts")
    func lastMoment() {
        var play = Play()
        let early = play.claimIfAny(before: 3.5)
        #expect(early == nil)
        play.now = play.instant(3.999)
        play.probe.heard(Self.mac(7), as: .holder, now: play.now)
        #expect(play.probe.next(now: play.instant(4)) == .wait(until: play.instant(15)))
        #expect(!play.probe.mayClaim(now: play.instant(4)))
    }

    @Test("an announcement after the verdict and before the claim takes the permission away")
    func announcedAfterVerdict() {
        var play = Play()
        _ = play.claimIfAny(before: 100)
        #expect(play.probe.mayClaim(now: play.now))
        play.probe.heard(Self.mac(7), as: .holder, now: play.now)
        #expect(!play.probe.mayClaim(now: play.now))
        #expect(play.probe.next(now: play.now) == .wait(until: play.now.advanced(by: .milliseconds(15))))
    }

    @Test("silence grows old: it permits nothing 100 ms later")
    func stale() {
        var play = Play()
        _ = play.claimIfAny(before: 100)
        #expect(!play.probe.mayClaim(now: play.now.advanced(by: .milliseconds(100))))
    }

    @Test("somebody who only asks delays the claim, but not for long, even if he never stops")
    func rival() throws {
        var play = Play()
        let first = play.instant(1.5)
        let early = play.claimIfAny(before: 1)
        #expect(early == nil)
        play.probe.heard(Self.mac(7), as: .rival, now: first)
        let claim = try play.claim(before: 100)
        #expect(claim.time == 19)

        var stubborn = ClaimProbe()
        var now = Self.start
        var isClaimed = false
        while !isClaimed, Self.start.duration(to: now) < .seconds(1) {
            stubborn.seek(isAllowed: true, now: now)
            stubborn.heard(Self.mac(7), as: .rival, now: now)
            switch stubborn.next(now: now) {
            case .claim(let holder):
                isClaimed = true
                #expect(holder == nil)
            case .send: stubborn.sent(now: now)
            case .wait(let until): now = until
            case .idle: Issue.record("it gave up")
            }
        }
        #expect(isClaimed)
        #expect(Self.start.duration(to: now) <= .milliseconds(60 + 15 + 4))
    }

    @Test("late wake-ups: the probes keep their distance and the last answer its time")
    func late() throws {
        var play = Play(late: { .milliseconds(30) })
        let claim = try play.claim(before: 1000)
        #expect(play.sent == [0, 31, 62])
        #expect(claim.time == 94)
    }

    @Test("after a claim beside a foreign holder he is asked for every five seconds, until he is gone")
    func watch() throws {
        var play = Play(answer: { $0 < 9000 ? 7 : nil })
        let claim = try play.claim(before: 3000)
        #expect(claim.time == 2000)
        play.probe.claimed(now: play.now)
        play.isOver = true
        play.sent = []
        #expect(play.probe.isWatching)
        let early = play.claimIfAny(before: 20_000)
        #expect(early == nil)
        #expect(play.sent == [7000, 12_000, 12_001, 12_002])
        #expect(!play.probe.isActive && play.probe.holder == nil)
    }

    @Test("a probe that is stopped, or never began, hears nothing and does nothing")
    func stopped() {
        var probe = ClaimProbe()
        probe.heard(Self.mac(7), as: .holder, now: Self.start)
        #expect(probe.holder == nil && probe.next(now: Self.start) == .idle)
        probe.seek(isAllowed: true, now: Self.start)
        probe.heard(Self.mac(7), as: .holder, now: Self.start)
        probe.stop()
        #expect(probe == ClaimProbe())
    }

    // MARK: A holder whose process has ended

    @Test("a holder's process has ended and his host answers: claimed as soon as ever, and he is asked once")
    func hostAnswers() throws {
        var play = Play(predecessor: Predecessor(endedAt: Self.start, answeredSince: nil), hostAnswer: { _ in 0.2 })
        let claim = try play.claim(before: 100)
        #expect(claim.time == 4 && claim.holder == nil)
        #expect(play.inquiries == [2])
    }

    @Test("his host answers late: claimed when it does")
    func hostAnswersLate() throws {
        var play = Play(predecessor: Predecessor(endedAt: Self.start, answeredSince: nil), hostAnswer: { _ in 9 })
        let claim = try play.claim(before: 100)
        #expect(claim.time == 11)
        #expect(!play.probe.isWithheld, "not worth telling")
    }

    @Test("neither he nor his host answers: the claim waits until his kernel has let go, two seconds after his end")
    func hostSilent() throws {
        var play = Play()
        play.predecessor = Predecessor(endedAt: play.instant(-300), answeredSince: nil)
        let early = play.claimIfAny(before: 100)
        #expect(early == nil && play.probe.isWithheld)
        let claim = try play.claim(before: 5000)
        #expect(claim.time == 1700 && claim.holder == nil)
        #expect(zip(play.inquiries, play.inquiries.dropFirst()).allSatisfy { $1 - $0 > 50 && $1 - $0 < 60 })
    }

    @Test("an answer to what was asked before the last probe proves nothing: the host may have been cut off since")
    func hostAnsweredBefore() throws {
        var play = Play()
        play.predecessor = Predecessor(endedAt: Self.start, answeredSince: play.instant(1.9))
        let early = play.claimIfAny(before: 1900)
        #expect(early == nil)
        let claim = try play.claim(before: 5000)
        #expect(claim.time == 2000)
    }

    @Test("his host is back after 500 ms: claimed at once when his kernel has not got it, and waited for when it has")
    func hostReturns() throws {
        let process = Predecessor(endedAt: Self.start, answeredSince: nil)
        var gone = Play(predecessor: process, hostAnswer: { $0 > 500 ? 0.2 : nil })
        let claim = try gone.claim(before: 5000)
        #expect(claim.time > 500 && claim.time < 560)
        var there = Play(
            answer: { $0 > 500 && $0 < 1100 ? 7 : nil }, predecessor: process, hostAnswer: { $0 > 500 ? 0.2 : nil })
        let late = try there.claim(before: 5000)
        #expect(late.time > 1100 && late.time < 1120)
    }

    @Test("a host that was heard is believed for its round only: the next lead asks anew")
    func hostAskedAnew() throws {
        var play = Play(predecessor: Predecessor(endedAt: Self.start, answeredSince: nil), hostAnswer: { _ in 0.2 })
        play.leaseAt = 40
        let claim = try play.claim(before: 100)
        #expect(claim.time == 40)
        play.hostAnswer = { _ in nil }
        play.probe.stop()
        play.now = play.instant(200)
        let early = play.claimIfAny(before: 1990)
        #expect(early == nil)
    }

    /// Hosts that come and go at random, lossy, under late wake-ups and a lease that comes and goes.
    @Test("whatever happens: no claim while each probe is answered and the bound is not over", arguments: 1...100)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(state: seed)
        func chance(_ limit: Double) -> Double { Double.random(in: 0..<limit, using: &generator) }
        let present = chance(3000)
        let absent = present + chance(1500)
        let leaseAt = chance(2) < 1 ? 0 : chance(2500).rounded()
        var delays = SeededGenerator(state: seed &* 77)
        let isLate = seed.isMultiple(of: 3)
        let answer: (Double) -> UInt8? = { $0 < present / 3 || (present..<absent).contains($0) ? 9 : nil }
        var play = Play(
            answer: answer, leaseAt: leaseAt,
            late: { isLate ? .microseconds(Int.random(in: 0..<8000, using: &delays)) : .zero })
        let claim = try play.claim(before: 20_000)
        #expect(claim.time >= leaseAt)
        if let holder = claim.holder {
            #expect(holder == Self.mac(9))
            #expect(claim.time >= leaseAt + 2000)
        } else {
            // A whole round was met with silence not long ago.
            let silent = play.sent.filter { answer($0) == nil && $0 > claim.time - 104 - (isLate ? 40 : 0) }
            #expect(silent.count >= 3)
            // Free from `absent` on, it does not wait longer than one pause and one round.
            let free = max(leaseAt, absent)
            #expect(claim.time <= free + (isLate ? 100 : 20))
        }
    }
}

extension HardwareAddress {
    fileprivate static let broadcast: HardwareAddress = {
        guard let address = HardwareAddress(ARPFrame.broadcast) else { preconditionFailure("six bytes") }
        return address
    }()
}
