import Dqlite
import Glibc
import Lease
import Logging
import NIOCore
import NIOPosix
import Platform

/// Carries out what `SuccessionCore` decides: timer, probe of the leader's port, questions to the other voters.
///
/// Confined to the relay's event loop.
final class Succession {
    private var core: SuccessionCore
    private let loop: any EventLoop
    private let members: @Sendable () -> [DqliteMember]
    private let logger: Logger
    private let actions: Actions
    private var timer: (task: Scheduled<Void>, at: BootInstant)?
    private var isStopped = false
    /// The leader whose connection ended last, its port, and when.
    private var suspect: (process: VoteGate.LeaderProcess, address: HostPort, endedAt: BootInstant)?
    private var reported: SuccessionCore.Reason?
    private var predecessors = Predecessors()
    /// The cluster ports of their hosts.
    private var ports: [VoteGate.LeaderProcess: HostPort] = [:]

    /// What the relay does when it is told to.
    struct Actions {
        /// Promises to the process bind no longer.
        var dead: (VoteGate.LeaderProcess) -> Void
        /// Asks the voters, the leader excepted, whether they hear the leader of the term.
        var ask: (_ voters: [DqliteMember], _ term: UInt64) -> Void
        /// Tells the voters, the leader excepted, that this node stands in place of the leader of the term.
        var tell: (_ voters: [DqliteMember], _ term: UInt64) -> Void
        /// Has the local node stand in the leader's name.
        var stand: (VoteGate.LeaderProcess) -> Void
        /// Until when this node's votes are kept back.
        var promisedUntil: () -> BootInstant
        /// This node is going to stand: why, when the last sign of the leader came, and when it was last heard.
        var decided: (_ reason: SuccessionCore.Reason, _ lastSign: BootInstant, _ heardAt: BootInstant?) -> Void
        /// What is known of leaders whose process ended has changed.
        var predecessors: (Predecessors.Account?) -> Void
    }

    init(
        own: DqliteNodeID, settings: SuccessionCore.Settings, loop: any EventLoop,
        members: @escaping @Sendable () -> [DqliteMember], logger: Logger, actions: Actions
    ) {
        core = SuccessionCore(own: own, settings: settings)
        self.loop = loop
        self.members = members
        self.logger = logger
        self.actions = actions
    }

    // MARK: - Events

    func heard(of leader: VoteGate.LeaderProcess, in term: UInt64, at now: BootInstant) {
        if predecessors.heard(of: leader) { noteChange() }
        guard core.heard(of: leader, in: term, now: now) else { return }
        reported = nil
        configure()
    }

    func moved(to term: UInt64) {
        core.moved(to: term)
        arm()
    }

    /// The members have changed.
    func configure() {
        core.configure(voters: members().filter { $0.role == .voter }.map(\.id))
        arm()
    }

    func ended(_ process: VoteGate.LeaderProcess, at address: HostPort) {
        let now = BootClock.now
        // Others end, too; their ports say nothing of the leader's process.
        if process == core.leader { suspect = (process, address, now) }
        if predecessors.ended(process, now: now) {
            ports[process] = address
            noteChange()
        }
        configure()
        perform(core.ended(process, now: now))
    }

    func confirmed(by voter: DqliteNodeID, in term: UInt64) {
        core.confirmed(by: voter, in: term, promisedUntil: actions.promisedUntil(), now: BootClock.now)
        report()
        arm()
    }

    func stands(_ voter: DqliteNodeID, in term: UInt64) {
        core.stands(voter, in: term, now: BootClock.now)
        arm()
    }

    /// A peer says that nobody answers it as leader of the term.
    ///
    /// - Returns: false when it is not the leader that this node follows.
    func gaveUp(_ process: VoteGate.LeaderProcess, in term: UInt64) -> Bool {
        guard process == core.leader else { return false }
        configure()
        core.gaveUp(process, in: term, promisedUntil: actions.promisedUntil(), now: BootClock.now)
        report()
        arm()
        return true
    }

    /// When a leader was last heard; nil before the first time.
    var heardAt: BootInstant? { core.heardAt.nanoseconds == 0 ? nil : core.heardAt }

    /// Whether to confirm the silence of the leader of the term.
    func isSilent(in term: UInt64) -> Bool { core.isSilent(in: term, now: BootClock.now) }

    func stop() {
        isStopped = true
        timer?.task.cancel()
        timer = nil
    }

    // MARK: - Directives

    private func perform(_ directives: [SuccessionCore.Directive]) {
        for directive in directives {
            switch directive {
            case .probe: probe()
            case .dead(let leader): actions.dead(leader)
            case .ask(let term): actions.ask(survivors, term)
            case .tell(let term): actions.tell(survivors, term)
            case .stand:
                if let leader = core.leader { actions.stand(leader) }
            }
        }
        report()
        arm()
    }

    /// The voters but for this node and the leader.
    private var survivors: [DqliteMember] {
        members().filter { $0.role == .voter && $0.id != core.own && $0.id != core.leader?.voter }
    }

    private func report() {
        guard let reason = core.reason, reported != reason else { return }
        reported = reason
        actions.decided(reason, reason == .dead ? suspect?.endedAt ?? core.heardAt : core.heardAt, heardAt)
        let words: Logger.Message =
            switch reason {
            case .dead: "the leader's process is dead: this node stands for election"
            case .silent: "the leader is silent, and others say so, too: this node stands for election"
            case .unanswered: "the leader says that it hears no majority: this node stands for election"
            }
        logger.notice(
            words,
            metadata: ["raft.leader": "\(core.leader?.voter ?? 0)", "raft.term": "\(core.term)"])
    }

    private func arm() {
        guard !isStopped, let at = core.nextWake else {
            timer?.task.cancel()
            timer = nil
            return
        }
        // A timer that is early looks again; one for each heartbeat would cost more.
        if let timer, timer.at <= at { return }
        timer?.task.cancel()
        let delay = max(.zero, BootClock.now.duration(to: at))
        let task = loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay.inNanoseconds)) { [weak self] in
            guard let self else { return }
            timer = nil
            perform(core.due(now: BootClock.now, planned: at))
        }
        timer = (task, at)
    }

    private func noteChange() {
        let processes = predecessors.processes
        ports = ports.filter { processes.contains($0.key) }
        actions.predecessors(predecessors.account)
    }

    /// Asks the hosts of leaders whose process ended whether they can be heard. What they answer is told by the action
    /// `predecessors`, and then by `onAnswer`.
    func inquire(_ onAnswer: @escaping () -> Void) {
        let askedAt = BootClock.now
        for process in predecessors.processes {
            guard let address = ports[process] else { continue }
            dial(address) { [weak self] result in
                guard let self, !isStopped, Self.isAnswer(result) else { return }
                guard predecessors.answered(process, askedAt: askedAt) else { return }
                noteChange()
                onAnswer()
            }
        }
    }

    /// Somebody is there: he took the connection, or his kernel refused it.
    private static func isAnswer(_ result: Result<any Channel, any Error>) -> Bool {
        switch result {
        case .success: true
        case .failure(let error as NIOConnectionError):
            error.connectionErrors.contains { ($0.error as? IOError)?.errnoCode == ECONNREFUSED }
        case .failure(let error): isRefusal(error)
        }
    }

    /// Connects to a port and says what came of it.
    private func dial(_ address: HostPort, _ body: @escaping (Result<any Channel, any Error>) -> Void) {
        let limit = core.settings.probePatience * 5 / 8
        let bootstrap = ClientBootstrap(group: loop).connectTimeout(.nanoseconds(limit.inNanoseconds))
        // An address needs no resolver, which would cost a thread's time.
        let attempt =
            if let socketAddress = try? SocketAddress(ipAddress: address.host, port: Int(address.port)) {
                bootstrap.connect(to: socketAddress)
            } else {
                bootstrap.connect(host: address.host, port: Int(address.port))
            }
        attempt.hop(to: loop).assumeIsolated().whenComplete { result in
            if case .success(let channel) = result { channel.close(promise: nil) }
            body(result)
        }
    }

    private func probe() {
        guard let (process, address, _) = suspect else { return }
        dial(address) { [weak self] result in
            guard let self, !isStopped else { return }
            let directives: [SuccessionCore.Directive]
            switch result {
            case .failure(let error) where Self.isRefusal(error):
                directives = core.probed(process, isRefused: true, now: BootClock.now)
            case .success, .failure:
                directives = core.probed(process, isRefused: false, now: BootClock.now)
            }
            guard directives == [.probe] else { return perform(directives) }
            loop.assumeIsolated().scheduleTask(
                in: .nanoseconds(core.settings.repetition.inNanoseconds)
            ) { [weak self] in
                guard let self, !isStopped else { return }
                perform(directives)
            }
        }
    }

    /// Refused, and not merely unanswered: only a kernel without a listener does that.
    private static func isRefusal(_ error: any Error) -> Bool {
        if let error = error as? NIOConnectionError {
            // A name may have several addresses; one that was never listened on says nothing.
            return !error.connectionErrors.isEmpty && error.connectionErrors.allSatisfy { isRefusal($0.error) }
        }
        return (error as? IOError)?.errnoCode == ECONNREFUSED
    }
}
