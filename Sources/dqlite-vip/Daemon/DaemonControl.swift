import API
import Cluster
import Discovery
import Dqlite
import Platform
import VIP

/// What the API asks for, done by cluster and ownership.
struct DaemonControl: ControlPlane {
    let settings: StartSettings
    let cluster: ClusterNode
    let ownership: Ownership
    let discovery: any Discovery
    let takeovers: Takeovers
    let startedAt: BootInstant
    let disk: DiskWatch

    // MARK: - The virtual addresses

    func virtualAddresses() async throws -> [String] {
        do {
            return try await cluster.currentConfiguration().addresses
        } catch {
            throw ControlError(.unavailable, "\(error)")
        }
    }

    func setVirtualAddresses(_ texts: [String], ifOneOf present: [[String]]?) async throws {
        let addresses = try Self.checked(texts)
        let status = await cluster.status()
        let clash = AddressClash.find(addresses.map { "\($0.address)" }, status.members) { member in
            status.places[member.id].flatMap { try? HostPort(parsing: $0) }
        }
        if let clash { throw ControlError(.invalid, "\(clash)") }
        let wanted = addresses.map(\.description)
        do {
            try await cluster.commit(present.map { .setAddressesIf(present: $0, wanted) } ?? .setAddresses(wanted))
        } catch let changed as ClusterNode.AddressesChanged {
            throw ControlError(.changed, changed.description)
        } catch {
            throw ControlError(.unavailable, "\(error)")
        }
    }

    /// - Throws: `ControlError` that says what is wrong with the texts.
    static func checked(_ texts: [String]) throws -> [VirtualAddress] {
        if let fault = VirtualAddressList.fault(texts) { throw ControlError(.invalid, fault) }
        return try texts.map { text in
            do {
                return try VirtualAddress(parsing: text)
            } catch {
                throw ControlError(.invalid, "\(error)")
            }
        }
    }

    func failOver(to successor: String?) async throws -> HandOverReport {
        do {
            let done = try await cluster.failOver(to: successor)
            return HandOverReport(
                leaderID: done.leaderID, leaderAddress: done.leaderAddress, isSeamless: done.isConfirmed,
                tookMilliseconds: done.milliseconds)
        } catch let refused as ClusterNode.HandOverRefused {
            let kind: ControlError.Kind =
                switch refused.kind {
                case .invalid: .invalid
                case .conflict: .conflict
                case .unavailable: .unavailable
                }
            throw ControlError(kind, refused.description)
        }
    }

    // MARK: - Status

    func status() async -> StatusReport {
        let status = await cluster.status()
        let snapshot = await ownership.snapshot()
        let found = discovery.statistics
        return StatusReport(
            id: status.dqliteID, leaderID: status.leadership.leader ?? 0, isLeader: status.leadership.isLeader,
            clusterMembers: Self.members(status),
            nodeID: status.nodeID, name: settings.nodeName ?? HostName.current, address: status.address.description,
            clusterID: status.clusterID ?? "", clusterName: settings.clusterName,
            state: NodeState(rawValue: status.state.rawValue), waitingFor: status.waitingFor,
            term: status.leadership.term, vip: status.configuration.addresses.first ?? "",
            holdsVIP: snapshot.addresses.contains { $0.state == .held },
            addresses: snapshot.addresses.map(Self.report),
            discovery: DiscoveryReport(
                mode: settings.discovery.isNowhere ? "none" : found.mode, key: settings.discovery.keyInUse,
                lastContact: found.lastContact, lastAddresses: found.lastAddresses.map(\.description),
                lastError: found.lastError, isRegistered: found.isRegistered, announceError: found.announceError),
            version: Version.product,
            uptimeSeconds: startedAt.duration(to: BootClock.now).components.seconds,
            warnings: status.warnings + linkWarnings(snapshot) + [disk.current.reason].compactMap { $0 },
            failover: numbers(snapshot.counters), failuresSurvived: status.failuresSurvived,
            dataFreeBytes: disk.current.free)
    }

    private func linkWarnings(_ snapshot: OwnershipSnapshot) -> [String] {
        snapshot.isLinkUp
            ? [] : ["interface \(snapshot.interface) is down, without carrier or not there: see `ip link`"]
    }

    private static func report(_ address: OwnershipSnapshot.Address) -> AddressReport {
        let age = address.since.duration(to: BootClock.now).inMilliseconds
        let state =
            switch address.state {
            case .held: "held"
            case .released: "not held"
            case .conflict: "conflict"
            case .error: "error"
            }
        return AddressReport(
            address: address.address.description, state: state,
            since: WallTime(milliseconds: WallTime.now.milliseconds - age),
            detail: [address.detail, address.lastError].compactMap { $0 }.joined(separator: "; last error: "))
    }

    func health() async -> HealthReport {
        guard let silence = cluster.databaseSilence else { return HealthReport(isAlive: true) }
        return HealthReport(
            isAlive: false,
            reasons: [
                "the database of this node has not answered for \(silence.inMilliseconds) ms: at 3 s the daemon ends and is started again"
            ])
    }

    func readiness() async -> ReadinessReport {
        let status = await cluster.status()
        var reasons: [String] = []
        if status.state != .formed {
            reasons.append(
                status.waitingFor.isEmpty ? "this node has not found its cluster yet" : status.waitingFor)
        } else if status.leadership.leader == nil {
            reasons.append("no leader is known: a majority of the voters must be up and reach each other")
        }
        return ReadinessReport(isReady: reasons.isEmpty, reasons: reasons)
    }
}
