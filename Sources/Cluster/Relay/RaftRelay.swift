import Dqlite
import Lease
import Logging
import NIOCore
import Platform

/// Everything that passes between the local node and its peers, and what the relays promise each other about it: leases,
/// gate, and the first vote after a leader's death (DOC/SAFETY.md, DOC/FAILOVER.md).
///
/// One per local node, confined to one event loop, so that each frame is judged and passed on in one piece: nothing can
/// come between a promise and the acknowledgement of it, or between a surrender and the vote that makes it needed.
final class RaftRelay {
    struct Settings {
        /// How long a promise binds; see `VoteGate`.
        var hold: Duration
        var electionTimeout: Duration
        /// How long a leader may be silent; see `SuccessionCore`.
        var silence: Duration
        /// What a message may take to a peer.
        var latency: Duration = Timing.lan.latency

        /// Of the succession. What waits for other hosts grows with the latency; what waits for this one does not shrink.
        var succession: SuccessionCore.Settings {
            var settings = SuccessionCore.Settings(silence: silence)
            settings.stagger = max(settings.stagger, latency * 3 / 4)
            settings.probePatience = max(settings.probePatience, latency * 4)
            return settings
        }
    }

    /// What relays understand of each other; different versions do not connect.
    static let version = 3

    let own: DqliteNodeID
    let loop: any EventLoop
    let logger: Logger
    let facts: RelayFacts
    private let settings: Settings
    private var gate: VoteGate
    private var outbound: [DqliteNodeID: OutboundLink] = [:]
    private var names = MemberNames()
    private var inbound: [DqliteNodeID: InboundLink] = [:]
    private var held: [(link: OutboundLink, frame: ByteBuffer)] = []
    private var heldTimer: Scheduled<Void>?
    /// Acknowledgements that go with the local node's answers to the same heartbeats.
    private var owed: [DqliteNodeID: (process: VoteGate.LeaderProcess, term: UInt64, sentAt: BootInstant)] = [:]
    /// Which reading of the members counted last.
    private var lastReading: UInt64 = 0
    /// Called when this node begins to lead a term.
    private let onLead: @Sendable () -> Void
    /// Called when this node's lease has begun, ended or got another end. It must not block.
    private let onLease: @Sendable () -> Void
    /// Called before the local node's request to another to stand leaves the host.
    private let onTransfer: @Sendable (DqliteNodeID?) -> Void
    /// Called when a peer that could not be reached is connected again.
    let onReturn: @Sendable () -> Void
    private let members: @Sendable () -> [DqliteMember]
    /// Called when a configuration has passed: the members are to be read again.
    private let onConfiguration: @Sendable () -> Void
    private let observer: RaftObserver
    private lazy var unreadable = UnreadableStreams(
        closedUntil: { [weak self] in self?.gate.closedNow ?? BootClock.now },
        schedule: { [weak self] in self?.schedule(at: $0, $1) })

    /// - Parameters:
    ///   - term: libraft's term on disk.
    ///   - closedUntil: until when no vote leaves, because of what was promised before; nil: nothing was.
    ///   - members: the members as last seen.
    init(
        own: DqliteNodeID, term: UInt64, closedUntil: BootInstant?, loop: any EventLoop, settings: Settings,
        facts: RelayFacts,
        observer: RaftObserver, members: @escaping @Sendable () -> [DqliteMember], logger: Logger,
        onLead: @escaping @Sendable () -> Void, onLease: @escaping @Sendable () -> Void,
        onTransfer: @escaping @Sendable (DqliteNodeID?) -> Void, onReturn: @escaping @Sendable () -> Void,
        onConfiguration: @escaping @Sendable () -> Void = {}
    ) {
        self.own = own
        self.loop = loop
        self.settings = settings
        self.facts = facts
        self.observer = observer
        self.members = members
        self.logger = logger
        self.onLead = onLead
        self.onLease = onLease
        self.onTransfer = onTransfer
        self.onReturn = onReturn
        self.onConfiguration = onConfiguration
        gate = VoteGate(term: term, hold: settings.hold, closedUntil: closedUntil)
        facts.update {
            $0.closedUntil = closedUntil ?? $0.closedUntil
            $0.term = term
        }
    }

    private lazy var succession = Succession(
        own: own, settings: settings.succession, loop: loop, members: members, logger: logger,
        actions: .init(
            dead: { [weak self] process in
                guard let self else { return }
                gate.died(process)
                if !held.isEmpty { releaseHeld() }
            },
            ask: { [weak self] voters, term in
                for voter in voters { self?.outbound[voter.id]?.write(.asked(term: term)) }
            },
            tell: { [weak self] voters, term in
                for voter in voters { self?.outbound[voter.id]?.write(.stands(term: term)) }
            },
            stand: { [weak self] leader in self?.inbound[leader.voter]?.inject() },
            promisedUntil: { [weak self] in self?.gate.closedNow ?? BootClock.now },
            decided: { [facts] reason, lastSign, heardAt in
                facts.update {
                    $0.elections.stands(
                        for: reason == .dead ? .dead : .silent, lastSign: lastSign, heardAt: heardAt, now: BootClock.now
                    )
                }
            },
            predecessors: { [facts] account in facts.update { $0.predecessors = account } }))

    // MARK: - Links

    /// The link to a member, made when there is none.
    func link(to member: DqliteNodeID, _ make: () -> OutboundLink) -> OutboundLink {
        if let link = outbound[member] { return link }
        let link = make()
        outbound[member] = link
        return link
    }

    /// Whom the local node dials, by the address that it gave; nil when that cannot be told.
    func dials(_ address: String) -> DqliteNodeID? {
        let member = names.member(
            dialledAs: address, own: own, members: members(), introduced: inbound.compactMapValues(\.name),
            isConnected: { outbound[$0]?.isInUse ?? false }, now: BootClock.now)
        guard let member else {
            logger.debug("it cannot be told whom the local node dials", metadata: ["address": "\(address)"])
            return nil
        }
        names.wasDialled(member, as: address)
        return member
    }

    /// The address by which libdqlite is to know a peer that gives that one as its own.
    func introduction(of peer: DqliteNodeID, as given: String) -> String {
        names.introduction(of: peer, as: given, members: members(), now: BootClock.now)
    }

    /// Whether there is anything to tell to a node: it is a member, or it talks to this one.
    func expects(_ peer: DqliteNodeID) -> Bool {
        inbound[peer]?.isConnected == true || members().contains { $0.id == peer }
    }

    /// Where a peer says that it is that is connected now.
    func place(of peer: DqliteNodeID) -> HostPort? {
        guard let link = inbound[peer], link.isConnected else { return nil }
        return link.address
    }

    /// A process has connected.
    func met(_ process: VoteGate.LeaderProcess) {
        outbound[process.voter]?.met(process.incarnation)
    }

    /// Members to which there is no connection.
    func unreachable(of members: [DqliteMember]) -> [DqliteNodeID] {
        members.map(\.id).filter { $0 != own && outbound[$0]?.isConnected != true }
    }

    /// The voters that have acknowledged something which this node, as the leader, sent within so long.
    func responsive(within window: Duration) -> Set<DqliteNodeID> {
        let since = BootClock.now.advanced(by: .zero - window)
        return Set(facts.current.lease.acknowledged(since: since))
    }

    private func saw(_ configuration: RaftConfiguration) {
        names.saw(configuration, now: BootClock.now)
        onConfiguration()
    }

    /// To be done when the members have been read, and not when a configuration passes: to rename ends the connection, and
    /// the frame that has the configuration in it must arrive, and be answered.
    private func rename() {
        let now = BootClock.now
        for (peer, link) in inbound {
            guard let address = names.address(of: peer, members: members(), now: now),
                names.introduction(of: peer, as: address, members: members(), now: now) == address
            else { continue }
            link.rename(address)
        }
    }

    func inboundLink(of peer: DqliteNodeID) -> InboundLink? { inbound[peer] }

    func enter(_ link: InboundLink) {
        let old = inbound.updateValue(link, forKey: link.peer.voter)
        old?.close()
    }

    /// libdqlite has closed its side.
    func ended(_ link: InboundLink) {
        readable(link)
        if inbound[link.peer.voter] === link { inbound[link.peer.voter] = nil }
    }

    /// Lets go of links that neither side uses, of nodes that are no members.
    func prune(keeping members: [DqliteMember]) {
        for (peer, link) in outbound where !link.isInUse && !members.contains(where: { $0.id == peer }) {
            link.close()
            outbound[peer] = nil
            names.forget(peer)
        }
        for (peer, link) in inbound where !link.isConnected && !members.contains(where: { $0.id == peer }) {
            link.close()
            inbound[peer] = nil
        }
        rename()
        succession.configure()
    }

    func close() {
        heldTimer?.cancel()
        unreadable.close()
        facts.update { $0.leases.loses(by: .stopped, now: BootClock.now) }
        succession.stop()
        for link in outbound.values { link.close() }
        for link in inbound.values { link.close() }
        outbound = [:]
        inbound = [:]
        held = []
    }

    // MARK: - Frames of the local node

    /// Passes a frame on, with what it means for lease and gate; or keeps it back.
    func send(_ frame: RaftFrame, _ bytes: ByteBuffer, on link: OutboundLink) {
        let now = BootClock.now
        observer.sends(frame)
        switch frame.content {
        case .appendEntries(_, _, _, let count, _):
            lead(in: frame.term, now)
            if count > 0, let configuration = bytes.configuration {
                facts.update { $0.named += 1 }
                configure(configuration.voters, frame.term, now)
                saw(configuration)
            }
        case .installSnapshot:
            lead(in: frame.term, now)
        case .requestVote where frame.isPreVote:
            stands(for: .timeout, now)
        case .requestVote(let candidate, _, _, _):
            stands(for: .timeout, now)
            guard mayLeave(frame, bytes, voteFor: candidate, on: link, now) else { return }
        case .requestVoteResult(isGranted: true, _) where !frame.isPreVote:
            guard mayLeave(frame, bytes, voteFor: link.peer, on: link, now) else { return }
        case .timeoutNow:
            onTransfer(link.peer)
            facts.update {
                $0.leases.loses(by: .transferred, now: now)
                $0.lease.transfers(now: now, patience: settings.electionTimeout)
            }
            onLease()
            for other in outbound.values { other.write(.released(upTo: now)) }
        case .appendEntriesResult:
            if let due = owed.removeValue(forKey: link.peer), due.process == inbound[link.peer]?.peer {
                let acknowledged = RelayMessage.acknowledged(term: due.term, sentAt: due.sentAt)
                link.write(.frame(bytes, sentAt: now, wantsPromise: false), and: acknowledged)
                return
            }
        case .requestVoteResult: break
        }
        let (wantsPromise, isUnanswered) =
            switch frame.kind {
            case .appendEntries, .installSnapshot:
                facts.update { values in
                    let wantsPromise = values.lease.wantsPromise(now: now)
                    return (wantsPromise, wantsPromise && values.lease.sends(now: now))
                }
            default: (false, false)
            }
        link.write(.frame(bytes, sentAt: now, wantsPromise: wantsPromise))
        if isUnanswered { giveUp(now) }
    }

    /// Nobody answers, and the lease is over: those who hear this node need not wait for it.
    private func giveUp(_ now: BootInstant) {
        let term = facts.update { values in
            values.lease.transfers(now: now, patience: settings.electionTimeout)
            return values.lease.term
        }
        onLease()
        logger.notice(
            "no majority of the voters answers: the others are asked to replace this leader",
            metadata: ["raft.term": "\(term)"])
        for other in outbound.values {
            other.write(.released(upTo: now))
            other.write(.asked(term: term))
        }
    }

    private func lead(in term: UInt64, _ now: BootInstant) {
        let isNew = facts.update { values in
            values.term = max(values.term, term)
            guard term > values.lease.term else { return false }
            values.lease.leads(in: term)
            values.elections.leads(in: term, heardAt: succession.heardAt, now: now)
            return true
        }
        guard isNew else { return }
        succession.moved(to: term)
        onLease()
        onLead()
    }

    private func mayLeave(
        _ frame: RaftFrame, _ bytes: ByteBuffer, voteFor candidate: DqliteNodeID, on link: OutboundLink,
        _ now: BootInstant
    ) -> Bool {
        switch gate.vote(for: candidate, in: frame.term, now: now) {
        case .hold(let until):
            held.append((link, bytes))
            // A stale vote is worth nothing; what is kept back is bounded by the members.
            if held.count > 32 { held.removeFirst() }
            recheck(at: until)
            return false
        case .pass:
            // Promises are over, and with them what they would be acknowledged for.
            owed = [:]
            facts.update {
                if $0.lease.term < frame.term { $0.leases.loses(by: .surrendered, now: now) }
                $0.lease.surrender(upTo: frame.term - 1)
                $0.term = max($0.term, frame.term)
            }
            succession.moved(to: frame.term)
            onLease()
            return true
        }
    }

    private func recheck(at instant: BootInstant) {
        heldTimer?.cancel()
        heldTimer = schedule(at: instant) { [self] in releaseHeld() }
    }

    /// A little behind the instant: what waits for it must not come too early.
    private func schedule(at instant: BootInstant, _ body: @escaping () -> Void) -> Scheduled<Void> {
        let delay = max(.zero, BootClock.now.duration(to: instant)) + .microseconds(100)
        return loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay.inNanoseconds), body)
    }

    /// Looks again at what is kept back.
    private func releaseHeld() {
        let votes = held
        held = []
        for (link, bytes) in votes {
            guard let frame = bytes.raftFrame else { continue }
            send(frame, bytes, on: link)
        }
    }

    // MARK: - Frames of peers

    /// Judges a frame of a peer just before it is written to the local node.
    ///
    /// - Returns: whether to acknowledge it.
    func receive(
        _ frame: RaftFrame, _ bytes: ByteBuffer, wantsPromise: Bool, sentAt: BootInstant, from link: InboundLink
    ) -> Bool {
        let now = BootClock.now
        observer.receives(frame, from: link.peer.voter, now: now)
        if case .appendEntries(_, _, _, 1..., _) = frame.content, let configuration = bytes.configuration {
            saw(configuration)
        }
        switch frame.content {
        case .appendEntries, .installSnapshot:
            link.leads(frame)
            succession.heard(of: link.peer, in: frame.term, at: now)
            facts.update { $0.term = max($0.term, frame.term) }
            // Where a stream cannot be read, votes leave unseen: nothing can be promised.
            guard wantsPromise, unreadable.isEmpty else { return false }
            guard gate.promise(to: link.peer, in: frame.term, sentAt: sentAt, now: now) else { return false }
            return !owes(to: link.peer, frame, sentAt)
        case .appendEntriesResult(rejected: 0, let lastIndex):
            link.storedIndex = max(link.storedIndex, lastIndex)
            return false
        case .timeoutNow:
            facts.update {
                $0.elections.stands(for: .transferred, lastSign: now, heardAt: succession.heardAt, now: now)
                $0.askedToStand = .init(node: link.peer.voter, term: frame.term, at: now)
            }
            return false
        case .appendEntriesResult, .requestVote, .requestVoteResult:
            return false
        }
    }

    /// Whether the acknowledgement can wait for the local node's answer, which follows a heartbeat within a millisecond: one
    /// packet instead of two. What waits for the disk, and the next one when an answer has not come, is acknowledged at once.
    private func owes(to peer: VoteGate.LeaderProcess, _ frame: RaftFrame, _ sentAt: BootInstant) -> Bool {
        guard case .appendEntries(_, _, _, count: 0, _) = frame.content, owed[peer.voter] == nil,
            outbound[peer.voter]?.isConnected == true
        else {
            owed[peer.voter] = nil
            return false
        }
        owed[peer.voter] = (peer, frame.term, sentAt)
        return true
    }

    /// How far each peer has stored the log, as it last said.
    var storedIndexes: [DqliteNodeID: UInt64] { inbound.mapValues(\.storedIndex) }

    private func stands(for cause: ElectionRecord.Cause, _ now: BootInstant) {
        let heardAt = succession.heardAt
        facts.update { $0.elections.stands(for: cause, lastSign: heardAt, heardAt: heardAt, now: now) }
    }

    func released(by peer: VoteGate.LeaderProcess, upTo sentAt: BootInstant) {
        gate.released(by: peer, upTo: sentAt)
        if !held.isEmpty { releaseHeld() }
    }

    func acknowledged(by peer: DqliteNodeID, in term: UInt64, sentAt: BootInstant) {
        let now = BootClock.now
        let isMoved = facts.update { values in
            let before = values.lease.end(now: now)
            values.lease.acknowledge(by: peer, in: term, sentAt: sentAt)
            let after = values.lease.end(now: now)
            values.note(end: after, now)
            return after != before
        }
        if isMoved { onLease() }
    }

    // MARK: - Voters

    private func configure(_ ids: [DqliteNodeID], _ term: UInt64, _ now: BootInstant) {
        facts.update { if $0.lease.term == term { $0.lease.configure(voters: ids, now: now) } }
    }

    /// The voters as the local node told them. What a frame has named since the reading began is newer, and so is what a later
    /// reading said.
    func learnt(voters ids: [DqliteNodeID], by reading: RelayFacts.Reading) {
        let known = facts.current
        guard known.named == reading.named, known.lease.term == reading.term, reading.number > lastReading else {
            return
        }
        lastReading = reading.number
        let now = BootClock.now
        configure(ids, reading.term, now)
        facts.update { $0.note(end: $0.lease.end(now: now), now) }
        onLease()
    }

    // MARK: - A leader's death

    /// A peer's connection has ended. If it led, its process may be dead.
    func lost(_ link: InboundLink) {
        succession.ended(link.peer, at: link.address)
    }

    /// Asks the hosts of leaders whose process ended; `onAnswer` is called when what is known of them has changed.
    func inquire(_ onAnswer: @escaping () -> Void) { succession.inquire(onAnswer) }

    /// Whether to confirm to a peer that the leader of the term is silent.
    ///
    /// A leader that asks for itself gives up, and gets no answer.
    func hearsNoLeader(in term: UInt64, asked peer: VoteGate.LeaderProcess) -> Bool {
        !succession.gaveUp(peer, in: term) && succession.isSilent(in: term)
    }

    func confirmed(by peer: DqliteNodeID, in term: UInt64) {
        succession.confirmed(by: peer, in: term)
    }

    /// A peer stands in place of the leader of the term.
    func stands(_ peer: DqliteNodeID, in term: UInt64) {
        succession.stands(peer, in: term)
    }

    // MARK: - Unreadable streams

    /// A stream is passed on from now on without being understood. While there is one this node has no lease: what its
    /// own node votes there cannot be seen.
    func unreadable(_ link: AnyObject, _ address: String) {
        guard unreadable.add(link) else { return }
        facts.update {
            $0.leases.loses(by: .unreadable, now: BootClock.now)
            $0.unreadable = unreadable.count
        }
        logger.warning(
            "a raft stream cannot be read: it is passed on, but there are no leases, and the address follows raft's own timers",
            metadata: ["peer.address": "\(address)"])
        onLease()
    }

    /// Passes on what cannot be read, once no promise binds any more: there may be a vote in it.
    func sendRaw(_ bytes: ByteBuffer, on link: OutboundLink) { unreadable.send(bytes, on: link) }

    /// The link begins anew, or is gone.
    func readable(_ link: AnyObject) {
        guard unreadable.remove(link) else { return }
        facts.update { $0.unreadable = unreadable.count }
        onLease()
    }
}

extension RaftRelay.Settings {
    init(_ timing: Timing) {
        self.init(
            hold: timing.hold, electionTimeout: timing.electionTimeout, silence: timing.silence, latency: timing.latency
        )
    }
}

extension ByteBuffer {
    /// The head of the one raft frame that these bytes are.
    var raftFrame: RaftFrame? {
        withUnsafeReadableBytes { raw in
            var scanner = RaftFrameScanner()
            var found: RaftFrame?
            scanner.consume(raw) { found = $0 }
            return found?.end == raw.count ? found : nil
        }
    }

    fileprivate var configuration: RaftConfiguration? {
        withUnsafeReadableBytes { RaftConfiguration(newestInAppendEntries: $0) }
    }
}
