import Logging
import Platform
import Synchronization

/// Discovery through a key-value store: each node keeps a record of itself there, and the leader one of the cluster, both
/// under a hold that lapses with the node.
///
/// What is to be asked of the store decides `KeeperCore`; here is its shell.
final class KeyValueDiscovery<Store: KeyValueStore>: Discovery {
    struct Timing: Sendable {
        var keeper = KeeperCore.Timing()
        /// Between look-ups that failed.
        var lookUpRetry: ClosedRange<Duration> = Duration.seconds(1)...Duration.seconds(4)
        /// For giving back what was announced.
        var withdrawal: Duration = .seconds(1)
    }

    struct State: Sendable {
        var core: KeeperCore
        var lookUps: LookUps
        var troubles = StoreTroubles()
    }

    /// The look-ups so far.
    struct LookUps: Sendable {
        var statistics: DiscoveryStatistics
        var backoff: Backoff
        /// What failed, and until when it is not tried again.
        var pause: (error: DiscoveryError, until: BootInstant)?
    }

    let store: Store
    let logger: Logger
    let timing: Timing
    let state: Mutex<State>
    /// Claims and the keeper take turns.
    let turn = FIFOGate()
    let news = WakeUp()
    private let lookUps = Mutex<SharedCall<[HostPort]>?>(nil)

    /// - Parameter seed: of the jitter.
    init(
        _ store: Store, mode: String, logger: Logger, timing: Timing = Timing(),
        seed: UInt64 = .random(in: UInt64.min...UInt64.max)
    ) {
        self.store = store
        self.logger = logger
        self.timing = timing
        state = Mutex(
            State(
                core: KeeperCore(timing: timing.keeper, seed: seed),
                lookUps: LookUps(
                    statistics: DiscoveryStatistics(mode: mode), backoff: Backoff(timing.lookUpRetry, seed: ~seed))))
    }

    var description: String { "\(state.withLock { $0.lookUps.statistics.mode }): \(store.place)" }

    var statistics: DiscoveryStatistics {
        let now = BootClock.now
        let (core, lookUps) = state.withLock { ($0.core, $0.lookUps) }
        var statistics = lookUps.statistics
        statistics.isRegistered = core.isRegistered(at: now)
        statistics.announceError = core.failure?.message ?? core.problem.map { text($0, core) }
        return statistics
    }

    /// For tests: how many wait for the look-up that runs.
    var lookUpsWaiting: Int { lookUps.withLock { $0?.waiterCount ?? 0 } }

    func announce(_ announcement: DiscoveryAnnouncement?) {
        state.withLock { state in
            if let announcement { state.core.announce(announcement) } else { state.core.withdraw() }
        }
        news.call()
    }

    func lookUp() async throws -> [HostPort] {
        let call = lookUps.withLock { call in
            let result =
                call
                ?? SharedCall { [weak self] in
                    guard let self else { throw CancellationError() }
                    return try await readCandidates()
                }
            call = result
            return result
        }
        return try await call.value()
    }
}
