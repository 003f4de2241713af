import Dqlite
import Lease
import Logging
import Platform

/// The planned hand-over of the lead (DOC/FAILOVER.md): the successor sets and announces the addresses first, then
/// this node lets go of them, so that nobody who uses them notices.
extension ClusterNode {
    /// How long this node may keep the addresses after it has told the successor to stand.
    public static let handOverLimit: Duration = .milliseconds(100)
    /// How long a hand-over may take altogether when an operator asks, who waits a little longer for the answer.
    public static let handOverPatience: Duration = .milliseconds(2500)

    /// The same for a node that stops, which has more to do in its time.
    static let stopPatience: Duration = .milliseconds(1500)

    /// Why the lead was not handed over; for a person.
    public struct HandOverRefused: Error, Sendable, CustomStringConvertible {
        public enum Kind: Sendable {
            /// The node that was named is none, or cannot lead.
            case invalid
            /// Nobody can take it now.
            case conflict
            /// The cluster has no leader, or did not answer in time.
            case unavailable
        }
        public var kind: Kind
        public var description: String
    }

    /// Gives the lead to another voter, whichever node is asked.
    ///
    /// - Parameter wanted: dqlite id, node id, name or address of the successor; nil for the one that is ready soonest.
    /// - Throws: `HandOverRefused`, which says why.
    public func failOver(to wanted: String?) async throws -> HandOver {
        if leads { return try await handOver(to: wanted) }
        guard facts.current.isFormed, let clusterID = facts.current.clusterID, let leader = leaderAddress else {
            throw HandOverRefused(kind: .unavailable, description: "no leader is known: see `dqlite-vip status`")
        }
        do {
            let reply = try await peers.ask(
                .failOver(to: wanted, clusterID: clusterID), of: leader,
                timeout: Self.handOverPatience + settings.timing.electionTimeout + .milliseconds(500))
            guard case .handedOver(let done) = reply else {
                throw HandOverRefused(kind: .unavailable, description: "the leader \(leader) answered something else")
            }
            return done
        } catch let failure as PortFailure {
            let kind: HandOverRefused.Kind =
                switch failure.reason {
                case .invalid: .invalid
                case .notReady: .conflict
                default: .unavailable
                }
            throw HandOverRefused(kind: kind, description: failure.text)
        } catch let refused as HandOverRefused {
            throw refused
        } catch {
            throw HandOverRefused(kind: .unavailable, description: "\(error)")
        }
    }

    func answer(failOverTo wanted: String?) async -> PortReply {
        guard leads else {
            return .failed(PortFailure(reason: .notLeader, text: "\(settings.advertised) does not lead"))
        }
        do {
            return .handedOver(try await handOver(to: wanted))
        } catch {
            let reason: PortFailure.Reason =
                switch (error as? HandOverRefused)?.kind {
                case .invalid: .invalid
                case .conflict: .notReady
                case .unavailable, nil: .unavailable
                }
            return .failed(PortFailure(reason: reason, text: "\(error)"))
        }
    }

    /// Gives the lead to another voter before this node stops, so that nobody has to wait for an election.
    ///
    /// The second attempt is a short one: what is left of the time is for the stop itself.
    public func handOver() async {
        let limit: Duration = isRelieved ? .milliseconds(500) : Self.stopPatience
        isRelieved = true
        // One that is under way may succeed; the addresses must not be let go beside it.
        let deadline = BootClock.now.advanced(by: limit)
        while handingOver != nil, BootClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
        guard leads, facts.current.members.contains(where: { $0.role == .voter && $0.id != ownID }) else { return }
        do {
            _ = try await handOver(to: nil, within: limit)
        } catch {
            logger.warning("the lead could not be handed over", metadata: ["error": "\(error)"])
        }
    }

    var ownID: DqliteNodeID { facts.current.local?.dqliteID ?? 0 }

    // MARK: - The one that gives

    /// - Parameters:
    ///   - wanted: dqlite id, node id, name or address of the successor; nil for the one that is ready soonest.
    ///   - limit: how long all of it may take.
    func handOver(to wanted: String?, within limit: Duration = handOverPatience) async throws -> HandOver {
        guard handingOver == nil else {
            throw HandOverRefused(kind: .conflict, description: "the lead is being handed over already")
        }
        let (taken, continuation) = AsyncStream.makeStream(of: Void.self)
        handingOver = continuation
        defer { endsHandOver() }
        let start = BootClock.now
        await refreshMembers()
        guard leads, let local = facts.current.local else {
            throw HandOverRefused(kind: .unavailable, description: "\(settings.advertised) does not lead any more")
        }
        let term = local.relayFacts.current.lease.term
        let candidates = try candidates(wanted)
        // More than an election timeout nobody has to keep votes back for.
        var core = handOverCore(
            candidates, local, now: start, deadline: start.advanced(by: min(limit, settings.timing.electionTimeout)))
        while true {
            let successor = try await choose(&core, local, term)
            let metadata: Logger.Metadata = [
                "raft.leader_address": "\(successor.address)", "raft.term": "\(term)",
            ]
            facts.update { $0.giving = .init(term: term, successor: successor.id) }
            if let reason = await refusal(to: successor, in: term, local) {
                logger.notice(
                    "a voter could not take the lead, and nothing was changed",
                    metadata: metadata.merging(["reason": "\(reason)"]) { $1 })
                core.failed(successor.id, reason)
                // The only one that was meant, or the last one: libdqlite takes no other transfer before this one has ended.
                let isOver = start.duration(to: BootClock.now) + settings.timing.electionTimeout > limit
                guard candidates.count > 1, !isOver else { throw Self.notTaken(by: successor.address, reason) }
                await transferring?.value
                continue
            }
            local.monitor.kick()
            let isConfirmed = await isTaken(taken, continuation)
            let took = start.duration(to: BootClock.now)
            logger.notice(
                "the lead was handed over",
                metadata: metadata.merging([
                    "took.ms": "\(took.inMilliseconds)",
                    "addresses": isConfirmed ? "announced by the successor" : "let go without waiting any longer",
                ]) { $1 })
            let done = HandOver(
                leaderID: successor.id, leaderAddress: successor.address, isConfirmed: isConfirmed,
                milliseconds: took.inMilliseconds)
            // Somebody else may have been elected meanwhile. Who stops does not wait to hear it.
            if isConfirmed || isStopping { return done }
            return try await settle(done, after: term, local, wanted)
        }
    }

    private static func notTaken(by address: String, _ reason: String) -> HandOverRefused {
        HandOverRefused(
            kind: .conflict, description: "\(address) could not take the lead: \(reason); nothing was changed")
    }

    /// What is kept for a successor is kept to its end: who did not take the lead leaves it where it was, with a lease that is
    /// proven anew only after a moment.
    private func endsHandOver() {
        handingOver = nil
        let until = facts.current.giving?.until
        guard let until, until > BootClock.now else {
            facts.update { $0.giving = nil }
            return onLeadership()
        }
        Task { [facts, onLeadership] in
            try? await BootClock().sleep(until: until)
            facts.update { if $0.giving?.until == until { $0.giving = nil } }
            onLeadership()
        }
    }

    /// Waits until the successor says that it has the addresses, for as long as this node may keep them.
    private func isTaken(_ taken: AsyncStream<Void>, _ continuation: AsyncStream<Void>.Continuation) async -> Bool {
        let limit = facts.current.giving?.until ?? BootClock.now.advanced(by: Self.handOverLimit)
        let expiry = Task {
            try? await BootClock().sleep(until: limit)
            continuation.finish()
        }
        defer { expiry.cancel() }
        for await _ in taken { return true }
        return false
    }

    /// Looks who leads now, when the successor has not said so.
    private func settle(
        _ done: HandOver, after term: UInt64, _ local: LocalNode, _ wanted: String?
    ) async throws -> HandOver {
        facts.update { $0.giving = nil }
        onLeadership()
        guard let heir = await leader(after: term, local, within: .seconds(1)), heir != ownID else {
            throw HandOverRefused(
                kind: .unavailable,
                description: "\(done.leaderAddress) was told to take the lead and has not: see `dqlite-vip status`")
        }
        guard heir != done.leaderID else { return done }
        let address = facts.current.members.first { $0.id == heir }?.address ?? String(heir)
        guard wanted == nil else {
            throw HandOverRefused(
                kind: .unavailable,
                description: "\(done.leaderAddress) was told to take the lead, and \(address) was elected: ask again")
        }
        var done = done
        (done.leaderID, done.leaderAddress) = (heir, address)
        return done
    }

    /// Who leads a later term, as soon as that is known here.
    func leader(after term: UInt64, _ local: LocalNode, within limit: Duration) async -> DqliteNodeID? {
        local.monitor.kick()
        return await local.monitor.first(within: limit) { $0.term > term && $0.leader != nil }?.leader
    }
}

/// A lead that was handed over.
public struct HandOver: Sendable, Codable, Equatable {
    public var leaderID: DqliteNodeID
    public var leaderAddress: String
    /// Whether the successor said in time that it has the addresses.
    public var isConfirmed: Bool
    public var milliseconds: Int64
}
