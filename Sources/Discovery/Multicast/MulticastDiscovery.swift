public import Platform
import Synchronization

/// Discovery on one LAN with no address named anywhere: `--disco-mode multicast`.
///
/// Nodes with the same `--disco-key` find each other by questions and answers in a multicast group; see `MulticastCore`
/// for the protocol and `MulticastDatagram` for its datagrams. `--disco-config` may set, all optional:
///
///     {"group": "239.77.86.80:8801", "interface": "eth0", "ttl": 1, "secret": "${DISCO_SECRET}"}
///
/// Without a secret anybody on the LAN can name addresses to this node, which it then greets at its cluster port. Each
/// node needs the group's UDP port open in its firewall; nothing else is sent or received. A switch that filters multicast
/// (IGMP or MLD snooping) must have a querier in the LAN.
///
/// All work is done on a thread of its own, in the network namespace in which it is started.
public final class MulticastDiscovery: DiscoveryBackend {
    public static let mode = "multicast"

    private let exchange: MulticastExchange
    private let group: MulticastConfiguration.Group
    private let interface: String
    private let hasSecret: Bool
    private let isStarted = Mutex(false)
    private let start: @Sendable () throws -> Void

    /// Starts a thread: `BlockingThread.start`, or the same in another network namespace.
    typealias ThreadStart = @Sendable (@escaping @Sendable () -> Void) throws -> Void

    public static func configuration(from fields: inout ConfigurationFields) -> MulticastConfiguration {
        MulticastConfiguration(from: &fields)
    }

    /// No thread, no socket and no look at the interface yet: those come with the first look-up or `run`.
    ///
    /// - Throws: `DiscoveryError` when no interface is named, or the process has no descriptor left.
    public convenience init(_ configuration: MulticastConfiguration, _ context: DiscoveryContext) throws {
        try self.init(configuration, context) { try BlockingThread.start(named: "disco-mcast", $0) }
    }

    init(
        _ configuration: MulticastConfiguration, _ context: DiscoveryContext,
        limits: MulticastLimits = MulticastLimits(), startThread: @escaping ThreadStart
    ) throws {
        group = configuration.group ?? MulticastConfiguration.defaultGroup(for: context.family)
        interface = configuration.interface ?? context.interface
        hasSecret = configuration.secret != nil
        guard !interface.isEmpty else {
            throw DiscoveryError(
                .system, "multicast discovery has no interface: give --iface, or \"interface\" in --disco-config")
        }
        let exchange: MulticastExchange
        do {
            exchange = try MulticastExchange()
        } catch {
            throw DiscoveryError(.system, "multicast discovery: \(error)")
        }
        self.exchange = exchange
        let core = MulticastCore(
            seal: MulticastSeal(key: context.key, secret: configuration.secret), limits: limits)
        let link = MulticastLink(group: group, interface: interface, timeToLive: configuration.timeToLive)
        let logger = context.logger
        start = {
            try startThread {
                var loop = MulticastLoop(exchange: exchange, core: core, link: link, logger: logger)
                loop.run()
            }
        }
    }

    deinit { exchange.stop() }

    public func lookUp() async throws -> [HostPort] {
        try startOnce()
        let id = exchange.newWaiter()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                exchange.wait(id, continuation)
                // The cancellation handler has run in vain when it ran before the waiter was known.
                if Task.isCancelled { exchange.cancel(id) }
            }
        } onCancel: {
            exchange.cancel(id)
        }
    }

    public func announce(_ announcement: DiscoveryAnnouncement?) {
        guard let node = announcement?.node else { return exchange.announce(nil) }
        exchange.announce(
            MulticastRecord(
                nodeID: node.nodeID, address: node.address, name: MulticastDatagram.name(from: node.name),
                clusterID: node.clusterID.flatMap { $0.isEmpty ? nil : $0 }))
    }

    public func run() async {
        // A host without a thread to spare may have one soon; meanwhile the status tells.
        while !Task.isCancelled, (try? startOnce()) == nil { try? await Task.sleep(for: .seconds(1)) }
        try? await Task.sleep(for: .seconds(1 << 40))
    }

    /// Answers no more. Others tell this node's address on for ten seconds, because they cannot hear that it is gone.
    public func withdraw() async { exchange.announce(nil) }

    public var statistics: DiscoveryStatistics { exchange.statistics }

    public var description: String {
        "multicast: \(group) on \(interface), \(hasSecret ? "with" : "without") a secret"
    }

    /// For tests.
    var counts: MulticastCounts { exchange.counts }

    private func startOnce() throws(DiscoveryError) {
        let failure: String? = isStarted.withLock { isStarted in
            if isStarted { return nil }
            do {
                try start()
                isStarted = true
                return nil
            } catch {
                return "multicast discovery: \(error)"
            }
        }
        exchange.set(startProblem: failure)
        if let failure { throw DiscoveryError(.system, failure) }
    }
}
