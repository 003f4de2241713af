import API
import ArgumentParser
import Cluster
import Discovery
import Glibc
import Logging
import Platform
import ServiceLifecycle
import VIP

/// Composes the parts into one running node: the child process, under its guard.
///
/// One `ServiceGroup` in this order; it shuts down in the reverse one: the lead is handed over first, while the address is
/// still served; then the address goes; then API and cluster.
///
///     cluster → API → configuration follower → ownership → hand-over
enum Daemon {
    /// How long an orderly stop may take; the guard kills the daemon a little later.
    static let stopLimit: Duration = .milliseconds(4500)

    /// Runs a node until it is told to stop.
    ///
    /// - Returns: the exit status of the process: 0 after a stop that was asked for, 1 when something failed that a restart
    ///   may cure, 77 without the needed capabilities, 78 when the configuration cannot work.
    static func run(_ settings: StartSettings, guardClient: GuardClient, data: DataDirectory) async -> Int32 {
        let logger = Logger(label: "dqlite-vip")
        do {
            try await serve(settings, guardClient: guardClient, data: data, logger: logger)
            logger.notice("stopped")
            return 0
        } catch let fault as StartFault {
            logger.critical("\(Logger.Message(stringLiteral: fault.description))")
            return fault.exitStatus
        } catch {
            logger.critical("the daemon cannot go on", metadata: ["error": "\(error)"])
            return ExitStatus.failure.rawValue
        }
    }

    private static func serve(
        _ settings: StartSettings, guardClient: GuardClient, data: DataDirectory, logger: Logger
    ) async throws {
        let addresses = try NodeAddresses.find(settings, addressesFile: data.addressesFile)
        let virtuals = try DaemonControl.checked(settings.virtualAddresses).map(\.description)
        if let clash = AddressClash.find(virtuals, addresses.advertised) {
            throw StartFault(
                "--vip \(clash.virtual) is this node's own address: a virtual address must be one that no machine has",
                .configuration)
        }
        let discovery = try NodeDiscovery.make(settings.discovery, logger: logger)
        if let notice = settings.discovery.ignoredNotice {
            logger.notice("\(Logger.Message(stringLiteral: notice))")
        }
        let disk = DiskWatch(path: data.path, logger: logger)
        // libdqlite would end the process over it.
        if disk.current.level == .full, let reason = disk.current.reason { throw DiskFault(description: reason) }
        let hub = LeadHub(cell: guardClient.lease(.lead), disk: disk)
        // Up means that both ports are open: what fails before is a fault of the start, which the guard does not repeat.
        let ready = Countdown(from: 2) {
            do {
                try guardClient.reportReady()
            } catch {
                logger.warning("the guard does not listen", metadata: ["error": "\(error)"])
            }
        }
        try await checkData(data, logger)
        let cluster = try makeCluster(
            settings, addresses: addresses, discovery: discovery, data: data, logger: logger, hub: hub, ready: ready)
        let ownership = try makeOwnership(settings, guardClient: guardClient, data: data, logger: logger, hub: hub)
        hub.connect(cluster: cluster, ownership: ownership)
        let takeovers = Takeovers(cluster: cluster, ownership: ownership, logger: logger)
        let control = DaemonControl(
            settings: settings, cluster: cluster, ownership: ownership, discovery: discovery, takeovers: takeovers,
            startedAt: BootClock.now, disk: disk)
        disk.connect(cluster)
        let (apiListens, apiIsUp) = AsyncStream.makeStream(of: Void.self)
        let api = APIServer(
            bind: settings.apiBind, control: control, logger: logger,
            onListening: { _ in
                ready.count()
                apiIsUp.finish()
            })
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        var configuration = ServiceGroupConfiguration(
            services: [
                .init(service: ClusterService(cluster: cluster, apiListens: apiListens)), .init(service: api),
                .init(
                    service: ConfigurationFollower(
                        cluster: cluster, ownership: ownership, takeovers: takeovers, logger: logger)),
                .init(service: takeovers), .init(service: MACFollower(cluster: cluster, ownership: ownership)),
                .init(service: ownership), .init(service: FaultWatch(cluster: cluster)),
                .init(service: disk),
                .init(service: HandOver(cluster: cluster)),
            ], logger: quiet)
        configuration.maximumGracefulShutdownDuration = stopLimit
        configuration.maximumCancellationDuration = stopLimit
        let group = ServiceGroup(configuration: configuration)
        let stops = StopRequests(guardClient: guardClient, logger: logger)
        try stops.watch { Task { await group.triggerGracefulShutdown() } }
        try await checkJoin(settings, own: addresses.advertised, data: data, logger: logger)
        try await group.run()
    }

    /// Looks once whether `--join` can work. Only a node that has no cluster yet and nowhere else to look waits for the
    /// outcome, and is refused when it cannot.
    private static func checkJoin(
        _ settings: StartSettings, own: HostPort, data: DataDirectory, logger: Logger
    ) async throws {
        let join = settings.discovery.join
        guard !join.isEmpty else { return }
        guard try data.loadRecord() == nil, settings.discovery.backend == nil else {
            Task {
                guard let message = await JoinCheck.run(join).message else { return }
                logger.warning("\(Logger.Message(stringLiteral: message))")
            }
            return
        }
        let check = await JoinCheck.run(join)
        if let fault = check.fault(own: own, expects: settings.bootstrapExpect != nil) {
            throw StartFault(fault, .configuration)
        }
        if let message = check.message { logger.warning("\(Logger.Message(stringLiteral: message))") }
    }

    /// A node whose log is damaged must not take part in anything.
    private static func checkData(_ data: DataDirectory, _ logger: Logger) async throws {
        do {
            for notice in try await BlockingThread.run(named: "raft", { try data.checkRaft() }) {
                logger.warning("\(Logger.Message(stringLiteral: notice))")
            }
        } catch let failure as DataDirectory.Failure where failure.code != .system {
            throw StartFault("\(failure)", .configuration)
        }
    }

    private static func makeCluster(
        _ settings: StartSettings, addresses: NodeAddresses, discovery: any Discovery, data: DataDirectory,
        logger: Logger, hub: LeadHub, ready: Countdown
    ) throws -> ClusterNode {
        let clusterSettings = ClusterSettings(
            clusterName: settings.clusterName, bootstrapExpect: settings.bootstrapExpect,
            search: settings.discovery.isNowhere ? .nowhere : discovery.canClaimFounding ? .store : .discovery,
            nonVoter: settings.isNonVoter, voters: settings.voters, listen: addresses.listen,
            advertised: addresses.advertised, apiAddress: settings.apiAddress(of: addresses.advertised),
            name: settings.nodeName ?? HostName.current, labels: settings.labels,
            initialAddresses: settings.virtualAddresses, timing: settings.timing, membership: settings.membership,
            addressRules: VirtualAddressList())
        logger.info(
            "timing",
            metadata: ["timing": "\(settings.timing)", "timing.profile": "\(settings.timing.profile ?? "none")"])
        do {
            return try ClusterNode(
                settings: clusterSettings, discovery: discovery, data: data, logger: logger,
                onListening: { ready.count() }, holdsAddresses: { await hub.holdsAddresses() },
                unfit: { await hub.unfit() },
                onReturn: { hub.nodeReturned() },
                onLeadership: { hub.leadershipChanged() })
        } catch let failure as DataDirectory.Failure {
            throw StartFault("\(failure)", .configuration)
        } catch let refusal as BootstrapCore.StartError {
            throw StartFault("\(refusal)", .configuration)
        }
    }

    private static func makeOwnership(
        _ settings: StartSettings, guardClient: GuardClient, data: DataDirectory, logger: Logger, hub: LeadHub
    ) throws -> Ownership {
        do {
            return try Ownership(
                interface: settings.interface, cell: guardClient.lease(.lead), lease: { hub.lease },
                guardChannel: guardClient, addressesFile: data.addressesFile, hint: { hub.hint },
                inquire: { hub.inquire() }, logger: logger)
        } catch {
            guard error.errno == EPERM || error.errno == EACCES else { throw error }
            throw StartFault("\(error)", .noPermission)
        }
    }
}

/// The disk does not let the daemon start now.
struct DiskFault: Error, CustomStringConvertible {
    var description: String
}

/// Why the daemon cannot start, and whether trying again can help.
struct StartFault: Error, CustomStringConvertible {
    enum Kind {
        /// EX_CONFIG: only the operator can mend it.
        case configuration
        /// EX_NOPERM: a capability is missing.
        case noPermission
    }

    var description: String
    var kind: Kind

    init(_ description: String, _ kind: Kind) {
        self.description = description
        self.kind = kind
    }

    var exitStatus: Int32 {
        switch kind {
        case .configuration: 78
        case .noPermission: 77
        }
    }
}
