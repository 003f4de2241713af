import Dqlite
import Lease
import Logging
import NIOCore
import Platform

/// Everything that passes between the local node and its peers, and what the relays promise each other about it: leases,
/// gate, and the first vote after a leader's death (DOC/SAFETY.md, DOC/FAILOVER.md).
///
/// What to do is `RelayCore`'s decision; this carries it out: links, timer, questions to other hosts. One per local node, confined to
/// one event loop, so that each frame is judged and passed on in one piece: nothing can come between a promise and the
/// acknowledgement of it, or between a surrender and the vote that makes it needed.
final class RaftRelay {
    /// What relays understand of each other; different versions do not connect.
    static let version = 4

    let own: DqliteNodeID
    let loop: any EventLoop
    let logger: Logger
    let facts: RelayFacts
    var core: RelayCore
    var outbound: [DqliteNodeID: OutboundLink] = [:]
    var names = MemberNames()
    var inbound: [DqliteNodeID: InboundLink] = [:]
    private var held: [VoteTicket: (link: OutboundLink, frame: ByteBuffer)] = [:]
    private var timer: (task: Scheduled<Void>, at: BootInstant)?
    private var isClosed = false
    /// The leader whose connection ended last, its port, and when.
    private var suspect: (process: VoteGate.LeaderProcess, address: HostPort, endedAt: BootInstant)?
    /// The cluster ports of the hosts of leaders whose process ended.
    private var ports: [VoteGate.LeaderProcess: HostPort] = [:]
    private let inquiry: HostInquiry
    private var alarms: Set<RelayAlarm> = []
    /// How many changes of the voters, and up to which term, other threads know of.
    private var published: (changes: UInt64, term: UInt64, leader: VoterID?) = (0, 0, nil)
    private var lookedForStuck = BootInstant(nanoseconds: 0)
    /// Called when this node begins to lead a term.
    private let onLead: @Sendable () -> Void
    /// Called when this node's lease has begun, ended or got another end. It must not block.
    private let onLease: @Sendable () -> Void
    /// Called before the local node's request to another to stand leaves the host.
    private let onTransfer: @Sendable (DqliteNodeID?) -> Void
    /// Called when a peer that could not be reached is connected again.
    let onReturn: @Sendable () -> Void
    let members: @Sendable () -> [DqliteMember]
    /// Called when a configuration has passed: the members are to be read again.
    let onConfiguration: @Sendable () -> Void
    private let observer: RaftObserver
    private let raftDirectory: String?
    private lazy var unreadable = UnreadableStreams(
        closedUntil: { [weak self] in self?.core.gate.closedNow ?? BootClock.now },
        schedule: { [weak self] in self?.schedule(at: $0, $1) })

    /// - Parameters:
    ///   - metadata: libraft's term and vote on disk.
    ///   - closedUntil: when all is over that an earlier process can have promised under this id; nil when there was none.
    ///   - raftDirectory: where the term is read again after a stream could not be.
    ///   - members: the members as last seen.
    init(
        own: DqliteNodeID, metadata: RaftMetadata?, closedUntil: BootInstant?, raftDirectory: String? = nil,
        loop: any EventLoop, settings: RelayCore.Settings, facts: RelayFacts,
        observer: RaftObserver, members: @escaping @Sendable () -> [DqliteMember], logger: Logger,
        onLead: @escaping @Sendable () -> Void, onLease: @escaping @Sendable () -> Void,
        onTransfer: @escaping @Sendable (DqliteNodeID?) -> Void, onReturn: @escaping @Sendable () -> Void,
        onConfiguration: @escaping @Sendable () -> Void = {}
    ) {
        self.own = own
        self.loop = loop
        self.facts = facts
        self.observer = observer
        self.members = members
        self.logger = logger
        self.raftDirectory = raftDirectory
        self.onLead = onLead
        self.onLease = onLease
        self.onTransfer = onTransfer
        self.onReturn = onReturn
        self.onConfiguration = onConfiguration
        inquiry = HostInquiry(loop: loop, limit: settings.succession.probePatience * 5 / 8)
        core = RelayCore(
            own: own, term: metadata?.term ?? 0, hasVoted: metadata.map { $0.votedFor != 0 } ?? false,
            closedUntil: closedUntil, settings: settings, now: BootClock.now)
        facts.update { $0.closedUntil = core.gate.closedUntil }
        publish(BootClock.now)
    }

    // MARK: - Frames

    /// Passes a frame of the local node on, with what it means for lease and gate; or keeps it back.
    func send(_ frame: RaftFrame, _ bytes: ByteBuffer, names: NamedVoters?, on link: OutboundLink) {
        let now = BootClock.now
        observer.sends(frame)
        let passage = core.sends(RelayFrame(frame), to: link.peer, names: names, now: now)
        perform(now)
        switch passage {
        case .pass(let wantsPromise, let acknowledging):
            link.write(
                .frame(bytes, sentAt: now, wantsPromise: wantsPromise), and: acknowledging.map(RelayMessage.init))
        case .hold(let ticket): held[ticket] = (link, bytes)
        case .drop: break
        }
    }

    /// Judges a frame of a peer just before it is written to the local node.
    func receive(
        _ frame: RaftFrame, _ bytes: ByteBuffer, wantsPromise: Bool, sentAt: BootInstant, from link: InboundLink
    ) -> Reception {
        let now = BootClock.now
        observer.receives(frame, from: link.peer.voter, now: now)
        var voters: NamedVoters?
        if case .configuration(let configuration, let index) = bytes.namedConfiguration(in: frame) {
            names.saw(configuration, now: now)
            voters = NamedVoters(voters: configuration.voters, index: index)
        }
        if core.succession.leader != link.peer { readVoters() }
        let reception = core.receives(
            RelayFrame(frame), from: link.peer, names: voters, wantsPromise: wantsPromise, sentAt: sentAt,
            canOwe: outbound[link.peer.voter]?.isConnected == true, now: now)
        perform(now)
        return reception
    }

    /// A peer's relay says something.
    func told(_ message: PeerMessage, by process: VoteGate.LeaderProcess) {
        let now = BootClock.now
        if case .asked = message { readVoters() }
        core.told(message, by: process, now: now)
        perform(now)
    }

    // MARK: - Directives

    private func perform(_ now: BootInstant) {
        for directive in core.take() { perform(directive, now) }
        if core.changes != published.changes || term != published.term || leader != published.leader { publish(now) }
        arm()
    }

    private func perform(_ directive: RelayDirective, _ now: BootInstant) {
        switch directive {
        case .leaseMoved:
            publish(now)
            onLease()
        case .leaseLost(let loss): facts.update { $0.leases.loses(by: loss, now: now) }
        case .leads(let term):
            facts.update { $0.elections.leads(in: term, heardAt: heardAt, now: now) }
            onLead()
        case .transfers(let peer): onTransfer(peer)
        case .declined(let peer, let term):
            facts.update { $0.declined = .init(node: peer, term: term, at: now) }
            publish(now)
            logger.info(
                "the node that was asked to lead keeps its votes back still: this node goes on leading",
                metadata: ["peer.dqlite_id": "\(peer)", "raft.term": "\(term)"])
            onLease()
        case .askedToStand(let peer, let term):
            facts.update { $0.askedToStand = .init(node: peer, term: term, at: now) }
        case .stands(let cause):
            let isAsked = cause == .transferred
            facts.update {
                $0.elections.stands(
                    for: isAsked ? .transferred : .timeout, lastSign: isAsked ? now : heardAt, heardAt: heardAt,
                    now: now)
            }
        case .decided(let reason): decided(reason, now)
        case .readMembers: onConfiguration()
        case .release(let ticket):
            guard let (link, frame) = held.removeValue(forKey: ticket) else { return }
            link.write(.frame(frame, sentAt: now, wantsPromise: false))
        case .discard(let ticket): held[ticket] = nil
        case .tell(let peer, let message): outbound[peer]?.write(RelayMessage(message))
        case .tellAll(let message):
            if case .asked(let term, _) = message {
                logger.notice(
                    "no majority of the voters answers: the others are asked to replace this leader",
                    metadata: ["raft.term": "\(term)"])
            }
            for link in outbound.values { link.write(RelayMessage(message)) }
        case .answer(let peer, let message): inbound[peer]?.answer(RelayMessage(message))
        case .inject(let leader, let term, let position): inbound[leader]?.inject(term: term, position)
        case .fence(let leader, let term): inbound[leader]?.fence(term: term)
        case .probe(let process, let delay): probe(process, after: delay)
        case .predecessorsChanged:
            let processes = core.predecessors.processes
            ports = ports.filter { processes.contains($0.key) }
            facts.update {
                $0.predecessors = core.predecessors.account
                $0.ended = Set(processes.map(\.voter))
            }
            onLease()
        case .alarm(let alarm): sound(alarm)
        }
    }

    /// The highest term in which this node has voted or followed.
    private var term: UInt64 { max(core.gate.term, core.succession.term) }

    /// Who was heard as the leader of that term.
    private var leader: VoterID? { core.succession.term == term ? core.succession.leader?.voter : nil }

    /// Tells other threads what there is now.
    private func publish(_ now: BootInstant) {
        let looks = lookedForStuck.duration(to: now) > .milliseconds(250)
        if looks { lookedForStuck = now }
        published = (core.changes, term, leader)
        facts.update { values in
            values.lease = core.lease
            values.changes = core.changes
            values.term = term
            values.leader = leader
            values.promises = core.gate.bound(but: own)
            values.unreadable = core.unreadable
            if looks { values.stuck = core.stuck(now: now) }
            values.note(end: core.lease.end(now: now), now)
        }
    }

    private func sound(_ alarm: RelayAlarm) {
        guard alarms.count < 64, alarms.insert(alarm).inserted else { return }
        switch alarm {
        case .twoLeaders(let term, let first, let second):
            facts.update { $0.twoLeaders = term }
            logger.critical(
                "two nodes lead one term, which raft forbids: the second is not heard; look for a node that runs on a copied data directory, and compare the data of the nodes",
                metadata: ["raft.term": "\(term)", "raft.leader": "\(first)", "peer.dqlite_id": "\(second)"])
        case .diskFailed:
            facts.update { $0.hasFailedDisk = true }
            logger.critical(
                "the database node could not write to its disk: nothing more is stored through it, and the daemon ends, to start anew from what is stored"
            )
        case .secondVote(let term, let candidate):
            logger.notice(
                "the database node voted twice in one term: the second vote was kept from leaving",
                metadata: ["raft.term": "\(term)", "peer.dqlite_id": "\(candidate)"])
        }
    }

    // MARK: - Time

    private func arm() {
        guard !isClosed, let at = core.nextWake else {
            timer?.task.cancel()
            timer = nil
            return
        }
        // A timer that is early looks again; one for each heartbeat would cost more.
        if let timer, timer.at <= at { return }
        timer?.task.cancel()
        let task = schedule(at: at) { [weak self] in
            guard let self else { return }
            timer = nil
            let now = BootClock.now
            guard now >= at else { return arm() }
            readVoters()
            core.due(now: now, planned: at)
            perform(now)
        }
        timer = (task, at)
    }

    /// A little behind the instant: what waits for it must not come too early. When it is far off, before it: the event loop's
    /// clock is one that NTP slews, by a tenth at most (`BootTimer`), and who comes late would take it for a pause of its own.
    private func schedule(at instant: BootInstant, _ body: @escaping () -> Void) -> Scheduled<Void> {
        let left = max(.zero, BootClock.now.duration(to: instant))
        let delay = (left > .milliseconds(4) ? left * 8 / 9 : left) + .microseconds(100)
        return loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay.inNanoseconds), body)
    }

    // MARK: - Voters

    /// The voters as the local node told them.
    func learnt(voters ids: [DqliteNodeID], by reading: RelayCore.Reading) {
        let now = BootClock.now
        core.learnt(voters: ids, by: reading, now: now)
        perform(now)
    }

    /// The successor has the addresses: they are kept no longer.
    func letsGo() {
        let now = BootClock.now
        core.letsGo(now: now)
        perform(now)
    }

    /// A client of the local node was told that the disk has failed.
    func diskFailed() {
        core.diskFailed()
        perform(BootClock.now)
    }

    func readVoters() { core.knows(voters: members().filter { $0.role == .voter }.map(\.id)) }

    /// The voters that have acknowledged something which this node, as the leader, sent within so long.
    func responsive(within window: Duration) -> Set<DqliteNodeID> {
        let since = BootClock.now.advanced(by: .zero - window)
        return Set(core.lease.acknowledged(since: since))
    }

    /// How far each peer has stored the log, as it last said.
    var storedIndexes: [DqliteNodeID: UInt64] { core.storedIndexes }

    // MARK: - A leader's death

    /// A peer's connection has ended. If it led, its process may be dead.
    func lost(_ link: InboundLink) {
        let now = BootClock.now
        readVoters()
        // Others end, too; their ports say nothing of the leader's process.
        if link.peer == core.succession.leader { suspect = (link.peer, link.address, now) }
        // It may have led before the one that leads now: what nobody asks for is forgotten.
        ports[link.peer] = link.address
        core.ended(link.peer, now: now)
        perform(now)
        ports = ports.filter { core.predecessors.processes.contains($0.key) }
    }

    private func probe(_ process: VoteGate.LeaderProcess, after delay: Duration) {
        guard let suspect, suspect.process == process else { return }
        loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay.inNanoseconds)) { [weak self] in
            guard let self, !isClosed else { return }
            inquiry.ask(suspect.address) { [weak self] answer in
                guard let self, !isClosed else { return }
                let now = BootClock.now
                core.probed(process, isRefused: answer == .refused, now: now)
                perform(now)
            }
        }
    }

    /// Asks the hosts of leaders whose process ended; `onAnswer` is called when what is known of them has changed.
    func inquire(_ onAnswer: @escaping () -> Void) {
        let askedAt = BootClock.now
        for process in core.predecessors.processes {
            guard let address = ports[process] else { continue }
            inquiry.ask(address) { [weak self] answer in
                guard let self, !isClosed, answer.isHeard, core.answered(process, askedAt: askedAt) else { return }
                perform(BootClock.now)
                onAnswer()
            }
        }
    }

    /// When a leader was last heard; nil before the first time.
    private var heardAt: BootInstant? {
        core.succession.heardAt.nanoseconds == 0 ? nil : core.succession.heardAt
    }

    private func decided(_ reason: SuccessionCore.Reason, _ now: BootInstant) {
        let lastSign = reason == .dead ? suspect?.endedAt ?? core.succession.heardAt : core.succession.heardAt
        facts.update {
            $0.elections.stands(
                for: reason == .dead ? .dead : .silent, lastSign: lastSign, heardAt: heardAt, now: now)
        }
        let words: Logger.Message =
            switch reason {
            case .dead: "the leader's process is dead: this node stands for election"
            case .silent: "the leader is silent, and others say so, too: this node stands for election"
            case .unanswered: "the leader says that it hears no majority: this node stands for election"
            }
        logger.notice(
            words,
            metadata: [
                "raft.leader": "\(core.succession.leader?.voter ?? 0)", "raft.term": "\(core.succession.term)",
            ])
    }

    // MARK: - Unreadable streams

    /// A stream is passed on from now on without being understood. While there is one this node has no lease: what its
    /// own node votes there cannot be seen.
    func unreadable(_ link: AnyObject, _ address: String) {
        guard unreadable.add(link) else { return }
        let now = BootClock.now
        core.unreadable(now: now)
        logger.warning(
            "a raft stream cannot be read: it is passed on, but there are no leases, and the address follows raft's own timers",
            metadata: ["peer.address": "\(address)"])
        perform(now)
    }

    /// Passes on what cannot be read, once no promise binds any more: there may be a vote in it.
    func sendRaw(_ bytes: ByteBuffer, on link: OutboundLink) { unreadable.send(bytes, on: link) }

    /// The link begins anew, or is gone.
    func readable(_ link: AnyObject) {
        guard unreadable.remove(link) else { return }
        let now = BootClock.now
        let metadata = raftDirectory.flatMap { RaftMetadata.read(inDirectory: $0) }
        core.readable(
            term: metadata?.term ?? core.gate.term, hasVoted: metadata.map { $0.votedFor != 0 } ?? true, now: now)
        perform(now)
    }

    // MARK: - The end

    func close() {
        isClosed = true
        timer?.task.cancel()
        timer = nil
        unreadable.close()
        facts.update { $0.leases.loses(by: .stopped, now: BootClock.now) }
        for link in outbound.values { link.close() }
        for link in inbound.values { link.close() }
        outbound = [:]
        inbound = [:]
        held = [:]
    }
}
