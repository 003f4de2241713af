import Dqlite
import Glibc
import Logging
import Platform

/// The replicated configuration, readable and changeable from any node.
extension ClusterNode {
    /// Why a read or a change was not done; for a person.
    public struct Unavailable: Error, Sendable, CustomStringConvertible {
        public var description: String
    }

    /// The addresses are none of those that a change was made for; for a person.
    public struct AddressesChanged: Error, Sendable, CustomStringConvertible {
        public var description: String
    }

    /// The committed configuration, as the leader knows it.
    ///
    /// - Throws: `Unavailable` when no leader answers within `limit`.
    public func currentConfiguration(within limit: Duration = .seconds(4)) async throws -> ReplicatedConfiguration {
        let answer = try await askLeader({ .read(clusterID: $0) }, within: limit) { try await self.readAsLeader() }
        guard case .configuration(let configuration) = answer else {
            throw Unavailable(description: "the leader answered something else: do all nodes run the same version?")
        }
        return configuration
    }

    /// Commits a change, through whichever node leads.
    ///
    /// - Throws: `Unavailable` when it was not confirmed within `limit`; it may then still take effect. `AddressesChanged`.
    public func commit(_ change: ConfigurationChange, within limit: Duration = .seconds(4)) async throws {
        _ = try await askLeader(
            { .write(change, clusterID: $0) }, isRepeatable: change.isIdempotent, within: limit
        ) {
            try await self.writeAsLeader(change)
            return .written
        }
    }

    /// The configuration at each change, as this node hears of it; with the term when it was read as that term's leader.
    public func configurations() -> AsyncStream<ConfigurationUpdate> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let id = nextWatcher
            nextWatcher += 1
            watchers[id] = continuation
            if let lastUpdate { continuation.yield(lastUpdate) }
            continuation.onTermination = { _ in
                Task { await self.removeWatcher(id) }
            }
        }
    }

    private func removeWatcher(_ id: Int) {
        watchers[id] = nil
    }

    private func publish(_ update: ConfigurationUpdate) {
        configuration = update.configuration
        let removed = Set((configuration.removed ?? []).filter(\.isFinal).map(\.dqliteID))
        let moving = Set((configuration.moving ?? []).map(\.dqliteID))
        facts.update {
            $0.removed = removed
            $0.moving = moving
        }
        lastUpdate = update
        for watcher in watchers.values { watcher.yield(update) }
    }

    /// Takes note of what the leader says is configured now.
    func heard(_ configuration: ReplicatedConfiguration) {
        guard facts.current.local?.monitor.current.isLeader != true else { return }
        guard configuration.addresses.count <= mostAddresses else { return }
        publish(ConfigurationUpdate(configuration: configuration, term: nil))
    }

    /// Reads the configuration from the database, as the leader, and tells it to who watches and to the other members.
    ///
    /// One after the other, so that what was read last is told last.
    func refreshConfiguration() async throws {
        try await refreshes.run { try await self.readAndPublish() }
    }

    /// Reads it until that succeeds or the lead is lost: what was committed must also be done.
    func refreshUntilDone() {
        guard refreshing == nil else { return }
        refreshing = Task {
            while !Task.isCancelled, facts.current.local?.monitor.current.isLeader == true {
                do {
                    try await refreshConfiguration()
                    break
                } catch {
                    logger.debug("the configuration cannot be read", metadata: ["error": "\(error)"])
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
            refreshing = nil
        }
    }

    private func readAndPublish() async throws {
        guard let lead = facts.current.local?.monitor.current, lead.isLeader else { return }
        let configuration = try await store.configuration()
        let isNews = configuration != self.configuration
        publish(ConfigurationUpdate(configuration: configuration, term: lead.term))
        if isNews { spread(configuration) }
    }

    /// Tells the other members, so that they are prepared when one of them has to take over. Nothing depends on it.
    func spread(_ configuration: ReplicatedConfiguration) {
        guard let clusterID = facts.current.clusterID else { return }
        for member in facts.current.members where member.id != facts.current.local?.dqliteID {
            Task { [peers, logger, facts] in
                do {
                    guard let address = facts.address(of: member) else { return }
                    _ = try await peers.ask(
                        .changed(configuration, clusterID: clusterID), of: address, timeout: .seconds(1))
                } catch {
                    logger.debug(
                        "a member was not told of the configuration",
                        metadata: ["peer.address": "\(member.address)", "error": "\(error)"])
                }
            }
        }
    }

    // MARK: - As the leader

    private func readAsLeader() async throws -> PortReply {
        try requireLead()
        let term = try provenTerm()
        if store.isUnconfirmed, let writesRefused {
            throw PortFailure(
                reason: .noSpace,
                text:
                    "the leader \(settings.advertised) has to write a line before it answers its first question, and takes no "
                    + "changes: \(writesRefused)")
        }
        let configuration: ReplicatedConfiguration
        do {
            configuration = try await store.committedConfiguration()
        } catch {
            throw Self.failure(of: error)
        }
        try requireProof(of: term)
        return .configuration(configuration)
    }

    /// The term that this node proves to lead at this moment.
    ///
    /// What libdqlite says alone is not enough: cut off from the others it takes itself for the leader for two election timeouts, while
    /// another one has been elected and acknowledges changes.
    ///
    /// - Throws: `PortFailure` `.notLeader`, after which is asked again.
    private func provenTerm() throws -> UInt64 {
        let facts = facts.current
        guard let proof = facts.local?.proof(members: facts.members) else {
            throw PortFailure(
                reason: .notLeader, text: "\(settings.advertised) cannot prove at this moment that it leads")
        }
        return proof.term
    }

    /// - Parameter term: that was proven before; nil: none was.
    private func requireProof(of term: UInt64?) throws {
        guard try provenTerm() == term else {
            throw PortFailure(reason: .notLeader, text: "\(settings.advertised) has lost the lead meanwhile")
        }
    }

    private func writeAsLeader(_ change: ConfigurationChange) async throws {
        try requireLead()
        if let writesRefused {
            throw PortFailure(
                reason: .noSpace, text: "the leader \(settings.advertised) takes no changes: \(writesRefused)")
        }
        let change = try change.sound(by: settings.addressRules)
        let term = try? provenTerm()
        do {
            // What was not written is worth as much as a read.
            if try await !store.apply(change) { try requireProof(of: term) }
        } catch let refused as PortFailure {
            if refused.reason == .changed { try requireProof(of: term) }
            throw refused
        } catch {
            // It may be committed all the same, now or later.
            refreshUntilDone()
            throw Self.failure(of: error)
        }
        do {
            try await refreshConfiguration()
        } catch {
            refreshUntilDone()
        }
    }

    private func requireLead() throws {
        guard facts.current.isFormed else {
            throw PortFailure(reason: .notReady, text: "the cluster is not formed yet")
        }
        guard facts.current.local?.monitor.current.isLeader == true else {
            throw PortFailure(reason: .notLeader, text: "\(settings.advertised) does not lead")
        }
        if let newer = store.newerSchema { throw PortFailure(reason: .unavailable, text: "\(newer)") }
        guard hasTakenUp else {
            throw PortFailure(reason: .notLeader, text: "\(settings.advertised) has only begun to lead")
        }
    }

    /// Whether this node has read, in the term that it leads, what is configured.
    var hasTakenUp: Bool {
        guard let lead = facts.current.local?.monitor.current, lead.isLeader else { return false }
        return takenUpTerm == lead.term
    }

    private static func failure(of error: any Error) -> PortFailure {
        guard let error = error as? DqliteError else {
            return error as? PortFailure ?? PortFailure(reason: .unavailable, text: "\(error)")
        }
        let reason: PortFailure.Reason = error.code == .notLeader ? .notLeader : .unavailable
        return PortFailure(reason: reason, text: "\(error)")
    }

    func answer(write change: ConfigurationChange, of peer: PortPeer) async -> PortReply {
        guard mayWrite(change, peer) else {
            return .failed(
                PortFailure(reason: .invalid, text: "\(settings.advertised) does not take that change from this peer"))
        }
        do {
            try await writeAsLeader(change)
            return .written
        } catch {
            return .failed(Self.failure(of: error))
        }
    }

    func answerRead() async -> PortReply {
        do {
            return try await readAsLeader()
        } catch {
            return .failed(Self.failure(of: error))
        }
    }

    // MARK: - As anybody

    /// Asks whoever leads, again and again, as the lead may be on the move.
    ///
    /// `isRepeatable`: asking twice is harmless. Otherwise it is asked again only as long as it was surely not done.
    private func askLeader(
        _ makeRequest: (_ clusterID: String) -> PortRequest, isRepeatable: Bool = true, within limit: Duration,
        asLeader: () async throws -> PortReply
    ) async throws -> PortReply {
        let deadline = BootClock.now.advanced(by: limit)
        var reason = "no leader is known"
        guard facts.current.isFormed, let clusterID = facts.current.clusterID else {
            let text = waitingFor.isEmpty ? "this node has not found its cluster yet" : waitingFor
            throw Unavailable(description: "there is no cluster yet: \(text)")
        }
        let request = makeRequest(clusterID)
        while true {
            do {
                if facts.current.local?.monitor.current.isLeader == true { return try await asLeader() }
                for target in leaderCandidates {
                    let remaining = BootClock.now.duration(to: deadline)
                    guard remaining > .zero else { break }
                    do {
                        let timeout = isRepeatable ? min(remaining, .milliseconds(700)) : remaining
                        return try await peers.ask(request, of: target, timeout: timeout)
                    } catch let failure as PortFailure where failure.reason == .notLeader {
                        reason = "no leader is known"
                    } catch let error as CancellationError {
                        throw error
                    } catch let failure as PortFailure where [.noSpace, .changed].contains(failure.reason) {
                        throw failure
                    } catch {
                        guard isRepeatable || Self.isSurelyUndone(error) else { throw Self.doubt(error) }
                        // The next candidate may lead.
                        reason = "\(error)"
                    }
                }
            } catch let error as CancellationError {
                throw error
            } catch let failure as PortFailure where failure.reason == .noSpace {
                throw Unavailable(description: failure.text)
            } catch let failure as PortFailure where failure.reason == .changed {
                throw AddressesChanged(description: failure.text)
            } catch let doubt as Unavailable {
                throw doubt
            } catch {
                guard isRepeatable || Self.isSurelyUndone(error) else { throw Self.doubt(error) }
                reason = "\(error)"
            }
            guard BootClock.now.advanced(by: .milliseconds(20)) < deadline else { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw Unavailable(
            description:
                "no majority of the cluster's voters can be reached from here (\(reason)); try again when more "
                + "nodes are up, see `dqlite-vip status`")
    }

    private static func isSurelyUndone(_ error: any Error) -> Bool {
        switch error {
        case let failure as PortFailure: ![.unavailable, .malformed].contains(failure.reason)
        // These come of connecting only.
        case let error as SystemError: [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(error.errno)
        default: false
        }
    }

    private static func doubt(_ error: any Error) -> Unavailable {
        Unavailable(
            description: "whether the change was made is not known (\(error)): read the virtual addresses again")
    }

    /// The leader when it is known; otherwise every voter that may be it: stand-bys and spares never know.
    private var leaderCandidates: [HostPort] {
        if let leader = leaderAddress, leader != settings.advertised { return [leader] }
        return facts.current.members
            .filter { $0.role == .voter && $0.id != facts.current.local?.dqliteID }
            .compactMap { facts.address(of: $0) }
    }
}
