import Cluster
import Logging
import ServiceLifecycle
import VIP

/// Runs the cluster as soon as the API listens: a node that cannot start must not have promised itself to others before.
struct ClusterService: Service {
    let cluster: ClusterNode
    /// Ends when the API listens.
    let apiListens: AsyncStream<Void>

    func run() async throws {
        for await _ in apiListens.cancelOnGracefulShutdown() {}
        try Task.checkCancellation()
        if !Task.isShuttingDownGracefully { try await cluster.run() }
    }
}

/// Carries what the cluster has configured to the ownership.
struct ConfigurationFollower: Service {
    let cluster: ClusterNode
    let ownership: Ownership
    let takeovers: Takeovers
    let logger: Logger

    func run() async throws {
        var desired: [VirtualAddress]?
        for await update in await cluster.configurations().cancelOnGracefulShutdown() {
            let addresses = parse(update.configuration.addresses)
            if addresses != desired {
                await ownership.setDesired(addresses)
                desired = addresses
            }
            if let term = update.term {
                takeovers.tookUp(term: term, hasAddresses: !addresses.isEmpty)
                cluster.tookUp(term: term)
                ownership.kick()
                if cluster.isHandedOver { Task { await confirmTakeOver() } }
            }
        }
    }

    /// The leader before keeps the addresses until it hears that they are announced from here.
    private func confirmTakeOver() async {
        while cluster.leads, cluster.isHandedOver {
            let snapshot = await ownership.snapshot()
            if snapshot.addresses.allSatisfy({ $0.state == .held }) { return await cluster.confirmTakeOver() }
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    private func parse(_ texts: [String]) -> [VirtualAddress] {
        texts.compactMap { text in
            do {
                return try VirtualAddress(parsing: text)
            } catch {
                // A newer version may have committed what this one does not know; the rest is served all the same.
                logger.error(
                    "a configured address cannot be used", metadata: ["vip.address": "\(text)", "error": "\(error)"])
                return nil
            }
        }
    }
}

/// Tells the cluster under which MACs this host answers for the addresses.
struct MACFollower: Service {
    let cluster: ClusterNode
    let ownership: Ownership

    func run() async throws {
        for await macs in ownership.macs.cancelOnGracefulShutdown() { cluster.note(macs: macs) }
        // A service that ends would end the others.
        try? await gracefulShutdown()
    }
}

/// Looks for what only an operator can mend.
struct FaultWatch: Service {
    let cluster: ClusterNode

    func run() async throws {
        await cancelWhenGracefulShutdown { await cluster.watchForFaults() }
    }
}

/// Gives the lead away as the first act of an orderly stop, while the address is still served.
struct HandOver: Service {
    let cluster: ClusterNode

    func run() async throws {
        try? await gracefulShutdown()
        await cluster.handOver()
    }
}
