import Dqlite
import Logging
import Platform

/// After a recovery: what became of the cluster before.
extension ClusterNode {
    /// How long this node does nothing yet when the cluster before it has lost its leader: longer than a kernel keeps the
    /// address of a daemon and a guard that were killed. Nobody's fail-over waits for this.
    private static let mourning: Duration = .seconds(2)

    /// Asks the members before the recovery who they are, for as long as there are any that do not answer for the new cluster.
    ///
    /// While one of them has a leader of the cluster before, that cluster lives, against what the operator said: this node then
    /// does nothing with the virtual addresses. So it is before the first look.
    func watchFormerCluster() async throws {
        guard let former = record.recovered else { return try await Task.sleep(for: .seconds(1 << 40)) }
        var pending = Set(former.members.compactMap { try? HostPort(parsing: $0) })
        pending.remove(settings.advertised)
        var lastLed: BootInstant?
        while true {
            let answers = await ask(pending)
            var leader: HostPort?
            for (address, view) in answers {
                if view.clusterID == former.clusterID {
                    note(
                        warning:
                            "\(address) still has the data of cluster \(former.clusterID), from before the recovery: "
                            + "stop it, empty its data directory, and start it again")
                    if let its = view.leader { leader = leader ?? its }
                } else if view.clusterID?.description == facts.current.clusterID, view.phase == .formed {
                    pending.remove(address)
                }
            }
            if let leader {
                note(
                    warning:
                        "the cluster \(former.clusterID) from before the recovery is alive, and \(leader) leads it: this "
                        + "node sets no address; stop one of the two clusters")
            }
            let now = BootClock.now
            if leader != nil { lastLed = now }
            let isSuspended = lastLed.map { $0.duration(to: now) < Self.mourning } ?? false
            facts.update { $0.isSuspended = isSuspended }
            onLeadership()
            try await Task.sleep(for: isSuspended ? .milliseconds(500) : .seconds(2))
        }
    }

    private func ask(_ addresses: Set<HostPort>) async -> [(HostPort, NodeView)] {
        await withTaskGroup(of: (HostPort, NodeView)?.self) { [peers, view] tasks in
            for address in addresses {
                tasks.addTask {
                    guard
                        case .peer(.view(let there)) = try? await peers.ask(
                            .peer(.hello(view)), of: address, timeout: .milliseconds(700))
                    else { return nil }
                    return (address, there)
                }
            }
            var answers: [(HostPort, NodeView)] = []
            for await answer in tasks { if let answer { answers.append(answer) } }
            return answers
        }
    }
}
