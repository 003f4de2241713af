import Platform

/// How the daemon ended; see wait(2).
public enum DaemonEnd: Hashable, Sendable {
    case exited(status: Int32)
    /// By a signal, with its name as strsignal(3) gives it.
    case signalled(number: Int32, name: String)
}

/// What happened to the guard, apart from records about addresses.
public enum GuardEvent: Hashable, Sendable {
    /// Nothing: a deadline may have come.
    case wake
    case started(pid: Int32)
    case startFailed(String)
    /// The daemon says that it is up.
    case ready
    /// One of the signals that mean "stop", by name.
    case stopSignal(String)
    /// The daemon's lifeline or its end of the channel is closed: it is dead or about to be.
    case channelClosed
    /// The daemon told something that the guard cannot obey, for the reason given: nothing it holds is guarded any more.
    case unguardable(String)
    case ended(DaemonEnd)
}

/// What the guard has to do, in this order.
public enum GuardDirective: Hashable, Sendable {
    case start
    case sendStop
    /// Delete every address of the table now, and go on watching it: the daemon may not be quite dead yet, and what it was
    /// about to set comes after this deletion.
    case removeAll
    /// The daemon is dead: delete every address of the table now, and forget it.
    case clear
    case kill
    case log(String)
    case exit(status: Int32)
}

/// Decides when the daemon is started, stopped, killed and given up. A value without clock and I/O.
public struct GuardSupervisor: Sendable {
    /// The guard's times and the exit statuses that it passes on.
    public struct Policy: Sendable, Hashable {
        /// How long it waits before the first restart; doubled with each further one.
        public var firstDelay: Duration = .milliseconds(100)
        public var longestDelay: Duration = .seconds(10)
        /// A daemon that ran this long was sound: the next restart waits `firstDelay` again.
        public var soundAfter: Duration = .seconds(60)
        /// How long a daemon may take to stop before it is killed.
        public var stopTimeout: Duration = .seconds(5)
        /// How long a daemon that closed its channel may take to end by itself before it is killed.
        public var endTimeout: Duration = .milliseconds(200)
        /// Statuses with which a restart would change nothing (sysexits.h: usage, permission, configuration): the guard
        /// exits with the same. 0 is always one of them.
        public var finalStatuses: Set<Int32> = [64, 77, 78]

        public init() {}
    }

    private enum State: Hashable {
        case idle(startAt: BootInstant)
        case running(pid: Int32, since: BootInstant)
        /// Waiting for its end; killed again at `killAt`, should it still be there.
        case ending(pid: Int32, since: BootInstant, killAt: BootInstant)
        case finished
    }

    /// The status of a guard that had to kill the daemon to stop it.
    public static let killedStatus: Int32 = 1

    private let policy: Policy
    private var state: State
    private var delay: Duration
    private var isReady = false
    private var wasEverReady = false
    private var stops = 0
    private var stopDeadline: BootInstant?

    public init(policy: Policy = Policy(), now: BootInstant) {
        self.policy = policy
        state = .idle(startAt: now)
        delay = policy.firstDelay
    }

    /// When `step(.wake)` has something to do at the latest; nil when only an event can change anything.
    public var nextWake: BootInstant? {
        switch state {
        case .idle(let startAt): startAt
        case .running: stopDeadline
        case .ending(_, _, let killAt): killAt
        case .finished: nil
        }
    }

    public mutating func step(_ event: GuardEvent, now: BootInstant) -> [GuardDirective] {
        switch (event, state) {
        case (_, .finished):
            return []

        case (.wake, .idle(let startAt)):
            return startAt <= now ? [.start] : []
        case (.wake, .running(let pid, let since)):
            guard let stopDeadline, stopDeadline <= now else { return [] }
            return kill(pid, since, now, "it did not stop within \(text(policy.stopTimeout))")
        case (.wake, .ending(let pid, let since, let killAt)):
            guard killAt <= now else { return [] }
            if stops > 1 || stopDeadline.map({ $0.advanced(by: policy.stopTimeout) <= now }) == true {
                state = .finished
                return [
                    .removeAll, .kill, .log("the daemon (pid \(pid)) was killed but does not end; the guard ends"),
                    .exit(status: Self.killedStatus),
                ]
            }
            state = .ending(pid: pid, since: since, killAt: now.advanced(by: .seconds(1)))
            return [.removeAll, .kill]

        case (.started(let pid), _):
            state = .running(pid: pid, since: now)
            isReady = false
            return [.log("the daemon is started as pid \(pid)")]
        case (.startFailed(let reason), _):
            let wait = backOff(now)
            return [.log("the daemon cannot be started: \(reason); the next attempt is in \(text(wait))")]

        case (.ready, _):
            isReady = true
            wasEverReady = true
            return []

        case (.stopSignal(let name), .idle):
            state = .finished
            return [.log("\(name): the guard ends; the daemon is not running"), .exit(status: 0)]
        case (.stopSignal(let name), .running(let pid, let since)):
            stops += 1
            if stops > 1 { return kill(pid, since, now, "\(name) came a second time") }
            stopDeadline = now.advanced(by: policy.stopTimeout)
            return [.sendStop, .log("\(name): the daemon (pid \(pid)) is asked to stop")]
        case (.stopSignal, .ending(let pid, let since, _)):
            stops += 1
            if stopDeadline == nil { stopDeadline = now.advanced(by: policy.stopTimeout) }
            guard stops > 1 else { return [] }
            state = .ending(pid: pid, since: since, killAt: now.advanced(by: .seconds(1)))
            return [.removeAll, .kill]

        case (.channelClosed, .running(let pid, let since)):
            state = .ending(pid: pid, since: since, killAt: now.advanced(by: policy.endTimeout))
            return [.removeAll]
        case (.channelClosed, _):
            return [.removeAll]

        case (.unguardable(let reason), .running(let pid, let since)):
            return kill(pid, since, now, reason)
        case (.unguardable, _):
            return [.removeAll]

        case (.ended(let end), .running(_, let since)), (.ended(let end), .ending(_, let since, _)):
            return [.clear] + ended(end, after: since.duration(to: now), now: now)
        case (.ended, .idle):
            return []
        }
    }

    private mutating func kill(
        _ pid: Int32, _ since: BootInstant, _ now: BootInstant, _ reason: String
    ) -> [GuardDirective] {
        state = .ending(pid: pid, since: since, killAt: now.advanced(by: .seconds(1)))
        return [.removeAll, .kill, .log("the daemon (pid \(pid)) is killed, its addresses are removed: \(reason)")]
    }

    private mutating func ended(_ end: DaemonEnd, after ran: Duration, now: BootInstant) -> [GuardDirective] {
        let what: String
        switch end {
        case .exited(let status):
            what = "the daemon ended with status \(status) after \(text(ran))"
            if stops > 0 || status == 0 || policy.finalStatuses.contains(status) {
                state = .finished
                return [.log(status == 0 ? "the daemon has stopped" : what), .exit(status: status)]
            }
            // Whoever started it is still looking, or is a supervisor with a restart policy of its own.
            if !wasEverReady {
                state = .finished
                return [.log("\(what) and was never up: it is not started again"), .exit(status: status)]
            }
        case .signalled(let number, let name):
            what = "the daemon was ended by signal \(number) (\(name)) after \(text(ran))"
            if stops > 0 {
                state = .finished
                return [.log(what), .exit(status: Self.killedStatus)]
            }
        }
        if ran >= policy.soundAfter { delay = policy.firstDelay }
        let wait = backOff(now)
        let phase = isReady ? "" : " before it was up"
        return [.log("\(what)\(phase); its addresses are removed, and it is started again in \(text(wait))")]
    }

    private mutating func backOff(_ now: BootInstant) -> Duration {
        let wait = delay
        state = .idle(startAt: now.advanced(by: wait))
        delay = min(delay * 2, policy.longestDelay)
        return wait
    }

    private func text(_ duration: Duration) -> String {
        let tenths = (duration.inMilliseconds + 50) / 100
        return "\(tenths / 10).\(tenths % 10) s"
    }
}
